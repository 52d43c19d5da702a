"""The benchmark Latency measures the time from the start of a push to its arrival at each client."""

from bench import peers
from bench.peers import FLOOR, NODE, STOREWATCH, Workspace
from bench.report import DID_NOT_KEEP_UP, Report, number
from bench.turns import measure, middle, ratio_of

TITLE = "each figure is the time from the emit of an `envs` event of 2 kB to its arrival at 1,000 clients"
CLIENTS = 1000
TURNS = 40
ROUNDS = 5
GAP_MS = 20


def run(workspace: Workspace, report: Report) -> None:
    """Push messages at intervals. Measure the time from the start of each push to its arrival at the clients."""
    report.start("latency", TITLE)
    peers.allow_files(CLIENTS)
    several = (STOREWATCH, NODE, FLOOR)
    measured = measure(workspace, several, CLIENTS, 1, TURNS, ROUNDS, GAP_MS)
    for peer in several:
        turns = measured[peer.name]
        half, most = middle(turns, lambda turn: turn.p50_us / 1000), middle(turns, lambda turn: turn.p99_us / 1000)
        report.tell(f"{peer.label}: p50, p99", f"{number(half)}, {number(most)} ms" if turns else DID_NOT_KEEP_UP)
    ours, theirs = measured[STOREWATCH.name], measured[NODE.name]
    report.below(f"p50, ratio to {NODE.label}", ratio_of(lambda turn: turn.p50_us, ours, theirs), 1)
    report.below(f"p99, ratio to {NODE.label}", ratio_of(lambda turn: turn.p99_us, ours, theirs), 1)
