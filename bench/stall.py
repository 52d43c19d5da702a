"""The benchmark Stall measures the memory and the delays that a client causes when it stops reading.

It also measures the time until the server closes this client's connection.
"""

import time
from contextlib import ExitStack

from bench import peers
from bench.child import files, memory_bytes
from bench.peers import PATIENT, STOREWATCH, Target, Workspace
from bench.report import Report, number
from bench.storewatch_server import SETTINGS
from bench.turns import middle, pushes, ratio_of

TITLE = (
    "one of 1,000 clients stops reading but still answers pings. "
    "The server is configured not to close the connection of this client. "
    "In the last two rows, a server with default settings closes a stalled client"
)
CLIENTS = 1000
MESSAGES = 10_000
PORTION = 50
"""Number of pushes without a pause. It is small enough for the clients that do not stall to keep up."""
TURNS = 40
ROUNDS = 5
GAP_MS = 50
GROWTH_MB = 1
SLOWER = 1.1
FEW = 100
LATE_S = 2.0
"""How much later than promised the server may close a stalled client, in seconds.

The server and this benchmark check the connection only from time to time.
"""
NEWEST_MS = 1000


def run(workspace: Workspace, report: Report) -> None:
    """Measure one stalled client of a server that never closes stalled clients.

    Then measure one stalled client of a server with default settings.
    """
    report.start("stall", TITLE)
    peers.allow_files(CLIENTS)
    with ExitStack() as running:
        stalled = running.enter_context(workspace.target(PATIENT, CLIENTS, ping_s=0))
        free = running.enter_context(workspace.target(STOREWATCH, CLIENTS, ping_s=0))
        _grow(stalled, free, report)
        _slow_down(stalled, free, report)
        _resume(stalled, report)
    for pong in (1, 0):
        _cut(workspace, report, pong)


def _grow(stalled: Target, free: Target, report: Report) -> None:
    # The memory of every server grows a little during many pushes. The server without a stalled client shows how much.
    targets = (stalled, free)
    before = []
    for target in targets:
        target.push(PORTION, 0)
        before.append(memory_bytes(target.server.pid))
    stalled.load.ask("stall 1 1")
    stalled.clients -= 1
    for _ in range(MESSAGES // PORTION):
        for target in targets:
            target.push(PORTION, 0)
    with_it, without = (
        (memory_bytes(target.server.pid) - start) / 1e6 for target, start in zip(targets, before, strict=True)
    )
    report.tell(
        f"memory growth during {MESSAGES:,} messages, with and without the stalled client",
        f"{with_it:.2f}, {without:.2f} MB",
    )
    report.below("memory growth caused by the stalled client", max(0, with_it - without), GROWTH_MB, "MB")


def _slow_down(stalled: Target, free: Target, report: Report) -> None:
    measured = pushes([stalled, free], TURNS, ROUNDS, GAP_MS)
    with_it, without = measured[stalled.peer.name], measured[free.peer.name]
    times = ", ".join(number(middle(turns, lambda turn: turn.p99_us / 1000)) for turns in (with_it, without))
    report.tell("p99 from emit to arrival at the other clients, with and without the stalled client", f"{times} ms")
    report.below(
        "p99 from emit to arrival at the other clients: ratio of 'with' to 'without' the stalled client",
        ratio_of(lambda turn: turn.p99_us, with_it, without),
        SLOWER,
    )


def _resume(target: Target, report: Report) -> None:
    target.load.ask("resume")
    time.sleep(2 * NEWEST_MS / 1000)
    came = target.load.ask("stats")
    newest_ms = came["resumed_newest_ms"]
    report.tell(
        "messages that the stalled client receives when it reads again, including the newest",
        f"{came['resumed_messages']:,}",
    )
    report.below(
        "time from when the stalled client reads again until it has received the newest message",
        newest_ms if newest_ms >= 0 else float("inf"),
        NEWEST_MS,
        "ms",
    )


def _cut(workspace: Workspace, report: Report, pong: int) -> None:
    with workspace.target(STOREWATCH, FEW, ping_s=0) as target:
        connected = files(target.server.pid)
        target.load.ask(f"stall 1 {pong}")
        # The system buffers some MB before the server can notice the stall.
        target.server.ask("push 4000 0")
        seconds = _until_closed(target, connected)
    what = "that answers pings" if pong else "that answers no pings"
    report.at_most(f"time until a stalled client {what} is closed", seconds, SETTINGS.max_stuck + LATE_S, "s")


def _until_closed(target: Target, connected: int) -> float:
    began = time.monotonic()
    while time.monotonic() - began < 2 * SETTINGS.max_stuck:
        target.server.ask(f"push 5 {GAP_MS}")
        if files(target.server.pid) < connected:
            return time.monotonic() - began
    return float("inf")
