"""The benchmark Asking measures the server's CPU time for a request with an acknowledgement.

The server answers each request with the same constant.
"""

import time
from statistics import median

from bench import peers
from bench.child import Failed
from bench.peers import NODE, ROOM, SETTLE_S, STOREWATCH, Target, Workspace
from bench.report import DID_NOT_KEEP_UP, Report, number
from bench.turns import in_turns, ratio, started

TITLE = (
    "each figure is the server's CPU time for one `orgs`. "
    "Every server sends the same answer, as an event and as the acknowledgement"
)
CLIENTS = 100
AT_ONCE = 4
REQUESTS = 5000
TURNS = 7
PROMISES = {ROOM: 0.4, NODE: 2.5}


def run(workspace: Workspace, report: Report) -> None:
    """Measure the CPU time for requests from many clients."""
    report.start("asking", TITLE)
    peers.allow_files(CLIENTS)
    several = (STOREWATCH, ROOM, NODE)
    with started(workspace, several, CLIENTS, 0) as targets:
        asked = in_turns(targets, TURNS, _ask, warm_up=_ask)
    costs = {peer.name: [cost for cost, _ in asked.get(peer.name, [])] for peer in several}
    for peer in several:
        report.tell(peer.label, f"{number(median(costs[peer.name]))} us" if costs[peer.name] else DID_NOT_KEEP_UP)
    for peer, limit in PROMISES.items():
        report.at_most(f"ratio to {peer.label}", ratio(costs[STOREWATCH.name], costs[peer.name]), limit)
    answers = {answer for turns in asked.values() for _, answer in turns}
    report.at_most("number of different answers among all servers", len(answers), 1)


def _ask(target: Target) -> tuple[float, str]:
    """Return two values: the server's CPU time for one request, in microseconds, and the hash of the answer."""
    before = target.server.cpu_ns()
    came = target.load.ask(f"ask {REQUESTS} {AT_ONCE}")
    time.sleep(SETTLE_S)
    cost = (target.server.cpu_ns() - before) / REQUESTS / 1000
    if came["out_of_order"] or came["different"] or came["events"] != REQUESTS:
        raise Failed(f"{target.peer.label} answered wrongly: {came}")
    return cost, came["answer"]
