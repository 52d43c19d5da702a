"""The benchmark Connecting measures the CPU time for a connect and a disconnect.

It also measures whether this CPU time grows with the number of connected clients.
"""

import time
from contextlib import ExitStack
from statistics import median

from bench import peers
from bench.child import DidNotKeepUp, files
from bench.peers import NODE, ROOM, SETTLE_S, STOREWATCH, Target, Workspace
from bench.report import DID_NOT_KEEP_UP, Report, number
from bench.turns import in_turns, ratio, started

TITLE = "each figure is the server's CPU time for one client that connects by websocket, or that disconnects"
CLIENTS = 1000
WARM_UP = 4
"""Number of times that the clients connect to each server and disconnect before the measurement.

A server with a just-in-time compiler, such as Node, needs this warm-up.
"""
TURNS = 7
OF_NODE = 1.4
FEW, MANY = 500, 3000
MORE = 300
MORE_TURNS = 10
GROWTH = 1.1
CHECK_INTERVAL_S = 0.02
PATIENCE_S = 30.0


def run(workspace: Workspace, report: Report) -> None:
    """Measure connects to several servers. Then measure connects to Storewatch with few and with many other clients."""
    report.start("connecting", TITLE)
    peers.allow_files(MANY + MORE)
    _compare(workspace, report)
    _grow(workspace, report)


def _compare(workspace: Workspace, report: Report) -> None:
    several = (STOREWATCH, ROOM, NODE)
    with started(workspace, several, 0, 0) as targets:
        costs = in_turns(targets, TURNS, lambda target: _come_and_go(target, CLIENTS), _warm_up)
    report.tell("warm-up connections to each server before the measurement", f"{WARM_UP * CLIENTS:,}")
    for peer in several:
        medians = ", ".join(number(median(turns)) for turns in zip(*costs[peer.name], strict=True))
        figure = f"{medians} us" if medians else DID_NOT_KEEP_UP
        report.tell(f"{CLIENTS:,} clients: {peer.label}: connect, disconnect", figure)
    ours, theirs = ([come for come, _ in costs[peer.name]] for peer in (STOREWATCH, NODE))
    report.at_most(f"{CLIENTS:,} clients: connect, ratio to {NODE.label}", ratio(ours, theirs), OF_NODE)


def _warm_up(target: Target) -> None:
    for _ in range(WARM_UP):
        _come_and_go(target, CLIENTS)


def _grow(workspace: Workspace, report: Report) -> None:
    # Means, not medians: the cost includes occasional cleanup, which grows with the number of connections.
    costs = [0.0, 0.0]
    with ExitStack() as running:
        targets = [running.enter_context(workspace.target(STOREWATCH, clients)) for clients in (FEW, MANY)]
        for target in targets:
            _come_and_go(target, MORE)
        for _ in range(MORE_TURNS):
            for index, target in enumerate(targets):
                costs[index] += sum(_come_and_go(target, MORE)) / MORE_TURNS
    for clients, cost in zip((FEW, MANY), costs, strict=True):
        report.tell(f"connect and disconnect, with {clients:,} other clients", f"{number(cost)} us")
    report.at_most(f"connect and disconnect, ratio of {MANY:,} to {FEW:,} other clients", costs[1] / costs[0], GROWTH)


def _come_and_go(target: Target, clients: int) -> tuple[float, float]:
    """Connect and disconnect clients. Return the server's CPU time per connect and its CPU time per disconnect.

    Both times are in microseconds.
    """
    connected = files(target.server.pid)
    start = target.server.cpu_ns()
    target.connect(clients, 0)
    time.sleep(SETTLE_S)
    middle = target.server.cpu_ns()
    target.load.ask(f"close {clients}")
    end = time.monotonic() + PATIENCE_S
    while files(target.server.pid) > connected:
        if time.monotonic() > end:
            raise DidNotKeepUp(f"{target.peer.label} keeps closed connections open for over {PATIENCE_S:g} s")
        time.sleep(CHECK_INTERVAL_S)
    time.sleep(4 * SETTLE_S)
    return (middle - start) / clients / 1000, (target.server.cpu_ns() - middle) / clients / 1000
