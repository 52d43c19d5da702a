"""Saturation: how many messages a second one core delivers when there is no pause."""

from contextlib import ExitStack

from bench import peers
from bench.peers import FLOOR, NODE, STOREWATCH, Turn, Yard
from bench.report import Report, number
from bench.turns import middle, pushes, ratio

TITLE = "messages of 2 kB a second that one core delivers to 1,000 clients, without a pause between pushes"
CLIENTS = 1000
TURNS = 5
ROUNDS = 100


def run(yard: Yard, report: Report) -> None:
    """Push as fast as each can."""
    report.begin("saturation", TITLE)
    peers.allow_files(CLIENTS)
    measured = (STOREWATCH, NODE, FLOOR)
    with ExitStack() as running:
        targets = [running.enter_context(yard.target(peer, CLIENTS)) for peer in measured]
        found = pushes(targets, TURNS, ROUNDS, 0)
    for peer in measured:
        arrived = middle(found[peer.name], lambda turn: turn.messages) / (ROUNDS * CLIENTS)
        report.tell(peer.label, f"{number(middle(found[peer.name], _rate))} a second ({arrived:.0%} arrived)")
    report.above(f"ratio to {NODE.label}", ratio(found[STOREWATCH.name], found[NODE.name], _rate), 1)


def _rate(turn: Turn) -> float:
    return turn.messages / turn.seconds
