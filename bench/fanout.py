"""The benchmark Fan-out measures the server's CPU time to push an `envs` to all clients that watch the storehouse."""

from statistics import median

from bench import peers
from bench.peers import EACH, FLOOR, NODE, ROOM, STOREWATCH, WEBSOCKETS, Peer, Turn, Workspace
from bench.report import DID_NOT_KEEP_UP, Report, number
from bench.turns import Turns, measure, middle, ratio_of

TITLE = (
    "each figure is the server's CPU time for one delivered message. "
    "The message is an `envs` event (a storehouse's new readings) of 2 kB, pushed to websocket clients"
)
TURNS = 5
GAP_MS = 20
ROUNDS = {200: 50, 1000: 15, 3000: 6}
PROMISES: dict[int, dict[Peer, float]] = {
    200: {NODE: 1.0},
    1000: {EACH: 0.065, WEBSOCKETS: 0.4, NODE: 0.7, FLOOR: 1.5},
    3000: {EACH: 0.065, WEBSOCKETS: 0.4, NODE: 0.7, FLOOR: 1.5},
}
ROOMS, IN_ROOM = 50, 20
OF_NODE_IN_ROOMS = 0.5


def run(workspace: Workspace, report: Report) -> None:
    """Measure all servers with one room and different numbers of clients. Then measure some servers with many rooms."""
    report.start("fanout", TITLE)
    for clients, rounds in ROUNDS.items():
        measured = _measure(workspace, peers.ALL, clients, 1, rounds)
        case = f"{clients:,} clients"
        figures = {peer.label: middle(measured[peer.name], _cpu) for peer in peers.ALL}
        report.bars[case] = {label: figure for label, figure in figures.items() if figure is not None}
        _tell(report, case, peers.ALL, measured)
        for peer, limit in PROMISES[clients].items():
            report.at_most(f"{case}: ratio to {peer.label}", _ratio(measured, peer), limit)
    case = f"{ROOMS} rooms of {IN_ROOM}"
    several = (STOREWATCH, ROOM, NODE)
    measured = _measure(workspace, several, ROOMS * IN_ROOM, ROOMS, ROUNDS[1000])
    _tell(report, case, several, measured)
    report.at_most(f"{case}: ratio to {NODE.label}", _ratio(measured, NODE), OF_NODE_IN_ROOMS)


def _measure(workspace: Workspace, several: tuple[Peer, ...], clients: int, rooms: int, rounds: int) -> Turns:
    peers.allow_files(clients)
    return measure(workspace, several, clients, rooms, TURNS, rounds, GAP_MS)


def _tell(report: Report, case: str, several: tuple[Peer, ...], measured: Turns) -> None:
    for peer in several:
        costs = [turn.cpu_us for turn in measured[peer.name]]
        figure = (
            f"{number(median(costs))} us ({number(min(costs))} to {number(max(costs))})" if costs else DID_NOT_KEEP_UP
        )
        report.tell(f"{case}: {peer.label}", figure)


def _ratio(measured: Turns, peer: Peer) -> float | None:
    return ratio_of(_cpu, measured[STOREWATCH.name], measured[peer.name])


def _cpu(turn: Turn) -> float:
    return turn.cpu_us
