"""The database is stopped, killed, frozen or locked while clients watch: all are answered and told, nothing is lost.

The seconds are those that are promised; the mechanism has slack within each.
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
from live.rollups import Rollups
from tests.support.clients import Client, Kind, connected
from tests.support.services.mariadb import MariaDB
from tests.support.services.process import DidNotStart
from tests.support.serving import Serve, StorewatchServer
from tests.support.serving_inside import serving_inside, until
from tests.support.sites import Site, site

ANSWERED_S = 3.0
TOLD_S = 2.0
RESUMED_S = 5.0
REFUSED_S = 8.0  # with the time that Python takes to start
AWAY_S = 2.0  # long enough for the heartbeat to miss it
WATCHERS: tuple[Kind, ...] = ("python", "node4")


@dataclass(frozen=True)
class Fault:
    """A way to lose a MariaDB, and to get it back. Both return once it is done."""

    start: Callable[[MariaDB], object]
    end: Callable[[MariaDB], object]


FAULTS = {
    "stopped": Fault(MariaDB.stop, MariaDB.start),
    "killed": Fault(MariaDB.kill, MariaDB.start),
    "frozen": Fault(MariaDB.freeze, MariaDB.thaw),
}


@pytest.fixture(scope="module")
def own_mariadb() -> Iterator[MariaDB]:
    """Ours to stop."""
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
    """A client that watches `north`."""

    def __init__(self, client: Client, store_house_id: int) -> None:
        self.client = client
        self.question = {"store_house_id": store_house_id}

    async def shows(self, condition: Callable[[dict[str, Any]], object], seconds: float) -> None:
        """Wait for an `envs` of which that is true, one that has come since the last or one to come."""
        async with asyncio.timeout(seconds):
            while not condition(await self.client.next("envs")):
                pass

    async def code(self, event: str, *payload: Any) -> str | None:
        """How an event is answered: by which error, None for none."""
        answer = await self.client.call(event, *payload, timeout=ANSWERED_S)
        return None if answer["ok"] else str(answer["error"]["code"])

    async def answers_without_a_database(self) -> None:
        """Other events keep being answered, `unavailable` where the database is needed."""
        alarms = self.question | {"data_minute": 60}
        for event, payload in (("orgs", None), ("storehouses", 1), ("queryAlarms", alarms)):
            assert await self.code(event, payload) == "unavailable"
        assert await self.code("register", {"store_house_id": 987654}) == "unavailable"
        assert await self.code("register", {}) == "bad_request"
        assert await self.code("nonsense") == "unknown_event"
        assert await self.code("unregister") is None
        answer = await self.client.call("register", self.question, timeout=ANSWERED_S)
        assert answer["data"]["stale"] is True  # what is known of it is shown all the same
        assert answer["data"]["envs"][0]["sensor_name"] == "温度 1"


def is_stale(envs: dict[str, Any]) -> bool:
    return envs["stale"] is True


def has(value: float) -> Callable[[dict[str, Any]], bool]:
    """Whether an `envs` of a database that answers has this value of the first sensor."""
    return lambda envs: not envs["stale"] and envs["envs"][0]["value"] == value


async def watch(running: AsyncExitStack, url: str, north: Site) -> list[Watcher]:
    clients = [await running.enter_async_context(connected(kind, url)) for kind in WATCHERS]
    watchers = [Watcher(client, north.ids["north"]) for client in clients]
    for watcher in watchers:
        assert await watcher.code("register", watcher.question) is None
    return watchers


async def all_show(watchers: list[Watcher], condition: Callable[[dict[str, Any]], object], seconds: float) -> None:
    await asyncio.gather(*(watcher.shows(condition, seconds) for watcher in watchers))


@pytest.mark.parametrize("poll_interval", [0.2, 60.0])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_watchers_are_told_of_a_loss_answered_during_it_and_up_to_date_after_it(
    fault: Fault,
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
        north.add("temperature", 20.0)  # perhaps polled before the loss, perhaps not
        await asyncio.to_thread(fault.start, own_mariadb)
        try:
            at_once = [watcher.code("orgs") for watcher in watchers]
            codes, _ = await asyncio.gather(asyncio.gather(*at_once), all_show(watchers, is_stale, TOLD_S))
            assert codes == ["unavailable"] * len(watchers)
            for watcher in watchers:
                await watcher.answers_without_a_database()
        finally:
            await asyncio.to_thread(fault.end, own_mariadb)
        await asyncio.gather(
            asyncio.to_thread(north.add, "temperature", 21.0),
            all_show(watchers, has(21.0), RESUMED_S),
        )
        for watcher in watchers:
            assert await watcher.code("orgs") is None


@pytest.mark.parametrize("writes", [False, True], ids=["asked", "written"])
async def test_an_answer_that_has_come_counts_though_the_database_hangs_before_its_connection_is_put_back(
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


async def test_rollups_go_on_after_the_database_hung_while_their_connection_was_put_back(
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
    """Commits a reading after the other, whatever happens to the database."""

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
                self.last += 1  # one that fails is not tried again: it may have been committed
                statement = "INSERT INTO reading (sensor_id, time, value) VALUES (%s, UTC_TIMESTAMP(3), %s)"
                connection.cursor().execute(statement, (self._sensor_id, self.last))


async def test_each_reading_committed_around_losses_leaves_the_poller_once(
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
        await asyncio.sleep(0.5)  # some ticks more, for what might come twice
    assert inside.seen == Counter(value for (value,) in rows)


@pytest.mark.parametrize("own_tables", [True, False], ids=["our tables", "a site's own"])
async def test_a_start_while_the_database_is_frozen_ends_with_one_line_that_says_so(
    own_tables: bool, tmp_path: Path, own_mariadb: MariaDB, own_database: dict[str, Any], north: Site
) -> None:
    server = StorewatchServer(tmp_path, {"database": own_database | ({} if own_tables else {"map": {}})})
    own_mariadb.freeze()
    try:
        async with asyncio.timeout(REFUSED_S):
            with pytest.raises(DidNotStart) as ended:
                await asyncio.to_thread(server.start)
    finally:
        own_mariadb.thaw()
    assert ended.value.exit_code == 2
    (line,) = ended.value.log.splitlines()
    assert line.startswith("storewatch: database: cannot open mysql")


async def test_a_sites_sqlite_file_that_is_locked_is_a_loss_too(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    with site({"path": str(path)}) as north:
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        # In WAL mode, which our own files are in, nobody can keep readers out; a site's own may be in the older one.
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
