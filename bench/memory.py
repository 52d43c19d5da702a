"""Memory: what a connection that waits costs."""

import time

from bench import peers
from bench.child import memory_bytes
from bench.peers import NODE, ROOM, STOREWATCH, UVICORN, WEBSOCKETS, Peer, Yard
from bench.report import Report

TITLE = "the server's own memory for each more connection that watches and waits, between 1,000 and 3,000"
FEW, MANY = 1000, 3000
SETTLE_S = 2.0
LIMIT_KB = 40


def run(yard: Yard, report: Report) -> None:
    """Connect some, then more."""
    report.begin("memory", TITLE)
    peers.allow_files(MANY)
    for peer in (STOREWATCH, ROOM, UVICORN, WEBSOCKETS, NODE):
        each_kb = _each_kb(yard, peer)
        if peer is STOREWATCH:
            report.at_most(peer.label, each_kb, LIMIT_KB, "kB")
        else:
            report.tell(peer.label, f"{each_kb:.1f} kB")


def _each_kb(yard: Yard, peer: Peer) -> float:
    with yard.target(peer, FEW) as target:
        time.sleep(SETTLE_S)
        before = memory_bytes(target.server.pid)
        target.connect(MANY - FEW)
        time.sleep(SETTLE_S)
        return (memory_bytes(target.server.pid) - before) / (MANY - FEW) / 1000
