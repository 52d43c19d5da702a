"""The benchmark Memory measures the server's memory for each connected client that receives nothing."""

import time

from bench import peers
from bench.child import DidNotKeepUp, memory_bytes
from bench.peers import NODE, ROOM, STOREWATCH, UVICORN, WEBSOCKETS, Peer, Workspace
from bench.report import DID_NOT_KEEP_UP, Report
from bench.turns import give_up

TITLE = (
    "each figure is the memory that the server needs for each additional client that watches a storehouse and receives "
    "nothing. It is the growth from 1,000 to 3,000 clients, divided by 2,000"
)
FEW, MANY = 1000, 3000
SETTLE_S = 2.0
LIMIT_KB = 40


def run(workspace: Workspace, report: Report) -> None:
    """For each server, measure how much its memory grows from few to many connections."""
    report.start("memory", TITLE)
    peers.allow_files(MANY)
    for peer in (STOREWATCH, ROOM, UVICORN, WEBSOCKETS, NODE):
        try:
            each_kb = _each_kb(workspace, peer)
        except DidNotKeepUp as error:
            give_up(peer, error)
            report.tell(peer.label, DID_NOT_KEEP_UP)
            continue
        if peer is STOREWATCH:
            report.at_most(peer.label, each_kb, LIMIT_KB, "kB")
        else:
            report.tell(peer.label, f"{each_kb:.1f} kB")


def _each_kb(workspace: Workspace, peer: Peer) -> float:
    with workspace.target(peer, FEW) as target:
        time.sleep(SETTLE_S)
        before = memory_bytes(target.server.pid)
        target.connect(MANY - FEW)
        time.sleep(SETTLE_S)
        return (memory_bytes(target.server.pid) - before) / (MANY - FEW) / 1000
