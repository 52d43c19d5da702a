"""The benchmark Previewing measures the duration of `previewAlarms` for a month.

It also measures whether these requests delay pushes.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from alarms import rules
from alarms.model import Reading
from alarms.replay import replay
from ask.sensors import Sensor
from bench.child import Failed
from bench.peers import Workspace
from bench.pushing import late, pushes, spread
from bench.report import Report, number
from bench.site import Site, mariadb
from tests.support.clients import Client, connected
from tests.support.serving import StorewatchServer

TITLE = (
    "a client requests `previewAlarms` for a month of 20 sensors with a reading per minute. "
    "Another client watches another storehouse"
)
SENSORS, DAYS = 20, 30
MINUTES = (DAYS + 1) * 1440
START = datetime(2026, 1, 2, tzinfo=UTC)
END = START + timedelta(days=DAYS)
TIMES = 7
LIMIT_S = 2
DELAYED_MS = 20
"""Largest permitted increase of the 95th percentile of push times while previews run, in milliseconds."""
POLL_S = 0.05
IN_FORCE = [{"scope": {"metric": "temperature"}, "high": {"limit": 5, "delay": "20m", "hysteresis": 0.5}, "low": 0}]
PROPOSED = [{"scope": {"metric": "temperature"}, "high": {"limit": 5, "delay": "45m", "hysteresis": 0.5}, "low": 0.5}]
RULE_SETS = {"proposed": "preview of the rules in the request", "in_force": "preview of the rules in force"}
WATCHED = SENSORS + 1
"""Id of a sensor in the storehouse that a client watches. The previews are for another storehouse."""
SENSOR = Sensor(1, 1, "", "temperature", "°C", 60.0, (1, None))
APART_S, PATIENCE_S = 10.0, 120.0
OF_SENSOR = """
    SELECT time, value FROM reading
    WHERE sensor_id = {sensor_id} AND time < '2026-02-01' ORDER BY time, reading_id
"""
Raised = tuple[Any, ...]
"""The values of an alarm by which alarms are compared: sensor, kind, times and peak."""

# A defrost raises the temperature by 3 K for 30 min a day, on every eighth day for 50 min. Two hours have no readings.
READINGS = """
    INSERT INTO reading (sensor_id, time, value)
    SELECT 1 + seq % {sensors}, '{start}' + INTERVAL seq DIV {sensors} MINUTE,
        ROUND(2.5 + SIN(seq DIV {sensors} / 400 + seq % {sensors}) + 0.6 * RAND(seq) + IF(
            (seq DIV {sensors} + seq % {sensors} * 71) % 1440 < IF(seq DIV {sensors} DIV 1440 % 8, 30, 50), 3, 0), 2)
    FROM seq_0_to_{last}
    WHERE seq DIV {sensors} NOT BETWEEN 20000 AND 20120
"""


def run(workspace: Workspace, report: Report) -> None:
    """Measure previews of a month, and pushes during these previews.

    Compare the alarms that a preview returns with the alarms that the judge (the evaluation of live readings) raises.
    """
    report.start("previewing", TITLE)
    with mariadb() as database:
        site = Site(database, "site")
        site.fill(2, SENSORS, 0)
        site.execute("UPDATE sensor SET interval_s = 60")
        last = SENSORS * MINUTES - 1
        start = START - timedelta(days=1)
        site.execute(READINGS.format(sensors=SENSORS, start=f"{start:%Y-%m-%d}", last=last))
        site.execute("UPDATE rollup_position SET reading_id = (SELECT MAX(reading_id) FROM reading)")
        folder = workspace.folder / "previewing"
        folder.mkdir()
        settings = {"database": site.settings, "rules": IN_FORCE, "poll_interval": POLL_S, "alarms": {}}
        server = StorewatchServer(folder, settings).start()
        try:
            answer, times, apart, beside = asyncio.run(_measure(server.url, site))
        finally:
            server.stop()
        judged = {"proposed": _judged(site, PROPOSED), "in_force": _judged(site, IN_FORCE)}
    report.tell("first preview, which starts the worker process", f"{number(times[0])} s")
    report.below(f"later previews of {SENSORS * DAYS * 1440:,} readings, median", median(times[1:]), LIMIT_S, "s")
    for which, expected in judged.items():
        different = len(_told(answer, which) ^ expected)
        what = f"number of differences from the judge's {len(expected):,} alarms"
        report.at_most(f"{RULE_SETS[which]}: {what}", different, 0)
    report.tell("time from a reading to its push, without previews: p50, p95", spread(apart))
    report.tell("time from a reading to its push, during previews: p50, p95", spread(beside))
    report.below("increase of p95 during previews", late(beside) - late(apart), DELAYED_MS, "ms")


async def _measure(url: str, site: Site) -> tuple[Any, list[float], list[float], list[float]]:
    """Return four results: one preview, the durations of all previews, and two lists of push times.

    The first list was measured without previews, and the second list during previews.
    """
    async with connected("python", url) as caller, connected("python", url) as watcher:
        await watcher.call("register", {"store_house_id": 2})
        apart = await pushes(watcher, site, WATCHED, asyncio.create_task(asyncio.sleep(APART_S)))
        asking = asyncio.create_task(_ask(caller))
        beside = await pushes(watcher, site, WATCHED, asking)
        answer, times = await asking
    return answer, times, apart, beside


async def _ask(client: Client) -> tuple[Any, list[float]]:
    question = {"store_house_id": 1, "rules": PROPOSED, "start": START.isoformat(), "end": END.isoformat()}
    times = []
    for _ in range(TIMES):
        began = time.monotonic()
        answer = await client.call("previewAlarms", question, timeout=PATIENCE_S)
        times.append(time.monotonic() - began)
        if not answer["ok"]:
            raise Failed(f"the server refused previewAlarms: {answer['error']}")
    return answer["data"], times


def _judged(site: Site, rule_set: Any) -> set[Raised]:
    """Return the alarms that the evaluation of live readings raises if it gets all readings one by one."""
    limits = rules.terms(rules.parse(rule_set), SENSOR)
    raised = set()
    for sensor_id in range(1, SENSORS + 1):
        rows = site.execute(OF_SENSOR.format(sensor_id=sensor_id))
        readings = [Reading(row[0].replace(tzinfo=UTC).timestamp(), row[1], rank) for rank, row in enumerate(rows)]
        for alarm in replay(limits, SENSOR, readings, END.timestamp()):
            if alarm.raised is not None and START.timestamp() <= alarm.raised < END.timestamp():
                raised.add((sensor_id, alarm.kind, alarm.raised, alarm.cleared, alarm.peak))
    return raised


def _told(answer: Any, which: str) -> set[Raised]:
    return {
        (kind["sensor_id"], kind["kind"], _second(alarm["raised"]), _second(alarm["cleared"]), alarm["peak"])
        for kind in answer["sensors"]
        for alarm in kind[which]["alarms"]
    }


def _second(time: str | None) -> Any:
    return None if time is None else datetime.fromisoformat(time).timestamp()
