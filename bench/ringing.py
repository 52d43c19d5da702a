"""The benchmark Ringing measures the delay of pushes while the server evaluates alarm rules for very many readings.

For comparison, it also measures a server that evaluates no alarm rules. MariaDB generates the readings: 1,000 in each
statement and commit. A real site has smaller and more frequent commits. The benchmark uses large commits so that the
database needs little CPU time. The server's work for each reading is the same.
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
    "for 20 s the server gets 11,000 readings per second, of which 55 per second are out of limits. "
    "200 clients watch. The server runs once with the judge and once without it"
)
STOREHOUSES, SENSORS = 200, 50
EVERYWHERE = STOREHOUSES * SENSORS
WATCHED = EVERYWHERE - 1
"""Id of a sensor in a storehouse that only one client watches."""
CLIENTS = 200
ROUNDS, PORTIONS = 22, 10
"""Number of rounds, and number of SQL statements in each round.

One round writes one reading of each sensor.
"""
APART_S = 1 / 11
"""Time between two statements, in seconds. At this pace, 11,000 readings are written per second.

The target is 10,000 readings per second, so short delays are allowed.
"""
BREACHES = 50
"""Number of sensors whose reading violates a limit in a round. Each round uses different sensors."""
LAG_S, DELAYED_MS = 2, 20
PATIENCE_S = 60
RULES = [{"scope": {"metric": "temperature"}, "high": 50}]

# A statement writes readings of every tenth sensor. In each round, the readings of other sensors are out of limits.
READINGS = """
    INSERT INTO reading (sensor_id, time, value)
    SELECT seq * {portions} + {portion} + 1, UTC_TIMESTAMP(3),
        IF(seq * {portions} + {portion} BETWEEN {first} AND {first} + {breaches} - 1, 60, 20 + 5 * RAND())
    FROM seq_0_to_{last}
"""


class Run(NamedTuple):
    """The results of one run of the server.

    `times` are the delays from a reading to its push, in milliseconds. `cpu_us` is the server's CPU time per reading,
    in microseconds. `lag_s` is the time from the last statement until all alarms are written, in seconds. `missing` is
    the number of alarms that were not raised.
    """

    times: list[float]
    cpu_us: float
    written_s: float
    lag_s: float
    missing: int


def run(workspace: Workspace, report: Report) -> None:
    """Run the server without the judge (the evaluation of alarm rules), then with it. Compare the results."""
    report.start("ringing", TITLE)
    peers.allow_files(CLIENTS)
    without, judge_loop = (_run(workspace, judge) for judge in (False, True))
    report.above("readings written per second", EVERYWHERE * ROUNDS / judge_loop.written_s, 10_000)
    report.below("time from the last reading until all alarms are written", judge_loop.lag_s, LAG_S, "s")
    report.at_most(f"alarms not raised, of {BREACHES * ROUNDS:,}", judge_loop.missing, 0)
    report.tell("CPU time of the server per reading, with the judge", f"{number(judge_loop.cpu_us)} us")
    report.tell("CPU time of the server per reading, without the judge", f"{number(without.cpu_us)} us")
    report.tell("time from a reading to its push, with the judge: p50, p95", spread(judge_loop.times))
    report.tell("time from a reading to its push, without the judge: p50, p95", spread(without.times))
    report.below("increase of p95 with the judge", late(judge_loop.times) - late(without.times), DELAYED_MS, "ms")


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
    """Write all readings at an even pace. Return how long this took, in seconds."""
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
    # Include the pause after the last statement.
    return max(time.monotonic() - began, ROUNDS * PORTIONS * APART_S)


async def _lag(site: Site) -> float:
    """Wait until all alarms are in the database. Return how long this took, in seconds."""
    began = time.monotonic()
    while await asyncio.to_thread(_raised, site) < BREACHES * ROUNDS:
        if time.monotonic() - began > PATIENCE_S:
            break
        await asyncio.sleep(0.05)
    return time.monotonic() - began


def _raised(site: Site) -> Any:
    return site.execute("SELECT COUNT(DISTINCT subject_key) FROM episode WHERE kind = 'high'")[0][0]
