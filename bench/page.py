"""Writes docs/performance.md and its plot. Sections that were not measured again do not change."""

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from pathlib import Path

from bench.child import ROOT
from bench.report import Report, Row, number

PAGE = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance.svg"

INTRODUCTION = """\
# Performance: measured CPU time, memory and delays

This page shows the CPU time, memory and delays that were measured for Storewatch and for other servers that do the same
work.

`make bench` measures everything and writes this page. To measure only one section, set `BENCH` to its name in lower
case: `make bench BENCH=fanout`. By default, the section *Watching* observes the dashboard for 120 s.
`STOREWATCH_BENCH_WATCH_S=600` extends this to 600 s.

The machine has {cores} cores ({processor}) and {memory} GB of memory, and runs {system}. Versions: {versions}.

| question | section |
| --- | --- |
| How much CPU time does a push need? | [Fanout](#fanout) |
| How many messages can one core deliver? | [Saturation](#saturation) |
| How long does a push take? | [Latency](#latency), [Committing](#committing) |
| How much memory does a connection need? | [Memory](#memory) |
| What happens if a client stops reading? | [Stall](#stall) |
| How much CPU time does a request or a connection need? | [Asking](#asking), [Connecting](#connecting) |
| How much CPU time does a poll of the sensor database need? | [Ticking](#ticking) |
| How fast are charts and the dashboard? | [Charting](#charting), [Watching](#watching) |
| How fast are alarm rules evaluated, and does this delay pushes? | [Judging](#judging), [Ringing](#ringing) |
| How fast are previews of alarm rules, and do they delay pushes? | [Previewing](#previewing) |
| How much can several processes carry? | [Scaling](#scaling), explained in [scaling.md](scaling.md) |

![CPU time for each delivered message](performance.svg)

## How to read it

- Compare ratios rather than individual figures, because figures depend on the machine and on its other work.
- `us` means microseconds. p50 is the median. p95 and p99 are the 95th and the 99th percentile.
- Whole numbers have no decimals. Other numbers from 1 to 100 have three significant digits. Most numbers below 1 have
  three decimals, and numbers above 100 have none. Capacities in thousands (k) have one decimal. The column *met*
  compares the number before rounding with the target.
- All processes run on one machine, so no result includes network delay.

The sections Fanout, Saturation, Latency, Asking and Connecting compare servers in turns. They measure as follows:

- All servers run at the same time. In each turn, all servers are measured one after another. The order is reversed in
  every other turn (A B, then B A). A result is the median of all turns. Only the results in the last three rows of
  Connecting are means. In brackets, Fanout also shows the lowest and the highest result among the turns. A ratio is
  computed for each turn, and the median of these ratios is shown.
- CPU time is the user and system time of all threads of the server's process. It is measured from just before the first
  message is sent until 50 ms after the last message has arrived. It includes the garbage collection of Python and Node.
- Every server runs on one core, and the clients run on another core. One C program that uses epoll, `bench/load.c`,
  contains all clients. The clients do not offer compression, because some servers would use it and then need twice as
  much CPU time.
- All servers get the same commands, push the same bytes and give the same answers.
- Pings are an hour apart, so that no ping falls into a measurement. Other sections, such as Stall and Scaling, use the
  default ping interval.
- Storewatch runs as the complete server on a small SQLite database. It does not poll during a measurement.
- All servers answer `orgs` (the request for the list of organisations) with a constant.
- In Fanout and Latency, a push starts 20 ms after the previous push has been sent.
- Before the measurement, Node warms up with 100 pushes. Each of the other servers warms up with 5 pushes.

The section Memory compares servers too, but measures each server once. The section Stall compares two servers in turns,
one with and one without a stalled client. The ratio in Stall is the median of the ratios of all turns.

| server | what it is |
| --- | --- |
| Storewatch | Storewatch with its own code for pushes |
| Storewatch, library's push code | Storewatch with python-socketio's code for pushes, see below |
| python-socketio, one emit each | python-socketio on Tornado, one emit per connection |
| python-socketio, room | python-socketio on Tornado, one emit per room |
| python-socketio on uvicorn | python-socketio on uvicorn with uvloop, one emit per room |
| Tornado websockets | Tornado's websockets, without Socket.IO |
| Node socket.io | the Socket.IO server of Node |
| C loop | a C program that only calls `send()` once per socket; a server that uses sockets cannot be faster |

Storewatch falls back to python-socketio's code for pushes if its own code does not support the installed versions of
the libraries.
"""


