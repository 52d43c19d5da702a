"""Ticking: what looking for new readings costs, with many readings there are and many clients that watch."""

import time
from contextlib import ExitStack
from statistics import median

from bench import peers
from bench.child import Child, cpu_ns
from bench.peers import AT_ONCE, SERVER_CORE, Workspace
from bench.report import Report, number
from bench.site import Site, mariadb
from bench.storewatch_server import FOREVER_S
from bench.turns import ratio

TITLE = "CPU of one tick, server and database together; 100 new readings, none where anybody watches, so no push"
STOREHOUSES, SENSORS = 1000, 10
FEW_READINGS, MANY_READINGS = 100_000, 10_000_000
CLIENTS = 3000
NEW = 100
TICKS = 60
WARM_UP = 5
SETTLE_S = 0.03
LIMIT = 1.2
SENSOR_IDS = [1 + SENSORS * (STOREHOUSES // NEW * number + 1) for number in range(NEW)]
"""Spread over the storehouses, all but the first, where the clients are."""

Cost = tuple[float, float]
"""Microseconds of CPU of the server and of its database."""


def run(workspace: Workspace, report: Report) -> None:
    """Fill two databases, and have three servers tick in turns."""
    report.start("ticking", TITLE)
    peers.allow_files(CLIENTS)
    with ExitStack() as running:
        database = running.enter_context(mariadb())
        small, large = Site(database, "small"), Site(database, "large")
        small.fill(STOREHOUSES, SENSORS, FEW_READINGS)
        large.fill(STOREHOUSES, SENSORS, MANY_READINGS)
        small_alone = _serve(running, workspace, small, 1)
        large_alone = _serve(running, workspace, large, 1)
        large_watched = _serve(running, workspace, large, CLIENTS)
        costs: dict[Child, list[Cost]] = {small_alone: [], large_alone: [], large_watched: []}
        for turn in range(WARM_UP + TICKS):
            for site, servers in ((small, [small_alone]), (large, [large_alone, large_watched])):
                site.write(SENSOR_IDS)
                for server in servers[:: 1 if turn % 2 else -1]:
                    cost = _tick(server, database.pid)
                    if turn >= WARM_UP:
                        costs[server].append(cost)
    _tell(report, *costs.values())


def _tell(report: Report, small_alone: list[Cost], large_alone: list[Cost], large_watched: list[Cost]) -> None:
    cases = {
        f"{FEW_READINGS:,} readings, 1 client": small_alone,
        f"{MANY_READINGS:,} readings, 1 client": large_alone,
        f"{MANY_READINGS:,} readings, {CLIENTS:,} clients": large_watched,
    }
    for case, costs in cases.items():
        server, database = (median(part) for part in zip(*costs, strict=True))
        report.tell(f"{case}: server, database", f"{number(server)}, {number(database)} us")
    report.at_most(f"ratio of {CLIENTS:,} clients to 1", _ratio(large_watched, large_alone), LIMIT)
    report.at_most(f"ratio of {MANY_READINGS:,} readings to {FEW_READINGS:,}", _ratio(large_alone, small_alone), LIMIT)


def _ratio(costs: list[Cost], others: list[Cost]) -> float | None:
    # What is subtracted as idle may be more than a tick costs.
    return ratio([max(0.0, sum(cost)) for cost in costs], [max(0.0, sum(cost)) for cost in others])


def _serve(running: ExitStack, workspace: Workspace, site: Site, clients: int) -> Child:
    settings = site.settings_file(workspace.folder, FOREVER_S)
    server = running.enter_context(Child(peers.python("site_server", str(settings)), workspace.folder, SERVER_CORE))
    load = running.enter_context(workspace.load(server.hear()["port"]))
    load.ask(f"connect {clients} {AT_ONCE} 1")
    return server


def _tick(server: Child, database: int) -> Cost:
    """Return what a tick costs, without what the server and its database do all the time."""

    def used() -> tuple[int, int, int]:
        return time.monotonic_ns(), server.cpu_ns(), cpu_ns(database)

    time.sleep(SETTLE_S)
    start = used()
    time.sleep(2 * SETTLE_S)
    before = used()
    server.ask("tick")
    time.sleep(SETTLE_S)
    after = used()
    idle = (after[0] - before[0]) / (before[0] - start[0])
    ours, theirs = ((after[i] - before[i] - idle * (before[i] - start[i])) / 1000 for i in (1, 2))
    return ours, theirs
