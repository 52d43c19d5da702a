"""The benchmark Committing measures the time from the commit of a reading to its arrival at every client."""

import random
import time

from bench import peers
from bench.child import Failed
from bench.peers import AT_ONCE, Workspace
from bench.report import Report, number
from bench.site import Site, mariadb
from tests.support.serving import StorewatchServer

TITLE = (
    "each figure is the time from a commit in MariaDB to the arrival of the reading at 1,000 clients. "
    "The server is started with `python main.py`"
)
CLIENTS = 1000
STOREHOUSES, SENSORS, READINGS = 1, 13, 1000
CASES = {1.0: (40, 1.1), 0.1: (100, 0.2)}
"""Maps each poll interval, in seconds, to two values.

The first is the number of commits. The second is the target for the 99th percentile of the measured times, in seconds.
"""
SPACING = (1.1, 1.7)
"""Shortest and longest time between two commits, in poll intervals.

Both are longer than one poll interval, because a poll pushes only the newest reading of a sensor.
"""
SENSOR = 1
QUIET_MS = 3000


def run(workspace: Workspace, report: Report) -> None:
    """Commit readings at random intervals. Measure the time from each commit to its arrival at the clients."""
    report.start("committing", TITLE)
    peers.allow_files(CLIENTS)
    with mariadb() as database:
        site = Site(database, "site")
        site.fill(STOREHOUSES, SENSORS, READINGS)
        for interval, (commits, limit) in CASES.items():
            _measure(workspace, report, site, interval, commits, limit)


def _measure(workspace: Workspace, report: Report, site: Site, interval: float, commits: int, limit: float) -> None:
    folder = workspace.folder / f"interval-{interval:g}"
    folder.mkdir()
    server = StorewatchServer(folder, {"database": site.settings, "poll_interval": interval}).start()
    try:
        # The first `time` in an `envs` is the time of the message. The second is the time of the reading.
        with workspace.load(server.port, "stamp=2") as load:
            load.ask(f"connect {CLIENTS} {AT_ONCE} 1")
            load.ask("reset")
            for _ in range(commits):
                site.write([SENSOR])
                time.sleep(interval * random.uniform(*SPACING))  # noqa: S311 - no secret
            came = load.ask(f"await {commits * CLIENTS} {QUIET_MS}")
    finally:
        server.stop()
    if came["samples"] != commits * CLIENTS:
        raise Failed(f"only {came['samples'] / CLIENTS:g} of {commits} readings arrived at each client")
    case = f"`poll_interval` of {interval:g} s"
    report.tell(f"{case}: p50", f"{number(came['p50_us'] / 1e6)} s")
    report.below(f"{case}: p99", came["p99_us"] / 1e6, limit, "s")
