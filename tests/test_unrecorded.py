"""If alarms cannot be recorded, the server says so, notifies of new breaches from memory, and records them later.

`-m faults` runs the test with more causes.
"""

import asyncio
import json
import logging
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tornado.httpclient import AsyncHTTPClient

from alarm_service import judge_loop, judge_term, recording
from db import tables
from tests.support.clients import Client, connected
from tests.support.faults import FILE_LIMIT
from tests.support.judged import kept, steps
from tests.support.services.mariadb import USER, MariaDB
from tests.support.services.private import HOST
from tests.support.serving import Serve
from tests.support.serving_inside import serving_inside, until
from tests.support.sites import Site, site
from tests.support.webhook import Webhook, webhook
from web import health

LIMIT_S = 2.0  # shorter than in production, so that the tests are fast
RULES = [{"scope": {"metric": "temperature"}, "high": {"limit": 30, "severity": "warning"}, "high_high": 50}]
NOTICE = {"language": "en", "group_wait": "1s", "group_interval": "1s"}

Change = Callable[[], object]


@pytest.fixture(scope="module")
def own_mariadb() -> Iterator[MariaDB]:
    """A MariaDB server that a test may stop. Each test leaves the server running and writable."""
    with MariaDB() as server:
        yield server


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as receiver:
        yield receiver


@contextmanager
def sqlite_switch(path: str) -> Iterator[tuple[Change, Change]]:
    """Yield two functions: one makes the SQLite file read-only for new transactions, the other undoes it."""
    is_read_only = False

    def check_out(connection: Any, *_: object) -> None:
        (_, _, name) = connection.execute("PRAGMA database_list").fetchone()
        if name == path:
            connection.execute(f"PRAGMA query_only = {int(is_read_only)}")

    def switch(value: bool) -> Change:
        def set_value() -> None:
            nonlocal is_read_only
            is_read_only = value

        return set_value

    sa.event.listen(sa.pool.Pool, "checkout", check_out)
    try:
        yield switch(True), switch(False)
    finally:
        sa.event.remove(sa.pool.Pool, "checkout", check_out)


@contextmanager
def broken_state(how: str, directory: Path, mariadb: MariaDB) -> Iterator[tuple[dict[str, Any], Change, Change]]:
    """Yield the settings of a `state` database, and functions that make it unwritable and writable."""
    if how == "sqlite":
        path = str(directory / "state.db")
        with sqlite_switch(path) as (spoil, mend):
            yield {"path": path}, spoil, mend
        return
    name = f"state_{uuid.uuid4().hex}"
    mariadb.create_database(name)

    def revoke() -> None:
        mariadb.execute(f"REVOKE INSERT, UPDATE ON `{name}`.* FROM {USER}@'{HOST}'")
        # MariaDB checks the permissions on a database when a connection opens it.
        mariadb.execute(f"KILL USER {USER}@'{HOST}'")

    full = "BEFORE INSERT ON alarm_journal FOR EACH ROW SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114"
    ways: dict[str, tuple[Change, Change]] = {
        "read-only": (
            lambda: mariadb.execute("SET GLOBAL read_only = ON"),
            lambda: mariadb.execute("SET GLOBAL read_only = OFF"),
        ),
        "revoked": (
            revoke,
            lambda: mariadb.execute(f"GRANT ALL ON `{name}`.* TO {USER}@'{HOST}'"),
        ),
        # The leases can still be renewed, because only a table that grows is full.
        "full": (
            lambda: mariadb.execute(f"CREATE TRIGGER full {full}", database=name),
            lambda: mariadb.execute("DROP TRIGGER full", database=name),
        ),
        "no table": (
            lambda: mariadb.execute("RENAME TABLE alarm_journal TO away", database=name),
            lambda: mariadb.execute("RENAME TABLE away TO alarm_journal", database=name),
        ),
        "lost": (mariadb.stop, mariadb.start),
    }
    yield mariadb.settings(name), *ways[how]


def settings_of(built: Site, state: dict[str, Any], hook: Webhook) -> dict[str, Any]:
    tiers = [[{"name": "duty", "url": hook.url}]]
    return {
        "database": {"path": built.database.settings.path},
        "state": state,
        "poll_interval": 0.1,
        "rules": RULES,
        "notify": NOTICE | {"tiers": tiers},
    }


async def readiness(url: str) -> tuple[int, dict[str, Any]]:
    answer = await AsyncHTTPClient().fetch(f"{url}readyz", raise_error=False)
    return answer.code, json.loads(answer.body)


async def hears(client: Client, *, unrecorded: bool) -> None:
    """Wait until the last pushes `envs` and `overview` have this value and are not stale."""

    def said() -> list[tuple[bool, bool]]:
        return [(told["unrecorded"], told["stale"]) for told in map(client.last, ("envs", "overview"))]

    await until(lambda: said() == [(unrecorded, False)] * 2)


