"""The benchmark Ticking measures the CPU time of a poll for new readings.

It compares the cost with few and with many stored readings, and with few and with many clients.
"""

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

TITLE = (
    "each figure is the CPU time of one poll that finds 100 new readings. "
    "No client watches the storehouses of these readings, so the server pushes nothing"
)
STOREHOUSES, SENSORS = 1000, 10
FEW_READINGS, MANY_READINGS = 100_000, 10_000_000
CLIENTS = 3000
NEW = 100
TICKS = 60
WARM_UP = 5
SETTLE_S = 0.03
LIMIT = 1.2
SENSOR_IDS = [1 + SENSORS * (STOREHOUSES // NEW * number + 1) for number in range(NEW)]
"""For every tenth storehouse, the id of one of its sensors. No client watches these storehouses."""

Cost = tuple[float, float]
"""The server's CPU time and the database's CPU time for one poll, both in microseconds."""


def run(workspace: Workspace, report: Report) -> None:
    """Fill two databases. Measure the polls of three servers in turns."""
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
        f"{FEW_READINGS:,} stored readings, 1 client": small_alone,
        f"{MANY_READINGS:,} stored readings, 1 client": large_alone,
        f"{MANY_READINGS:,} stored readings, {CLIENTS:,} clients": large_watched,
    }
    for case, costs in cases.items():
        server, database = (median(part) for part in zip(*costs, strict=True))
        report.tell(f"{case}: server, database", f"{number(server)}, {number(database)} us")
    report.at_most(
        f"server and database, ratio of {CLIENTS:,} clients to 1 client", _ratio(large_watched, large_alone), LIMIT
    )
    report.at_most(
        f"server and database, ratio of {MANY_READINGS:,} to {FEW_READINGS:,} stored readings",
        _ratio(large_alone, small_alone),
        LIMIT,
    )


def _ratio(costs: list[Cost], others: list[Cost]) -> float | None:
    # A cost can be negative, because the idle CPU time has been subtracted from it.
    return ratio([max(0.0, sum(cost)) for cost in costs], [max(0.0, sum(cost)) for cost in others])


def _serve(running: ExitStack, workspace: Workspace, site: Site, clients: int) -> Child:
    settings = site.settings_file(workspace.folder, FOREVER_S)
    server = running.enter_context(Child(peers.python("site_server", str(settings)), workspace.folder, SERVER_CORE))
    load = running.enter_context(workspace.load(server.hear()["port"]))
    load.ask(f"connect {clients} {AT_ONCE} 1")
    return server


def _tick(server: Child, database: int) -> Cost:
    """Return the server's CPU time and the database's CPU time for one poll.

    The CPU time that both use without a poll is subtracted.
    """

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
