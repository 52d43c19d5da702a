"""Fan-out: what it costs the server to push one `envs` to everybody who watches."""

from contextlib import ExitStack

from bench import peers
from bench.peers import EACH, FLOOR, NODE, ROOM, STOREWATCH, WEBSOCKETS, Peer, Turn, Yard
from bench.report import Report, number
from bench.turns import Turns, middle, pushes, ratio

TITLE = "the server's CPU for each delivered message, an `envs` of 2 kB to websocket clients"
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


def run(yard: Yard, report: Report) -> None:
    """Measure everybody at each number of clients, then many rooms."""
    report.begin("fanout", TITLE)
    for clients, rounds in ROUNDS.items():
        found = _measure(yard, peers.ALL, clients, 1, rounds)
        case = f"{clients:,} clients"
        report.bars[case] = {peer.label: middle(found[peer.name], _cpu) for peer in peers.ALL}
        _tell(report, case, peers.ALL, found)
        for peer, limit in PROMISES[clients].items():
            report.at_most(f"{case}: ratio to {peer.label}", _ratio(found, peer), limit)
    case = f"{ROOMS} rooms of {IN_ROOM}"
    several = (STOREWATCH, ROOM, NODE)
    found = _measure(yard, several, ROOMS * IN_ROOM, ROOMS, ROUNDS[1000])
    _tell(report, case, several, found)
    report.at_most(f"{case}: ratio to {NODE.label}", _ratio(found, NODE), OF_NODE_IN_ROOMS)


def _measure(yard: Yard, measured: tuple[Peer, ...], clients: int, rooms: int, rounds: int) -> Turns:
    peers.allow_files(clients)
    with ExitStack() as running:
        targets = [running.enter_context(yard.target(peer, clients, rooms)) for peer in measured]
        return pushes(targets, TURNS, rounds, GAP_MS)


def _tell(report: Report, case: str, measured: tuple[Peer, ...], found: Turns) -> None:
    for peer in measured:
        turns = found[peer.name]
        lowest, highest = min(map(_cpu, turns)), max(map(_cpu, turns))
        middling = number(middle(turns, _cpu))
        report.tell(f"{case}: {peer.label}", f"{middling} us ({number(lowest)} to {number(highest)})")


def _ratio(found: Turns, peer: Peer) -> float:
    return ratio(found[STOREWATCH.name], found[peer.name], _cpu)


def _cpu(turn: Turn) -> float:
    return turn.cpu_us
