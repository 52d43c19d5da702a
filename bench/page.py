"""The page: docs/performance.md with its plot; what is measured anew takes its place there, the rest stays."""

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
# Performance

`make bench` measures all of this and writes this page; `make bench BENCH=fanout` measures one subject anew.

On {cores} cores ({processor}) with {memory} GB, {system}. {versions}.

![CPU for each delivered message](performance.svg)

## How to read it

- Machines differ and are never quiet: the ratios are what counts. All peers of a comparison run at the same time, their
  clients connected, and are measured in turns, A B B A; a figure is the median of its turns, a ratio the median of the
  ratios of turns that were next to each other. In brackets: the lowest and the highest turn.
- CPU is that of the server's process and all its threads, user and system, from before the first message to 50 ms
  after the last has arrived. Python's garbage collector is in it, and so is Node's.
- Every server runs on one core, the clients on another. The clients are one C program over epoll, `bench/load.c`; they
  offer no compression, or some of the peers would use it and need twice as much.
- All push the same bytes at the same command, and answer the same. Pings are an hour apart everywhere, so that none
  falls into a measurement; where a client stalls, they are as the product has them.
- Storewatch is the whole server as the command starts it, over a small database in SQLite which it does not poll
  meanwhile. Only its answer to `orgs` is a constant, as it is everywhere.
- A push begins 20 ms after the one before has been sent. Node is given 100 pushes to warm up, the others 5.
- *C loop* is a C program that calls `send()` once for each socket and does nothing else: nobody can be faster without
  leaving the sockets. *Storewatch, the library's way* is what pushing costs where the installed libraries are not those
  that Storewatch knows, and what it cost before it had a way of its own.
"""


def write(report: Report, subjects: Sequence[str]) -> None:
    """Write the page and its plot; `subjects` are all that there are, in their order."""
    if report.bars:
        PLOT.write_text(plot(report.bars), encoding="utf-8")
    sections = sections_of(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    sections |= {name: _section(report, name) for name in report.titles}
    parts = [_introduction(), *(sections[subject] for subject in subjects if subject in sections)]
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def sections_of(page: str) -> dict[str, str]:
    """Return the sections of a page, by subject."""
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
    lines += ["| | figure | promised | holds |", "| --- | ---: | ---: | --- |"]
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
    """Return the version that a program tells."""
    option = "-dumpfullversion" if command == "gcc" else "--version"
    line = [_path(command) or command, option]
    told = subprocess.run(line, capture_output=True, text=True, check=False).stdout  # noqa: S603 - a compiler, or Node
    words = [word.strip("v,") for word in told.split()]
    return next((word.split("-")[0] for word in words if word[:1].isdigit()), "?")


# The plot: one bar for each peer, a group for each number of clients.

WIDTH, LABEL, BAR, SPACE, HEAD = 900, 250, 16, 5, 34
COLOURS = {"Storewatch": "#0b7a53", "C loop": "#888888"}
OTHERS = "#5b8db8"


def plot(groups: dict[str, dict[str, float]]) -> str:
    """Return bars as an SVG: microseconds of CPU by peer, a group for each number of clients."""
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
