"""Ringing: a server that judges very many readings while it pushes, against one that leaves the judging out.

MariaDB makes the readings itself, 1,000 in a statement and a commit. A site has many more and smaller commits; here the
two cores are to be left to the server, for which these are readings like any other.
"""

import asyncio
import time
from contextlib import ExitStack
from typing import Any, NamedTuple

from bench import peers
from bench.child import cpu_ns
from bench.peers import AT_ONCE, Workspace
from bench.pushing import late, pushes, spread
from bench.report import Report, number
from bench.site import Site, mariadb
from tests.support.clients import connected
from tests.support.serving import StorewatchServer

TITLE = (
    "11,000 readings a second for 20 s, 55 of them out of limits, 200 clients that watch; with the judge and without"
)
STOREHOUSES, SENSORS = 200, 50
EVERYWHERE = STOREHOUSES * SENSORS
WATCHED = EVERYWHERE - 1
"""A sensor whose storehouse one client watches alone."""
CLIENTS = 200
ROUNDS, PORTIONS = 22, 10
"""In each round every sensor is read once, in so many statements."""
APART_S = 1 / 11
"""Between two statements. At 10,000 a second a writer that is held up once could not reach what is promised."""
BREACHES = 50
"""New ones a round, each of another sensor."""
LAG_S, DELAYED_MS = 2, 20
PATIENCE_S = 60
RULES = [{"scope": {"metric": "temperature"}, "high": 50}]

# Sensor by sensor, spread over the storehouses; in each round others are out of limits.
READINGS = """
    INSERT INTO reading (sensor_id, time, value)
    SELECT seq * {portions} + {portion} + 1, UTC_TIMESTAMP(3),
        IF(seq * {portions} + {portion} BETWEEN {first} AND {first} + {breaches} - 1, 60, 20 + 5 * RAND())
    FROM seq_0_to_{last}
"""


class Run(NamedTuple):
    """How it went: milliseconds of each push, microseconds of CPU a reading, and the seconds the judge was behind."""

    times: list[float]
    cpu_us: float
    written_s: float
    lag_s: float
    missing: int


def run(workspace: Workspace, report: Report) -> None:
    """Run both, one after the other."""
    report.start("ringing", TITLE)
    peers.allow_files(CLIENTS)
    without, judge_loop = (_run(workspace, judge) for judge in (False, True))
    report.above("readings written a second", EVERYWHERE * ROUNDS / judge_loop.written_s, 10_000)
    report.below("behind the last reading, when all is judged", judge_loop.lag_s, LAG_S, "s")
    report.at_most(f"of {BREACHES * ROUNDS:,} alarms, not raised", judge_loop.missing, 0)
    report.tell("CPU of the server for a reading, with the judge", f"{number(judge_loop.cpu_us)} us")
    report.tell("without", f"{number(without.cpu_us)} us")
    report.tell("from a reading to its push, p50, p95, with the judge", spread(judge_loop.times))
    report.tell("without", spread(without.times))
    report.below("later because of it, p95", late(judge_loop.times) - late(without.times), DELAYED_MS, "ms")


def _run(workspace: Workspace, judge: bool) -> Run:
    with ExitStack() as running:
        database = running.enter_context(mariadb())
        site = Site(database, "site")
        site.fill(STOREHOUSES, SENSORS, 0)
        site.execute("UPDATE sensor SET interval_s = 1")
        folder = workspace.folder / f"ringing-{judge}"
        folder.mkdir()
        settings = {"database": site.settings, "rules": RULES, "alarms": {"judge": judge}, "poll_interval": 0.1}
        server = StorewatchServer(folder, settings).start()
        running.callback(server.stop)
        load = running.enter_context(workspace.load(server.port))
        load.ask(f"connect {CLIENTS} {AT_ONCE} 1")
        return asyncio.run(_measure(server, site, judge))


async def _measure(server: StorewatchServer, site: Site, judge: bool) -> Run:
    async with connected("python", server.url) as watcher:
        await watcher.call("register", {"store_house_id": STOREHOUSES})
        before = cpu_ns(server.pid)
        writing = asyncio.create_task(_write(site))
        times = await pushes(watcher, site, WATCHED, writing)
        written_s = await writing
        lag_s = await _lag(site) if judge else 0.0
        cpu_us = (cpu_ns(server.pid) - before) / 1000 / (EVERYWHERE * ROUNDS)
    missing = BREACHES * ROUNDS - _raised(site) if judge else 0
    return Run(times, cpu_us, written_s, lag_s, missing)


async def _write(site: Site) -> float:
    """Write at an even pace; return how long it took."""
    began = time.monotonic()
    for statement in range(ROUNDS * PORTIONS):
        turn, portion = divmod(statement, PORTIONS)
        await asyncio.sleep(max(0.0, began + statement * APART_S - time.monotonic()))
        await asyncio.to_thread(
            site.execute,
            READINGS.format(
                portions=PORTIONS,
                portion=portion,
                first=turn * BREACHES,
                breaches=BREACHES,
                last=EVERYWHERE // PORTIONS - 1,
            ),
        )
    # The last statement has its time to itself, too.
    return max(time.monotonic() - began, ROUNDS * PORTIONS * APART_S)


async def _lag(site: Site) -> float:
    """Return after how many seconds all alarms are written down."""
    began = time.monotonic()
    while await asyncio.to_thread(_raised, site) < BREACHES * ROUNDS:
        if time.monotonic() - began > PATIENCE_S:
            break
        await asyncio.sleep(0.05)
    return time.monotonic() - began


def _raised(site: Site) -> Any:
    return site.execute("SELECT COUNT(DISTINCT subject_key) FROM episode WHERE kind = 'high'")[0][0]
