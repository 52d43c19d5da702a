"""A browser that stops reading: what it costs the server and the others, and what becomes of it."""

import time
from contextlib import ExitStack

from bench import peers
from bench.child import files, memory_bytes
from bench.peers import PATIENT, STOREWATCH, Target, Workspace
from bench.report import Report, number
from bench.storewatch_server import SETTINGS
from bench.turns import middle, pushes, ratio_of

TITLE = "one client among 1,000 stops reading, and goes on answering pings"
CLIENTS = 1000
MESSAGES = 10_000
PORTION = 50
"""Pushes without a pause, few enough for those who read to keep up."""
TURNS = 40
ROUNDS = 5
GAP_MS = 50
GROWTH_MB = 1
SLOWER = 1.1
FEW = 100
LATE_S = 2.0
"""For the sweep that looks for stuck connections, and for our own looking."""
NEWEST_MS = 1000


def run(workspace: Workspace, report: Report) -> None:
    """Stall one client: never closed and for very long, then until it is closed."""
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
    # A server that pushes without a pause grows a little by that alone: the free one tells how much.
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
    report.tell(f"growth during {MESSAGES:,} messages, with it and without", f"{with_it:.2f}, {without:.2f} MB")
    report.below("growth by the stalled client", max(0, with_it - without), GROWTH_MB, "MB")


def _slow_down(stalled: Target, free: Target, report: Report) -> None:
    measured = pushes([stalled, free], TURNS, ROUNDS, GAP_MS)
    with_it, without = measured[stalled.peer.name], measured[free.peer.name]
    times = ", ".join(number(middle(turns, lambda turn: turn.p99_us / 1000)) for turns in (with_it, without))
    report.tell("p99 from emit to arrival of the others, with it and without", f"{times} ms")
    report.below(
        "the others' p99, ratio to that without it", ratio_of(lambda turn: turn.p99_us, with_it, without), SLOWER
    )


def _resume(target: Target, report: Report) -> None:
    target.load.ask("resume")
    time.sleep(2 * NEWEST_MS / 1000)
    came = target.load.ask("stats")
    newest_ms = came["resumed_newest_ms"]
    report.tell("messages that it finds when it reads again, the newest included", f"{came['resumed_messages']:,}")
    report.below("until it has the newest", newest_ms if newest_ms >= 0 else float("inf"), NEWEST_MS, "ms")


def _cut(workspace: Workspace, report: Report, pong: int) -> None:
    with workspace.target(STOREWATCH, FEW, ping_s=0) as target:
        connected = files(target.server.pid)
        target.load.ask(f"stall 1 {pong}")
        # The system takes some MB before the server can notice anything.
        target.server.ask("push 4000 0")
        seconds = _until_closed(target, connected)
    what = "that answers pings" if pong else "that answers no pings"
    report.at_most(f"a client {what} is closed after", seconds, SETTINGS.max_stuck + LATE_S, "s")


def _until_closed(target: Target, connected: int) -> float:
    began = time.monotonic()
    while time.monotonic() - began < 2 * SETTINGS.max_stuck:
        target.server.ask(f"push 5 {GAP_MS}")
        if files(target.server.pid) < connected:
            return time.monotonic() - began
    return float("inf")
