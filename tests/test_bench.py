"""Tests of the benchmark on a slow machine.

On such a machine, some servers do not keep up, and some figures cannot be measured.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import report, turns
from bench.child import Child, DidNotKeepUp, Failed, process_tree, tree_cpu_ns
from bench.peers import LOAD_CORE, NODE, SERVER_CORE, STOREWATCH, Peer, Target

ANSWERING = "import sys\nfor _ in sys.stdin: print(sys.argv[1], flush=True)"
ARRIVED = '{"messages": 100, "closed": 0, "bytes": 200, "last_ns": 1, "p50_us": 3, "p99_us": 5}'
LOST = ARRIVED.replace('"messages": 100', '"messages": 10')


@contextmanager
def target(folder: Path, peer: Peer, answer: str) -> Iterator[Target]:
    """Start a stand-in for a measured server, and a stand-in for its load generator with 10 clients.

    The load generator answers every command with `answer`.
    """
    command = [sys.executable, "-c", ANSWERING]
    with Child([*command, "{}"], folder, SERVER_CORE) as server, Child([*command, answer], folder, LOAD_CORE) as load:
        started = Target(peer, server, load, 0)
        started.clients = 10
        yield started


def test_a_peer_that_does_not_keep_up_has_no_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with target(tmp_path, STOREWATCH, ARRIVED) as ours, target(tmp_path, NODE, LOST) as theirs:
        measured = turns.pushes([ours, theirs], turns=3, rounds=10, gap_ms=0)
        with pytest.raises(Failed, match="is gone"):  # the slow peer was stopped, so that it uses no CPU
            theirs.server.cpu_ns()
    assert (len(measured[STOREWATCH.name]), measured[NODE.name]) == (3, [])
    assert "Node socket.io did not keep up" in capsys.readouterr().err


def test_the_bench_fails_if_storewatch_does_not_keep_up(tmp_path: Path) -> None:
    with target(tmp_path, STOREWATCH, LOST) as ours, pytest.raises(DidNotKeepUp):
        turns.pushes([ours], turns=3, rounds=10, gap_ms=0)


def test_figures_that_cannot_be_measured_are_reported_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    rows = report.Report()
    rows.start("fanout", "a title")
    rows.at_most("ratio", turns.ratio([1.0, 2.0], []), 1)
    rows.at_most("ratio", turns.ratio([1.0, 2.0], [0.0, 0.0]), 1)
    rows.at_most("ratio", turns.ratio([1.0, 2.0], [0.0, 4.0]), 1)
    assert [(row.figure, row.verdict) for row in rows.rows] == [
        ("not measured", ""),
        ("not measured", ""),
        ("0.500", "yes"),
    ]
    assert "not measured" in capsys.readouterr().out


@pytest.mark.slow
def test_cpu_of_a_process_includes_its_descendants() -> None:
    busy = "import os, time\nos.fork() and time.sleep(60)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", busy], start_new_session=True) as parent:
        try:
            deadline = time.monotonic() + 30
            while tree_cpu_ns(parent.pid) < 300_000_000:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            tree = process_tree(parent.pid)
        finally:
            for pid in process_tree(parent.pid):
                subprocess.run(["kill", "-9", str(pid)], check=False)
    assert len(tree) == 2
