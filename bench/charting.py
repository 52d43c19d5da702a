"""The benchmark Charting measures the time from a `queryEnvs` request to its acknowledgement.

The requests ask for a year, a month or a day.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from bench.child import Failed
from bench.peers import Workspace
from bench.report import Report, number
from bench.site import Site, mariadb
from tests.support.clients import connected
from tests.support.coldstore import FOLDER as COLDSTORE
from tests.support.coldstore import READINGS as COLDSTORE_READINGS
from tests.support.coldstore import with_year, year_in
from tests.support.serving import StorewatchServer

TITLE = (
    "time from the request `queryEnvs` of a client to the answer, in ms. The server is started with `python main.py`"
)
SENSORS, MINUTES = 20, 365 * 1440
START = datetime(2025, 1, 1, tzinfo=UTC)
END = START + timedelta(minutes=MINUTES)
PORTION = 500_000
"""Number of rows that one statement inserts."""
POSITION = "SELECT reading_id FROM rollup_position"
TIMES = 15
YEAR_LIMIT_MS, COLDSTORE_LIMIT_MS = 500, 300
PATIENCE_S = 900

# Because of the random part, each minute has a different value.
READINGS = """
    INSERT INTO reading (reading_id, sensor_id, time, value)
    SELECT seq, 1 + (seq - 1) % {sensors}, '{start}' + INTERVAL (seq - 1) DIV {sensors} MINUTE,
        ROUND(-20 + 5 * SIN(seq / 30000) + RAND(), 2)
    FROM seq_{first}_to_{last}
"""


def run(workspace: Workspace, report: Report) -> None:
    """Measure queries for a year of generated readings, and for a year of readings of a real cold store."""
    report.start("charting", TITLE)
    with mariadb() as database:
        site = Site(database, "site")
        site.fill(1, SENSORS, 0)
        began = time.monotonic()
        _fill(site)
        report.tell(f"preparation: create {SENSORS * MINUTES:,} readings", f"{time.monotonic() - began:.0f} s")
        site.execute("DELETE FROM rollup_position")
        server = StorewatchServer(_folder(workspace, "year"), {"database": site.settings}).start()
        try:
            took_s = _rolled_up(lambda: site.execute(POSITION), SENSORS * MINUTES)
            report.tell("preparation: compute their rollups while the server runs", f"{took_s:.0f} s")
            cases = {"a year": timedelta(days=365), "a month": timedelta(days=30), "a day": timedelta(days=1)}
            for case, span in cases.items():
                times = asyncio.run(_ask(server.url, START, START + span))
                what = f"{SENSORS} sensors, a reading per minute: {case}"
                if span == max(cases.values()):
                    report.below(what, median(times), YEAR_LIMIT_MS, "ms")
                else:
                    report.tell(what, f"{number(median(times))} ms")
        finally:
            server.stop()
    _coldstore(workspace, report)


def _fill(site: Site) -> None:
    readings = SENSORS * MINUTES
    for first in range(1, readings + 1, PORTION):
        last = min(first + PORTION - 1, readings)
        site.execute(READINGS.format(sensors=SENSORS, start=f"{START:%Y-%m-%d}", first=first, last=last))


def _rolled_up(position: Callable[[], list[tuple[int]]], readings: int) -> float:
    """Wait until `readings` readings have been added to the rollups. Return how long it took, in seconds."""
    began = time.monotonic()
    while position() != [(readings,)]:
        if time.monotonic() - began > PATIENCE_S:
            raise Failed(f"the readings were not rolled up within {PATIENCE_S} s")
        time.sleep(1)
    return time.monotonic() - began


async def _ask(url: str, start: datetime, end: datetime) -> list[float]:
    """Query the history from `start` to `end` several times. Return the duration of each query in milliseconds."""
    question = {"store_house_id": 1, "start": start.isoformat(), "end": end.isoformat()}
    times = []
    async with connected("python", url) as client:
        for _ in range(TIMES):
            began = time.monotonic()
            answer = await client.call("queryEnvs", question)
            times.append((time.monotonic() - began) * 1000)
            _check(answer)
            await client.next("queryEnvs")
    return times


def _check(answer: dict[str, Any]) -> None:
    if not answer["ok"]:
        raise Failed(f"the server refused queryEnvs: {answer['error']}")
    if not all(sensor["points"] for sensor in answer["data"]["sensors"]):
        raise Failed("the answer has a sensor without points")


def _coldstore(workspace: Workspace, report: Report) -> None:
    if not COLDSTORE.is_dir():
        report.tell(f"a year of a real cold store: skipped, {COLDSTORE} does not exist", "")
        return
    folder = _folder(workspace, "coldstore")
    server = with_year(COLDSTORE, folder).start()
    try:
        with closing(sqlite3.connect(year_in(folder)["path"])) as connection:
            _rolled_up(lambda: connection.execute(POSITION).fetchall(), COLDSTORE_READINGS)
        start = datetime(2021, 6, 24, tzinfo=UTC)
        times = asyncio.run(_ask(server.url, start, start + timedelta(days=365)))
    finally:
        server.stop()
    report.below(
        "a year of a real cold store: 10 sensors, a reading every 15 minutes", median(times), COLDSTORE_LIMIT_MS, "ms"
    )


def _folder(workspace: Workspace, name: str) -> Path:
    folder = workspace.folder / name
    folder.mkdir()
    return folder
