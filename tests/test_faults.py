"""Outages of the database while clients watch: the database is stopped, killed, frozen or locked.

The server answers and informs every client, and loses no reading. The tests check the time limits that the
documentation promises. The server is faster than these limits.
"""

import asyncio
import sqlite3
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa

import settings
from db import tables
from db.database import Database
from db.limits import QUESTION_LIMITS
from errors import Unavailable
from live.heartbeat import Heartbeat
from live.rollups import Rollups
from tests.support.clients import Client, Kind, connected
from tests.support.services.mariadb import MariaDB
from tests.support.serving import Serve
from tests.support.serving_inside import SOON, serving_inside, until
from tests.support.sites import Site, site

ANSWERED_S = 3.0
TOLD_S = 2.0
RESUMED_S = 5.0
AWAY_S = 2.0  # long enough for the heartbeat to fail
WATCHERS: tuple[Kind, ...] = ("python", "node4")


@dataclass(frozen=True)
class Fault:
    """A fault of MariaDB: a function that takes the MariaDB server down, and a function that brings it back.

    Both functions return when they have finished.
    """

    start: Callable[[MariaDB], object]
    end: Callable[[MariaDB], object]


FAULTS = {
    "stopped": Fault(MariaDB.stop, MariaDB.start),
    "killed": Fault(MariaDB.kill, MariaDB.start),
    "frozen": Fault(MariaDB.freeze, MariaDB.thaw),
}


@pytest.fixture(scope="module")
def own_mariadb() -> Iterator[MariaDB]:
    """A MariaDB server that the tests may stop."""
    with MariaDB() as server:
        yield server


@pytest.fixture
def own_database(own_mariadb: MariaDB) -> dict[str, Any]:
    name = f"site_{uuid.uuid4().hex}"
    own_mariadb.create_database(name)
    return own_mariadb.settings(name)


@pytest.fixture
def north(own_database: dict[str, Any]) -> Iterator[Site]:
    with site(own_database) as built:
        yield built


class Watcher:
    """A client that watches one storehouse."""

    def __init__(self, client: Client, store_house_id: int) -> None:
        self.client = client
        self.question = {"store_house_id": store_house_id}

    async def shows(self, condition: Callable[[dict[str, Any]], object], seconds: float) -> None:
        """Wait until an `envs` satisfies the condition. Each `envs` that the client has received is checked once."""
        async with asyncio.timeout(seconds):
            while not condition(await self.client.next("envs")):
                pass

    async def code(self, event: str, *payload: Any) -> str | None:
        """Send an event. Return the error code in the answer, or None if the answer is not an error."""
        answer = await self.client.call(event, *payload, timeout=ANSWERED_S)
        return None if answer["ok"] else str(answer["error"]["code"])

    async def answers_without_a_database(self) -> None:
        """Check that the server answers events while the database does not answer.

        Events that need the database must get the error `unavailable`.
        """
        alarms = self.question | {"data_minute": 60}
        for event, payload in (("orgs", None), ("storehouses", 1), ("queryAlarms", alarms)):
            assert await self.code(event, payload) == "unavailable"
        assert await self.code("register", {"store_house_id": 987654}) == "unavailable"
        assert await self.code("register", {}) == "bad_request"
        assert await self.code("nonsense") == "unknown_event"
        assert await self.code("unregister") is None
        answer = await self.client.call("register", self.question, timeout=ANSWERED_S)
        assert answer["data"]["stale"] is True  # the answer still has the last known readings
        assert answer["data"]["envs"][0]["sensor_name"] == "温度 1"


def is_stale(envs: dict[str, Any]) -> bool:
    return envs["stale"] is True


def has(value: float) -> Callable[[dict[str, Any]], bool]:
    """Return a condition on an `envs`: the `envs` is not stale, and its first sensor has this value."""
    return lambda envs: not envs["stale"] and envs["envs"][0]["value"] == value


async def watch(running: AsyncExitStack, url: str, north: Site) -> list[Watcher]:
    clients = [await running.enter_async_context(connected(kind, url)) for kind in WATCHERS]
    watchers = [Watcher(client, north.ids["north"]) for client in clients]
    for watcher in watchers:
        assert await watcher.code("register", watcher.question) is None
    return watchers


async def all_show(watchers: list[Watcher], condition: Callable[[dict[str, Any]], object], seconds: float) -> None:
    await asyncio.gather(*(watcher.shows(condition, seconds) for watcher in watchers))


@pytest.mark.serial  # it checks that watchers learn of the outage within 2 s
@pytest.mark.parametrize(
    ("fault", "poll_interval"),
    [
        pytest.param("stopped", 60.0),
        pytest.param("killed", 0.2),
        pytest.param("frozen", 60.0),
        pytest.param("stopped", 0.2, marks=pytest.mark.faults),
        pytest.param("killed", 60.0, marks=pytest.mark.faults),
        pytest.param("frozen", 0.2, marks=pytest.mark.faults),
    ],
)
async def test_watchers_learn_of_a_database_outage_and_recover(
    fault: str,
    poll_interval: float,
    serve: Serve,
    own_mariadb: MariaDB,
    own_database: dict[str, Any],
    north: Site,
) -> None:
    async with (
        serve({"database": own_database, "poll_interval": poll_interval}) as server,
        AsyncExitStack() as running,
    ):
        watchers = await watch(running, server.url, north)
        north.add("temperature", 20.0)  # the server may poll it before the outage or after it
        await asyncio.to_thread(FAULTS[fault].start, own_mariadb)
        try:
            at_once = [watcher.code("orgs") for watcher in watchers]
            codes, _ = await asyncio.gather(asyncio.gather(*at_once), all_show(watchers, is_stale, TOLD_S))
            assert codes == ["unavailable"] * len(watchers)
            for watcher in watchers:
                await watcher.answers_without_a_database()
        finally:
            await asyncio.to_thread(FAULTS[fault].end, own_mariadb)
        await asyncio.gather(
            asyncio.to_thread(north.add, "temperature", 21.0),
            all_show(watchers, has(21.0), RESUMED_S),
        )
        for watcher in watchers:
            assert await watcher.code("orgs") is None


