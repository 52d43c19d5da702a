"""Committing: from a reading's commit in the database to its arrival at every client."""

import random
import time

from bench import peers
from bench.child import Failed
from bench.peers import AT_ONCE, Workspace
from bench.report import Report, number
from bench.site import Site, mariadb
from tests.support.serving import StorewatchServer

TITLE = "from a commit in MariaDB to its arrival at 1,000 clients, the server as the command starts it"
CLIENTS = 1000
STOREHOUSES, SENSORS, READINGS = 1, 13, 1000
CASES = {1.0: (40, 1.1), 0.1: (100, 0.2)}
"""By the poll interval in seconds: commits, and the promise for p99 in seconds."""
SPACING = (1.1, 1.7)
"""Poll intervals between two commits: of two between two ticks only the newer would be seen."""
SENSOR = 1
QUIET_MS = 3000


def run(workspace: Workspace, report: Report) -> None:
    """Commit now and then, and see how long each reading takes."""
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
        # The time of an `envs` is its first, the reading's the second.
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
        raise Failed(f"of {commits} readings, {came['samples'] / CLIENTS:g} came to each client")
    case = f"poll_interval {interval:g}"
    report.tell(f"{case}: p50", f"{number(came['p50_us'] / 1e6)} s")
    report.below(f"{case}: p99", came["p99_us"] / 1e6, limit, "s")
