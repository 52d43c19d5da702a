"""Asking: what a question with acknowledgement costs, the answer being known."""

import time
from contextlib import ExitStack
from statistics import median
from typing import Any

from bench import peers
from bench.child import Failed
from bench.peers import NODE, ROOM, SETTLE_S, STOREWATCH, Target, Yard
from bench.report import Report, number

TITLE = "the server's CPU for one `orgs` with acknowledgement: the same answer everywhere, emitted and acknowledged"
CLIENTS = 100
AT_ONCE = 4
REQUESTS = 5000
TURNS = 7
PROMISES = {ROOM: 0.4, NODE: 2.5}


def run(yard: Yard, report: Report) -> None:
    """Have many clients ask."""
    report.begin("asking", TITLE)
    peers.allow_files(CLIENTS)
    with ExitStack() as running:
        targets = [running.enter_context(yard.target(peer, CLIENTS, 0)) for peer in (STOREWATCH, ROOM, NODE)]
        for target in targets:
            _ask(target)
        costs: dict[str, list[float]] = {target.peer.name: [] for target in targets}
        answers = set()
        for _ in range(TURNS):
            for target in targets:
                cost, came = _ask(target)
                costs[target.peer.name].append(cost)
                answers.add(came["answer"])
                if came["out_of_order"] or came["different"] or came["events"] != REQUESTS:
                    raise Failed(f"{target.peer.label} answered wrongly: {came}")
    for target in targets:
        report.tell(target.peer.label, f"{number(median(costs[target.peer.name]))} us")
    for peer, limit in PROMISES.items():
        pairs = zip(costs[STOREWATCH.name], costs[peer.name], strict=True)
        report.at_most(f"ratio to {peer.label}", median(ours / theirs for ours, theirs in pairs), limit)
    report.at_most("different answers, all in order", len(answers), 1)


def _ask(target: Target) -> tuple[float, dict[str, Any]]:
    before = target.server.cpu_ns()
    came = target.load.ask(f"ask {REQUESTS} {AT_ONCE}")
    time.sleep(SETTLE_S)
    return (target.server.cpu_ns() - before) / REQUESTS / 1000, came
