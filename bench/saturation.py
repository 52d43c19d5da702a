"""The benchmark Saturation measures how many messages per second a server on one core delivers.

The server pushes without pauses.
"""

from bench import peers
from bench.peers import FLOOR, NODE, STOREWATCH, Turn, Workspace
from bench.report import DID_NOT_KEEP_UP, Report, number
from bench.turns import measure, middle, ratio_of

TITLE = (
    "each figure is the number of 2 kB messages that one core delivers to 1,000 clients per second. "
    "There is no pause between pushes"
)
CLIENTS = 1000
TURNS = 5
ROUNDS = 100


def run(workspace: Workspace, report: Report) -> None:
    """Push without pauses. Measure how many messages each server delivers per second."""
    report.start("saturation", TITLE)
    peers.allow_files(CLIENTS)
    several = (STOREWATCH, NODE, FLOOR)
    measured = measure(workspace, several, CLIENTS, 1, TURNS, ROUNDS, 0)
    for peer in several:
        turns = measured[peer.name]
        arrived = middle(turns, lambda turn: turn.messages / (ROUNDS * CLIENTS))
        rate = f"{number(middle(turns, _rate))} per second"
        report.tell(peer.label, DID_NOT_KEEP_UP if arrived is None else f"{rate} ({arrived:.0%} arrived)")
    report.above(f"ratio to {NODE.label}", ratio_of(_rate, measured[STOREWATCH.name], measured[NODE.name]), 1)


def _rate(turn: Turn) -> float:
    return turn.messages / turn.seconds