def levels(log: pytest.LogCaptureFixture) -> list[str]:
    """Return the level of each warning and error in the log, except for the cause of the outage (`db.condition`)."""
    ours = [record for record in log.records if record.name not in ("tornado.access", "db.condition")]
    return [record.levelname for record in ours if record.levelno >= logging.WARNING]


def told(hook: Webhook) -> list[str]:
    """Return the kind of each notice that the webhook has accepted, with a mark for unrecorded notices."""
    return [
        line.partition(":")[0] + (" (unrecorded)" if "Not recorded" in text else "")
        for text in hook.texts
        for line in text.splitlines()[1:]
        if "°C" in line or "(limit" in line
    ]


@pytest.mark.parametrize(
    "how",
    [
        "sqlite",
        "full",
        "lost",
        pytest.param("read-only", marks=pytest.mark.faults),
        pytest.param("no table", marks=pytest.mark.faults),
        pytest.param("revoked", marks=pytest.mark.faults),
    ],
)
async def test_new_breaches_are_notified_and_recorded_later(
    how: str,
    tmp_path: Path,
    own_mariadb: MariaDB,
    hook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(recording, "LIMIT_S", LIMIT_S)
    async with AsyncExitStack() as stack:
        built = stack.enter_context(site({"path": str(tmp_path / "site.db")}))
        state, spoil, mend = stack.enter_context(broken_state(how, tmp_path, own_mariadb))
        alarms_site = stack.enter_context(site(state))
        server = await stack.enter_async_context(serving_inside(settings_of(built, state, hook)))
        client = await stack.enter_async_context(connected("python", server.url, ["websocket"]))
        await client.call("register", {"store_house_id": built.ids["north"]})
        await client.call("overview")
        built.add("temperature", 41.0)
        await until(lambda: told(hook) == ["Alarm"])
        caplog.clear()

        await asyncio.to_thread(spoil)
        raised = datetime.now(UTC).replace(microsecond=0)
        built.add("temperature", 51.0, raised)
        built.add("far", 99.0, raised)
        await hears(client, unrecorded=True)
        await until(lambda: len(told(hook)) == 3)
        assert sorted(told(hook)[1:]) == ["Alarm (unrecorded)", "Alarm worsened (unrecorded)"]
        code, answer = await readiness(server.url)
        assert (code, answer["recording"], answer["database"]) == (503, False, True)
        assert health.REASONS["recording"] in answer["reasons"]
        if how not in ("full", "no table"):  # then only the table of alarms cannot be written
            await refuses(client, built.ids["north"])
        assert levels(caplog) == ["ERROR"]

        await asyncio.to_thread(mend)
        await hears(client, unrecorded=False)
        assert levels(caplog) == ["ERROR", "WARNING"]
        await until(lambda: sorted(steps(alarms_site).values()) == [["raised"], ["raised", "worsened"]])
        assert raised in [alarm.raised for alarm in kept(alarms_site)]
        built.add("temperature", 5.0)
        await until(lambda: told(hook)[3:] == ["Alarm cleared"])
        arrived = [("cleared", True), ("raised", True), ("raised", True), ("worsened", True)]
        await until(lambda: notices(alarms_site) == arrived)


async def test_a_judge_with_too_much_in_memory_pauses_and_loses_nothing(
    tmp_path: Path,
    own_mariadb: MariaDB,
    hook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(judge_term, "MOST_UNWRITTEN", 4)
    monkeypatch.setattr(judge_loop, "WRITE_BATCH", 3)
    async with AsyncExitStack() as stack:
        built = stack.enter_context(site({"path": str(tmp_path / "site.db")}))
        state, spoil, mend = stack.enter_context(broken_state("sqlite", tmp_path, own_mariadb))
        alarms_site = stack.enter_context(site(state))
        server = await stack.enter_async_context(serving_inside(settings_of(built, state, hook)))
        built.add("temperature", 41.0)
        await until(lambda: told(hook) == ["Alarm"])
        spoil()
        for value in (5.0, 42.0, 6.0, 43.0):
            built.add("temperature", value)
            await until(partial(server.seen.get, value))
        await until(lambda: "the evaluation of the alarm rules pauses" in caplog.text)
        built.add("temperature", 7.0)
        await until(lambda: server.seen[7.0])
        mend()
        await until(lambda: len(steps(alarms_site)["sw-1"]) == 6)
        assert steps(alarms_site) == {"sw-1": ["raised", *["cleared", "reopened"] * 2, "cleared"]}
        assert caplog.text.count("pauses") == 1


async def test_only_the_lease_holder_of_two_processes_notifies(
    tmp_path: Path, own_mariadb: MariaDB, hook: Webhook, serve: Serve
) -> None:
    async with AsyncExitStack() as stack:
        built = stack.enter_context(site({"path": str(tmp_path / "site.db")}))
        state, spoil, mend = stack.enter_context(broken_state("read-only", tmp_path, own_mariadb))
        alarms_site = stack.enter_context(site(state))
        servers = [await stack.enter_async_context(serve(settings_of(built, state, hook))) for _ in range(2)]
        clients = [
            await stack.enter_async_context(connected("python", server.url, ["websocket"])) for server in servers
        ]
        for client in clients:
            await client.call("register", {"store_house_id": built.ids["north"]})
            await client.call("overview")
        built.add("temperature", 41.0)
        await until(lambda: told(hook) == ["Alarm"])
        stack.callback(mend)
        await asyncio.to_thread(spoil)
        built.add("temperature", 51.0)
        for server, client in zip(servers, clients, strict=True):
            await hears(client, unrecorded=True)
            assert (await readiness(server.url))[0] == 503
        await until(lambda: len(told(hook)) > 1)
        await asyncio.to_thread(mend)
        for client in clients:
            await hears(client, unrecorded=False)
        built.add("temperature", 5.0)
        await until(lambda: told(hook)[-1] == "Alarm cleared")
        assert told(hook) == ["Alarm", "Alarm worsened (unrecorded)", "Alarm cleared"]
        assert list(steps(alarms_site).values()) == [["raised", "worsened", "cleared"]]
        logs = [server.log() for server in servers]
        assert [log.count("alarms are not being recorded") for log in logs] == [1, 1]
        assert [log.count("alarms are recorded again") for log in logs] == [1, 1]


@pytest.mark.faults
async def test_a_full_disk_of_sqlite_is_reported_and_survived(tmp_path: Path, hook: Webhook, serve: Serve) -> None:
    path = str(tmp_path / "state.db")
    async with AsyncExitStack() as stack:
        built = stack.enter_context(site({"path": str(tmp_path / "site.db")}))
        alarms_site = stack.enter_context(site({"path": path}))
        server = await stack.enter_async_context(serve(settings_of(built, {"path": path}, hook)))
        client = await stack.enter_async_context(connected("python", server.url, ["websocket"]))
        await client.call("register", {"store_house_id": built.ids["north"]})
        await client.call("overview")
        built.add("temperature", 41.0)
        await until(lambda: told(hook) == ["Alarm"])
        with enlarged_log(path):
            server.limit_files(FILE_LIMIT)
            built.add("temperature", 51.0)
            await hears(client, unrecorded=True)
            await until(lambda: told(hook) == ["Alarm", "Alarm worsened (unrecorded)"])
            await refuses(client, built.ids["north"])
            server.limit_files()
        await hears(client, unrecorded=False)
        built.add("temperature", 5.0)
        await until(lambda: told(hook)[2:] == ["Alarm cleared"])
        assert list(steps(alarms_site).values()) == [["raised", "worsened", "cleared"]]
        assert server.log().count(" ERROR ") == 1


@contextmanager
def enlarged_log(path: str) -> Iterator[None]:
    """Make the write-ahead log of an SQLite file larger than `FILE_LIMIT` during the block."""
    with closing(sqlite3.connect(path, isolation_level=None)) as filling, closing(sqlite3.connect(path)) as reading:
        # An open read transaction keeps SQLite from restarting the log.
        reading.execute("BEGIN")
        reading.execute("SELECT COUNT(*) FROM lease").fetchall()
        filling.execute(f"CREATE TABLE filling AS SELECT zeroblob({2 * FILE_LIMIT}) AS bytes")
        filling.execute("DROP TABLE filling")
        yield


async def refuses(client: Client, north: int) -> None:
    """Check that a user's action is refused, and that the refusal says that nothing was recorded."""
    now = datetime.now(UTC)
    question = {"store_house_id": north, "start": now.isoformat(), "end": (now + timedelta(hours=1)).isoformat()}
    answer = await client.call("saveMaintenance", question | {"reason": "defrost", "by": "Li"})
    assert answer["error"]["code"] == "unavailable"
    assert answer["error"]["params"]["reason"] == "not_recorded"
    assert "nothing was recorded" in answer["error"]["message"]


def notices(built: Site) -> list[tuple[str, bool]]:
    """Return the reason of each notice, and whether it has arrived."""
    with built.database.engine.connect() as connection:
        rows = connection.execute(sa.select(tables.notice.c.what, tables.notice.c.sent))
        return sorted((what, sent is not None) for what, sent in rows)
