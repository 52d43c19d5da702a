"""Latency: from the moment a push begins to its arrival at each client."""

from contextlib import ExitStack

from bench import peers
from bench.peers import FLOOR, NODE, STOREWATCH, Yard
from bench.report import Report, number
from bench.turns import middle, pushes, ratio

TITLE = "from the emit to the arrival of an `envs` of 2 kB, 1,000 clients"
CLIENTS = 1000
TURNS = 40
ROUNDS = 5
GAP_MS = 20


def run(yard: Yard, report: Report) -> None:
    """Push now and then, and see how long each message takes."""
    report.begin("latency", TITLE)
    peers.allow_files(CLIENTS)
    measured = (STOREWATCH, NODE, FLOOR)
    with ExitStack() as running:
        targets = [running.enter_context(yard.target(peer, CLIENTS)) for peer in measured]
        found = pushes(targets, TURNS, ROUNDS, GAP_MS)
    for peer in measured:
        turns = found[peer.name]
        half, most = middle(turns, lambda turn: turn.p50_us), middle(turns, lambda turn: turn.p99_us)
        report.tell(f"{peer.label}: p50, p99", f"{number(half / 1000)}, {number(most / 1000)} ms")
    ours, theirs = found[STOREWATCH.name], found[NODE.name]
    report.below(f"p50, ratio to {NODE.label}", ratio(ours, theirs, lambda turn: turn.p50_us), 1)
    report.below(f"p99, ratio to {NODE.label}", ratio(ours, theirs, lambda turn: turn.p99_us), 1)
