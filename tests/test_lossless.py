"""The poller delivers every committed reading exactly once, even if the reading is committed very late.

Sixteen writers use a real MariaDB. Some keep a transaction open while others continue, and some roll back.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pymysql
import pytest

from tests.support.clients import connected
from tests.support.serving import Serve
from tests.support.serving_inside import serving_inside, until
from tests.support.sites import Site, site

WRITERS = 16
READINGS = 10_000  # number of readings that all writers commit together
BATCH = 5  # number of readings in a transaction
LONG_S = 3.0
SENSORS = ("temperature", "far")
POLL_S = 0.05

Row = tuple[int, datetime, float]


class NaivePoller:
    """A wrong poller: it queries only rows with higher ids than the last row that it has read.

    Some writers keep a transaction open until this poller has read higher ids. The poller then loses the rows of these
    writers.
    """

    def __init__(self, where: dict[str, Any]) -> None:
        self.last = 0
        self.seen: Counter[float] = Counter()
        self._where = where
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "NaivePoller":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with connect(self._where) as connection, connection.cursor() as cursor:
            connection.autocommit(True)
            while not self._over.wait(POLL_S):
                cursor.execute("SELECT reading_id, value FROM reading WHERE reading_id > %s ORDER BY 1", (self.last,))
                for reading_id, value in cursor.fetchall():
                    self.last = reading_id
                    self.seen[value] += 1


@dataclass
class Writers:
    """Sixteen threads that write readings. `committed` lists the committed values."""

    where: dict[str, Any]
    sensors: list[int]
    naive: NaivePoller
    committed: list[float] = field(default_factory=list)
    longest_s: float = 0.0
    _going_on: set[int] = field(default_factory=set)

    async def write(self, readings: int) -> None:
        """Commit this number of readings."""
        each = readings // WRITERS
        self._going_on.update(range(WRITERS))
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(WRITERS) as threads:
            await asyncio.gather(*(loop.run_in_executor(threads, self._write, n, each) for n in range(WRITERS)))

    def _write(self, number: int, readings: int) -> None:
        with connect(self.where) as connection:
            for batch in range(readings // BATCH):
                if batch % 7 == number % 7:
                    self._insert(connection, self._rows(number, batch, taken_back=True))
                    connection.rollback()
                rows = self._rows(number, batch)
                last = self._insert(connection, rows)
                if batch % 25 == number:
                    self._stay_open(number, last, LONG_S if number % 4 == 0 and batch < 25 else 0.0)
                connection.commit()
                self.committed.extend(value for _, _, value in rows)
        self._going_on.discard(number)

    def _rows(self, number: int, batch: int, *, taken_back: bool = False) -> list[Row]:
        """Return readings with unique values and unique times."""
        first = (batch * WRITERS + number) * BATCH
        start = datetime.now(UTC).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
        return [
            (
                self.sensors[value % len(self.sensors)],
                start + timedelta(milliseconds=value),
                float(-value - 1 if taken_back else value),
            )
            for value in range(first, first + BATCH)
        ]

    def _insert(self, connection: "pymysql.Connection[Any]", rows: list[Row]) -> int:
        with connection.cursor() as cursor:
            for row in rows:  # one by one, so that the ids of the writers interleave
                cursor.execute("INSERT INTO reading (sensor_id, time, value) VALUES (%s, %s, %s)", row)
            return int(cursor.lastrowid or 0)

    def _stay_open(self, number: int, last: int, seconds: float) -> None:
        """Keep the transaction open until the naive poller has read higher ids.

        Keep it open for at least `seconds` seconds.
        """
        start = time.monotonic()
        self._going_on.discard(number)
        while (self.naive.last <= last and self._going_on) or time.monotonic() < start + seconds:
            time.sleep(POLL_S)
        self._going_on.add(number)
        self.longest_s = max(self.longest_s, time.monotonic() - start)


def connect(where: dict[str, Any]) -> "pymysql.Connection[Any]":
    names = {key: where[key] for key in ("host", "port", "user", "password")}
    return pymysql.connect(**names, database=where["name"])


@pytest.fixture
def north(mariadb_database: dict[str, Any]) -> Iterator[Site]:
    with site(mariadb_database) as built:
        built.execute("DELETE FROM reading")
        yield built


@pytest.fixture
def writers(mariadb_database: dict[str, Any], north: Site) -> Iterator[Writers]:
    with NaivePoller(mariadb_database) as naive:
        yield Writers(mariadb_database, [north.ids[name] for name in SENSORS], naive)


def newest(north: Site) -> dict[int, float]:
    """Return each sensor's newest value in the database."""
    with north.database.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT sensor_id, value FROM reading ORDER BY time")
        return {row[0]: row[1] for row in rows}


def shown(envs: list[dict[str, Any]]) -> dict[int, float]:
    """Return each sensor's value in the last `envs` message."""
    return {env["sensor_id"]: env["value"] for env in envs[-1]["envs"] if env["value"] is not None}


async def test_the_poller_delivers_each_committed_reading_exactly_once(
    mariadb_database: dict[str, Any], north: Site, writers: Writers
) -> None:
    settings = {"database": mariadb_database, "poll_interval": POLL_S}
    async with serving_inside(settings) as inside, connected("python", inside.url) as client:
        await client.call("register", {"store_house_id": north.ids["north"]})
        await writers.write(READINGS)
        portions = inside.portions
        await until(lambda: len(inside.seen) >= READINGS)
        await asyncio.sleep(10 * POLL_S)  # some more polls, to detect duplicates
        truth = newest(north)
        await until(
            lambda: shown(client.received("envs")) == {north.ids["temperature"]: truth[north.ids["temperature"]]}
        )

    assert len(writers.committed) == READINGS
    assert writers.longest_s >= LONG_S
    assert portions > 10  # the poller polled while the writers wrote
    assert inside.seen == Counter(writers.committed)  # no reading is lost, doubled or rolled back
    assert len(writers.naive.seen) < READINGS  # the naive poller loses some readings


async def test_the_last_envs_event_has_the_newest_values(
    serve: Serve, mariadb_database: dict[str, Any], north: Site, writers: Writers
) -> None:
    settings = {"database": mariadb_database, "poll_interval": POLL_S}
    async with (
        serve(settings) as server,
        connected("node4", server.url) as here,
        connected("python", server.url) as there,
    ):
        await here.call("register", {"store_house_id": north.ids["north"]})
        await there.call("register", {"store_house_id": north.ids["south"]})
        await writers.write(READINGS // 5)
        truth = newest(north)
        await until(lambda: shown(here.received("envs")) | shown(there.received("envs")) == truth)
