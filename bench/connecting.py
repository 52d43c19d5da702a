"""Connecting: what it costs to come and to go, and whether that grows with the number of those who are there."""

import time
from contextlib import ExitStack
from statistics import median

from bench import peers
from bench.child import Failed, files
from bench.peers import AT_ONCE, NODE, ROOM, SETTLE_S, STOREWATCH, Target, Yard
from bench.report import Report, number

TITLE = "the server's CPU for a client that connects by websocket, and for one that goes"
CLIENTS = 1000
WARM_UP = 4
"""Turns before the first that counts, for all alike: a compiler at run time, such as Node's, needs them."""
TURNS = 7
OF_NODE = 1.4
FEW, MANY = 500, 3000
MORE = 300
MORE_TURNS = 10
GROWTH = 1.1
GLANCE_S = 0.02
PATIENCE_S = 30.0


def run(yard: Yard, report: Report) -> None:
    """Connect and disconnect in turns: to several servers, then to one with few and one with many clients."""
    report.begin("connecting", TITLE)
    peers.allow_files(MANY + MORE)
    _compare(yard, report)
    _grow(yard, report)


def _compare(yard: Yard, report: Report) -> None:
    with ExitStack() as running:
        targets = [running.enter_context(yard.target(peer)) for peer in (STOREWATCH, ROOM, NODE)]
        for _ in range(WARM_UP):
            for target in targets:
                _come_and_go(target, CLIENTS)
        found: dict[str, list[tuple[float, float]]] = {target.peer.name: [] for target in targets}
        for _ in range(TURNS):
            for target in targets:
                found[target.peer.name].append(_come_and_go(target, CLIENTS))
    report.tell("connects of each before the first that counts", f"{WARM_UP * CLIENTS:,}")
    for target in targets:
        come, go = (median(costs) for costs in zip(*found[target.peer.name], strict=True))
        report.tell(f"{CLIENTS:,} clients: {target.peer.label}, to come, to go", f"{number(come)}, {number(go)} us")
    pairs = zip(found[STOREWATCH.name], found[NODE.name], strict=True)
    ratio = median(ours[0] / theirs[0] for ours, theirs in pairs)
    report.at_most(f"{CLIENTS:,} clients: to come, ratio to {NODE.label}", ratio, OF_NODE)


def _grow(yard: Yard, report: Report) -> None:
    # Sums, not medians: what is cleared up now and then is a part of the cost, and grows with all that there is.
    costs = [0.0, 0.0]
    with ExitStack() as running:
        targets = [running.enter_context(yard.target(STOREWATCH, clients)) for clients in (FEW, MANY)]
        for target in targets:
            _come_and_go(target, MORE)
        for _ in range(MORE_TURNS):
            for index, target in enumerate(targets):
                costs[index] += sum(_come_and_go(target, MORE)) / MORE_TURNS
    for clients, cost in zip((FEW, MANY), costs, strict=True):
        report.tell(f"to come and to go, beside {clients:,} others", f"{number(cost)} us")
    report.at_most(f"to come and to go, ratio of {MANY:,} to {FEW:,}", costs[1] / costs[0], GROWTH)


def _come_and_go(target: Target, clients: int) -> tuple[float, float]:
    """Return the microseconds that each of them costs when it comes and when it goes."""
    connected = files(target.server.pid)
    start = target.server.cpu_ns()
    target.load.ask(f"connect {clients} {AT_ONCE} 0")
    time.sleep(SETTLE_S)
    middle = target.server.cpu_ns()
    target.load.ask(f"close {clients}")
    end = time.monotonic() + PATIENCE_S
    while files(target.server.pid) > connected:
        if time.monotonic() > end:
            raise Failed(f"{target.peer.label} does not let go of connections that are closed")
        time.sleep(GLANCE_S)
    time.sleep(4 * SETTLE_S)
    return (middle - start) / clients / 1000, (target.server.cpu_ns() - middle) / clients / 1000