def write(report: Report, subjects: Sequence[str]) -> None:
    """Write docs/performance.md and its plot.

    `subjects` contains the names of all sections, in the order of the page.
    """
    if report.bars:
        PLOT.write_text(plot(report.bars), encoding="utf-8")
    sections = sections_of(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    sections |= {name: _section(report, name) for name in report.titles}
    parts = [_introduction(), *(sections[subject] for subject in subjects if subject in sections)]
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def sections_of(page: str) -> dict[str, str]:
    """Split a page into its sections. Return a dictionary from the subject of each section to the section's text."""
    _, *parts = page.split("\n## ")
    return {part.split("\n", 1)[0].lower(): f"## {part.rstrip()}\n" for part in parts}


def _introduction() -> str:
    return INTRODUCTION.format(
        cores=os.cpu_count(),
        processor=_processor(),
        memory=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        system=f"{platform.system()} {platform.release().split('-')[0]}",
        versions=", ".join(_versions()),
    )


def _section(report: Report, name: str) -> str:
    title, today = report.titles[name], datetime.now(UTC).strftime("%Y-%m-%d")
    lines = [f"## {name.capitalize()}", "", f"{title[0].upper()}{title[1:]}. Measured on {today}.", ""]
    lines += ["| measured | result | target | met |", "| --- | ---: | ---: | --- |"]
    lines += [_line(row) for row in report.rows if row.subject == name]
    return "\n".join([*lines, ""])


def _line(row: Row) -> str:
    return f"| {row.what} | {row.figure} | {row.promised} | {row.verdict} |"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _versions() -> list[str]:
    packages = ["python-socketio", "python-engineio", "tornado", "uvicorn", "uvloop"]
    commands = {"Node": "node", "gcc": "gcc", "MariaDB": "mariadbd"}
    return [
        f"Python {platform.python_version()}",
        *(f"{package} {version(package)}" for package in packages),
        "socket.io 4.8.4",
        *(f"{name} {_told(command)}" for name, command in commands.items() if _path(command)),
    ]


def _path(command: str) -> str | None:
    return shutil.which(command, path=os.environ["PATH"] + os.pathsep + "/usr/sbin")


def _told(command: str) -> str:
    """Run a program that prints its version. Return the version."""
    option = "-dumpfullversion" if command == "gcc" else "--version"
    line = [_path(command) or command, option]
    told = subprocess.run(line, capture_output=True, text=True, check=False).stdout  # noqa: S603 - fixed programs
    words = [word.strip("v,") for word in told.split()]
    return next((word.split("-")[0] for word in words if word[:1].isdigit()), "?")


# The plot has one group of bars for each number of clients, with one bar for each server.

WIDTH, LABEL, BAR, SPACE, HEAD = 900, 250, 16, 5, 34
COLOURS = {"Storewatch": "#0b7a53", "C loop": "#888888"}
OTHERS = "#5b8db8"


def plot(groups: dict[str, dict[str, float]]) -> str:
    """Return a bar chart of CPU times as SVG.

    For each number of clients, `groups` contains the CPU time of each server in microseconds.
    """
    most = max((value for group in groups.values() for value in group.values()), default=0) or 1
    parts: list[str] = []
    y = 10
    for title, group in groups.items():
        y += HEAD
        parts.append(f'<text x="10" y="{y - 10}" font-weight="bold">{escape(title)}: CPU for each message, us</text>')
        for label, value in group.items():
            parts += _bar(label, value, value / most * (WIDTH - LABEL - 80), y)
            y += BAR + SPACE
    style = 'font-family="sans-serif" font-size="13"'
    size = f'width="{WIDTH}" height="{y + 10}" viewBox="0 0 {WIDTH} {y + 10}"'
    background = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', background, *parts, "</svg>", ""])


def _bar(label: str, value: float, length: float, y: int) -> list[str]:
    colour = COLOURS.get(label, OTHERS)
    return [
        f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>',
        f'<rect x="{LABEL}" y="{y}" width="{max(length, 1):.1f}" height="{BAR}" fill="{colour}"/>',
        f'<text x="{LABEL + length + 6:.1f}" y="{y + 13}">{number(value)}</text>',
    ]