@pytest.mark.parametrize("writes", [False, True], ids=["read", "write"])
async def test_an_answer_is_used_if_the_database_hangs_afterwards(
    writes: bool, own_mariadb: MariaDB, own_database: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    def work(connection: sa.Connection) -> object:
        with connection.begin() if writes else nullcontext():
            answer = connection.scalar(sa.text("SELECT 1"))
        own_mariadb.freeze()
        return answer

    database = Database(settings.Database(**own_database), QUESTION_LIMITS, 1, writes=writes)
    try:
        assert await database.run(work) == 1
    finally:
        own_mariadb.thaw()
    assert await database.run(lambda connection: connection.scalar(sa.text("SELECT 2"))) == 2
    assert "Exception during reset" not in caplog.text
    database.close()


async def test_rollups_continue_after_a_hang_during_connection_reset(
    own_mariadb: MariaDB, own_database: dict[str, Any], north: Site
) -> None:
    database = Database(settings.Database(**own_database), QUESTION_LIMITS, 1, writes=True)
    sa.event.listen(database.engine, "reset", lambda *_: own_mariadb.freeze(), once=True)
    rollups = Rollups(database, "one")
    try:
        with suppress(Unavailable):
            await rollups.update()
    finally:
        own_mariadb.thaw()
    await rollups.update()
    with north.database.engine.connect() as connection:
        assert connection.scalar(sa.select(tables.lease.c.holder)) == "one"
    database.close()


class Writer:
    """A thread that commits one reading after another, and continues after database errors."""

    def __init__(self, where: dict[str, Any], sensor_id: int) -> None:
        self._where = where
        self._sensor_id = sensor_id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.last = 0

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            with suppress(pymysql.err.OperationalError, pymysql.err.InterfaceError):
                self._write()

    def _write(self) -> None:
        names = {key: self._where[key] for key in ("host", "port", "user", "password")}
        with pymysql.connect(**names, database=self._where["name"], autocommit=True) as connection:
            while not self._over.wait(0.002):
                self.last += 1  # no retry after an error, because the reading may have been committed
                statement = "INSERT INTO reading (sensor_id, time, value) VALUES (%s, UTC_TIMESTAMP(3), %s)"
                connection.cursor().execute(statement, (self._sensor_id, self.last))


async def test_the_poller_delivers_each_reading_once_across_outages(
    own_mariadb: MariaDB, own_database: dict[str, Any], north: Site
) -> None:
    north.execute("DELETE FROM reading")
    async with serving_inside({"database": own_database, "poll_interval": 0.05}) as inside:
        with Writer(own_database, north.ids["temperature"]):
            for fault in FAULTS.values():
                before = len(inside.seen)
                await until(lambda before=before: len(inside.seen) > before + 100)  # type: ignore[misc]
                await asyncio.to_thread(fault.start, own_mariadb)
                await asyncio.sleep(AWAY_S)
                await asyncio.to_thread(fault.end, own_mariadb)
            before = len(inside.seen)
            await until(lambda: len(inside.seen) > before + 100)
        rows = own_mariadb.execute("SELECT value FROM reading", database=own_database["name"])
        await until(lambda: inside.seen.total() >= len(rows))
        await asyncio.sleep(0.5)  # some more polls, to detect duplicates
    assert inside.seen == Counter(value for (value,) in rows)


async def test_a_poll_from_before_an_outage_does_not_end_it(
    own_database: dict[str, Any], north: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, handed_out, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    answers.set()

    async def is_answering(_: Heartbeat) -> bool:
        return answers.is_set()

    async def hold(_: object) -> None:
        handed_out.set()
        await go_on.wait()

    monkeypatch.setattr(Heartbeat, "_is_answering", is_answering)
    async with serving_inside({"database": own_database}) as inside, AsyncExitStack() as running:
        (watcher, _) = await watch(running, inside.url, north)
        inside.server.poller.subscribe(hold)
        north.add("temperature", 21.0)
        await handed_out.wait()
        answers.clear()
        await watcher.shows(is_stale, SOON)
        go_on.set()
        answers.set()
        await watcher.shows(has(21.0), SOON)
        assert await watcher.code("orgs") is None


@pytest.mark.serial  # it checks times
async def test_a_locked_sqlite_file_of_the_site_is_an_outage(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    with site({"path": str(path)}) as north:
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        # In WAL mode, no lock blocks readers. Storewatch's own files use WAL, but a site's file may use the older mode.
        writer.execute("PRAGMA journal_mode=DELETE")
        told = {"database": {"path": str(path), "map": {}}, "poll_interval": 60.0}
        async with serve(told) as server, AsyncExitStack() as running:
            watchers = await watch(running, server.url, north)
            writer.execute("BEGIN EXCLUSIVE")
            await all_show(watchers, is_stale, TOLD_S)
            for watcher in watchers:
                await watcher.answers_without_a_database()
            row = (north.ids["temperature"], time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()), 22.0)
            writer.execute("INSERT INTO reading (sensor_id, time, value) VALUES (?, ?, ?)", row)
            writer.execute("COMMIT")
            await all_show(watchers, has(22.0), RESUMED_S)
