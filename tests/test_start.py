"""The server starts without a database or Redis, and recovers by itself. Wrong settings end it at the start."""

import asyncio
import json
import socket
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pymysql
import pytest
import sqlalchemy as sa
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

import app.preparation
from alarm_service import judge_snapshots, recording
from alarms import outages
from app.preparation import RETRY_S
from db.dialects import DIALECTS
from live import site_snapshot
from tests.support import marks
from tests.support.cable import Cable
from tests.support.clients import Client, connected
from tests.support.fault_results import RecordResult
from tests.support.services.mariadb import MariaDB
from tests.support.services.private import HOST, free_port
from tests.support.services.process import DidNotStart
from tests.support.services.redis import Redis
from tests.support.serving import ForkedServer, Serve, StorewatchServer, serving
from tests.support.serving_inside import CHECK_S, SOON, serving_inside, until
from tests.support.sites import Site, site
from tests.support.webhook import webhook

FAST = {"poll_interval": 0.05}
ASK_S = 0.2  # seconds between two questions, so that the server does not refuse them because there are too many
STOPPED_S = 5.0
PAGE_S = 3.0
AWAY_S = 60.0
CURRENT_S = 5.0
RULES: list[dict[str, Any]] = [{"scope": {"metric": "temperature"}, "high": 8}]
BY_TIME = {"reading": {"sql": "SELECT sensor_id, time, value FROM reading"}}
"""A mapping without ids of readings, so that the server reads new readings by their time."""


@pytest.fixture
def north(mariadb_database: dict[str, Any]) -> Iterator[Site]:
    with site(mariadb_database) as built:
        yield built


@pytest.fixture
def our_site(tmp_path: Path) -> Iterator[Site]:
    """A site in its own SQLite file."""
    with site({"path": str(tmp_path / "site.db")}) as built:
        yield built


async def readiness(url: str) -> tuple[int, dict[str, Any]]:
    answer = await AsyncHTTPClient().fetch(f"{url}readyz", raise_error=False)
    return answer.code, json.loads(answer.body)


async def reasons(url: str) -> list[str]:
    code, answer = await readiness(url)
    assert (code == 503) is bool(answer["reasons"])
    return list(answer["reasons"])


async def waits_until(condition: Callable[[list[str]], object], url: str) -> list[str]:
    """Wait until the reasons in `/readyz` satisfy the condition, and return them."""
    async with asyncio.timeout(SOON):
        while True:
            problems = await reasons(url)
            if condition(problems):
                return problems
            await asyncio.sleep(CHECK_S)


async def code(client: Client, event: str, *payload: Any) -> str | None:
    answer = await client.call(event, *payload)
    return None if answer["ok"] else str(answer["error"]["code"])


async def current(client: Client, store_house_id: int) -> None:
    """Wait until the client can watch the storehouse, and until it has received an `envs` that is not stale."""
    async with asyncio.timeout(SOON):
        while True:
            refused = await code(client, "register", {"store_house_id": store_house_id})
            if refused is None:
                break
            assert refused == "unavailable"
            await asyncio.sleep(ASK_S)
        while (await client.next("envs"))["stale"]:
            pass


@asynccontextmanager
async def away(database: dict[str, Any]) -> AsyncIterator[tuple[dict[str, Any], Cable]]:
    """Yield the settings of a database behind a cable that is cut, and the cable."""
    cable = Cable(database["port"])
    async with cable.laid() as url:
        cable.cut()
        yield database | {"port": int(url.rstrip("/").rpartition(":")[2])}, cable


def refused() -> dict[str, Any]:
    return {"host": HOST, "port": free_port()}


@pytest.fixture
def silent() -> Iterator[dict[str, Any]]:
    """The address of a server that accepts connections and never answers."""
    with socket.create_server((HOST, 0), backlog=64) as listening:
        yield {"host": HOST, "port": listening.getsockname()[1]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tables", "kind"),
    [
        ("own tables", "refused"),
        ("site's tables", "refused"),
        ("own tables", "silent"),
        ("site's tables", "unresolved"),
    ],
)
async def test_a_server_starts_and_stops_without_its_database(
    tables: str, kind: str, serve: Serve, silent: dict[str, Any]
) -> None:
    addresses = {"refused": refused(), "silent": silent, "unresolved": {"host": "no.such.invalid"}}
    database = {"kind": "mysql", "user": "reader", "name": "plant"} | addresses[kind]
    mapping: dict[str, Any] = {"map": {}} if tables == "site's tables" else {}
    async with serve({"database": database | mapping}) as server, connected("python", server.url) as client:
        assert (await AsyncHTTPClient().fetch(server.url)).code == 200
        status, answer = await readiness(server.url)
        assert (status, answer["prepared"]) == (503, False)
        assert answer["reasons"][0].startswith("the server waits for the ")
        for event, payload in (("orgs", None), ("overview", None), ("register", {"store_house_id": 1})):
            assert await code(client, event, payload) == "unavailable"
        assert await code(client, "whoami") is None
        assert await asyncio.wait_for(server.terminate(), STOPPED_S) == 0
        assert "Traceback" not in server.log()


@pytest.mark.slow
@pytest.mark.parametrize("mapping", [None, BY_TIME], ids=["by id", "by time"])
async def test_readings_before_the_first_poll_are_judged_and_pushed(
    mapping: dict[str, Any] | None, mariadb_database: dict[str, Any], north: Site, tmp_path: Path
) -> None:
    async with away(mariadb_database | ({"map": mapping} if mapping else {})) as (database, cable):
        told = {"database": database, "state": {"path": str(tmp_path / "state.db")}, "rules": RULES} | FAST
        async with serving_inside(told) as inside, connected("python", inside.url) as client:
            assert await code(client, "orgs") == "unavailable"
            for value in (9.0, 5.0):
                north.add("temperature", value)
                await asyncio.sleep(0.01)  # two readings at the same millisecond have no order
            cable.mend()
            await current(client, north.ids["north"])
            transitions = {
                alarm["transition"] for alarm in await alarms(client, north.ids["north"]) if alarm["peak"] == 9.0
            }
            assert transitions == {"cleared"}
            assert {value for value in inside.seen if value != 3.5} <= {9.0, 5.0, 4.5}
            await until(lambda: not client.received("envs")[-1]["stale"])


async def alarms(client: Client, store_house_id: int) -> list[dict[str, Any]]:
    """Wait until the storehouse has a cleared alarm, and return its alarms."""
    question = {"store_house_id": store_house_id, "data_minute": 60}
    async with asyncio.timeout(SOON):
        while True:
            answer = await client.call("queryAlarms", question)
            if answer["ok"] and any(alarm["cleared"] for alarm in answer["data"]):
                return list(answer["data"])
            await asyncio.sleep(ASK_S)


@pytest.mark.slow
@pytest.mark.parametrize("state", ["of its own", "in the same database"])
async def test_a_database_that_is_away_at_the_start_is_notified(
    state: str, mariadb_database: dict[str, Any], north: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "START_OUTAGE_AFTER_S", 0.5)
    monkeypatch.setattr(recording, "LIMIT_S", 1.0)
    is_recorded = state == "of its own"
    with webhook() as hook:
        tiers = {"tiers": [[{"name": "duty", "url": hook.url}]]}
        notify = {"language": "en", "group_wait": "0.1s", "group_interval": "0.1s"} | tiers
        if not is_recorded:  # a process that was killed held the lease
            hour = "UTC_TIMESTAMP(3) - INTERVAL 1 HOUR"
            north.execute(
                "INSERT INTO lease (lease_name, holder, expires, begun, done, term)"
                f" VALUES ('alarm journal', 'killed', {hour}, {hour} - INTERVAL 1 HOUR, {hour}, 1)"
            )
        told = {"notify": notify} | FAST | ({"state": {"path": str(tmp_path / "state.db")}} if is_recorded else {})
        async with away(mariadb_database) as (database, cable), serving_inside({"database": database} | told) as inside:
            await until(lambda: len(hook.messages) == 1)
            assert "database" in hook.texts[0]
            assert ("Not recorded" in hook.texts[0]) is (not is_recorded)
            cable.mend()
            await until(lambda: len(hook.messages) == 2)
            await waits_until(lambda problems: not problems, inside.url)
            north.add("temperature", 6.25)
            await until(lambda: inside.seen[6.25] == 1)
            assert len(hook.messages) == 2
            assert [line.partition(":")[0] for line in hook.texts[1].splitlines()[1:]] == ["Alarm cleared"]


@pytest.mark.slow
async def test_the_last_known_state_is_shown_while_the_database_is_away(
    mariadb_database: dict[str, Any], north: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_snapshot, "SAVE_S", 0.1)
    told = {"state": {"path": str(tmp_path / "state.db")}} | FAST
    question = {"store_house_id": north.ids["north"]}
    north.execute("DELETE FROM reading")
    north.add("temperature", 4.5, datetime.now(UTC) - timedelta(seconds=200))
    async with serving_inside({"database": mariadb_database} | told) as inside:
        await until(lambda: site_parts(tmp_path / "state.db"))
        before = inside.server.services.storehouse_feed.envs(north.ids["north"])
    async with (
        away(mariadb_database) as (database, cable),
        serving_inside({"database": database} | told) as inside,
        connected("python", inside.url) as client,
    ):
        overview = (await client.call("overview"))["data"]
        assert overview["stale"]
        names = {each["store_house_name"] for each in overview["organisations"][0]["storehouses"]}
        assert names == {"一号库", "South"}
        shown = (await client.call("register", question))["data"]
        assert shown["stale"]
        assert shown["envs"] == json.loads(msgspec.json.encode(before.envs))
        # The poller does not deliver this reading, because its time is long before the start.
        north.add("far", 7.0, datetime.now(UTC) - timedelta(seconds=100))
        north.add("temperature", 6.0)
        cable.mend()
        await current(client, north.ids["north"])
        assert client.received("envs")[-1]["envs"][0]["value"] == 6.0
        south = (await client.call("register", {"store_house_id": north.ids["south"]}))["data"]
        assert south["envs"][0]["value"] == 7.0


def site_parts(path: Path) -> list[bytes]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT content FROM judge_snapshot WHERE snapshot_key = 'site'").fetchall()


@pytest.mark.slow
async def test_readings_are_shown_while_the_state_database_is_away(
    mariadb_database: dict[str, Any], our_site: Site, serve: Serve
) -> None:
    async with away(mariadb_database) as (state, cable):
        where = {"path": our_site.database.settings.path}
        async with (
            serve({"database": where, "state": state, "rules": RULES} | FAST) as server,
            connected("python", server.url) as client,
        ):
            await current(client, our_site.ids["north"])
            assert (await reasons(server.url))[0].startswith("the server waits for the database `state`;")
            question = {"store_house_id": our_site.ids["north"], "data_minute": 60}
            assert await code(client, "queryAlarms", question) == "unavailable"
            registered = await client.call("register", {"store_house_id": our_site.ids["north"], "cursor": 7})
            assert registered["data"]["reset"]
            our_site.add("temperature", 9.0)
            await until(lambda: client.received("envs")[-1]["envs"][0]["value"] == 9.0)
            cable.mend()
            assert (await client.next("alarms"))["alarms"][0]["peak"] == 9.0
            await waits_until(lambda problems: not problems, server.url)


@pytest.mark.slow
async def test_wrong_settings_that_are_found_later_do_not_end_the_server(
    mariadb: MariaDB, mariadb_database: dict[str, Any], north: Site, serve: Serve
) -> None:
    account = f"late_{uuid.uuid4().hex}"[:32]
    async with (
        away(mariadb_database | {"user": account, "password": "right"}) as (database, cable),
        serve({"database": database} | FAST) as server,
        connected("python", server.url) as client,
    ):
        cable.mend()
        await waits_until(lambda problems: problems[0].startswith("the server cannot use the database;"), server.url)
        await asyncio.sleep(2 * RETRY_S)  # some more attempts, to detect repeated log lines
        assert server.log().count("the server cannot use the database: database: cannot open mysql") == 1
        assert server.log().count("cannot use the database mysql") == 1
        mariadb.execute(f"CREATE USER {account}@'{HOST}' IDENTIFIED BY 'right'")
        mariadb.execute(f"GRANT ALL ON `{mariadb_database['name']}`.* TO {account}@'{HOST}'")
        await current(client, north.ids["north"])
        await waits_until(lambda problems: not problems, server.url)


@pytest.mark.services
@pytest.mark.slow
def test_wrong_passwords_end_the_server_with_one_line(mariadb: MariaDB, tmp_path: Path) -> None:
    with Redis() as redis:
        wrong_redis = redis.settings() | {"password": "wrong"}
        for told, line in (
            ({"redis": wrong_redis}, "redis: redis "),
            ({"redis": wrong_redis | {"password": ""}}, "redis: redis "),
            ({"state": mariadb.settings("any") | {"password": "wrong"}}, "database: cannot open mysql "),
        ):
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            with pytest.raises(DidNotStart) as ended:
                ForkedServer(folder, {"database": {"path": str(tmp_path / "own.db")}} | told).start()
            assert ended.value.exit_code == 2
            (written,) = ended.value.log.splitlines()
            assert written.startswith(f"storewatch: {line}")


def raised(number: int | str, text: str = "") -> sa.exc.DBAPIError:
    return sa.exc.OperationalError("", None, pymysql.err.OperationalError(number, text))


UNREACHABLE = (2003, 2005, 2013, 2006, 1040, 1203, 1053, 1205, 1213, 1969, 3024, 1290, 0, "Packet sequence wrong")
WRONG = (1045, 1044, 1049, 1142, 1143, 1054, 1146, 1064, 1130, 1227, 1698)


@pytest.mark.parametrize("number", [*UNREACHABLE, *WRONG])
def test_mysql_tells_an_outage_from_a_wrong_setting(number: int | str) -> None:
    assert DIALECTS["mysql"].is_unreachable(raised(number)) is (number in UNREACHABLE)


@pytest.mark.slow
@pytest.mark.parametrize("tables", ["own tables", "site's tables"])
async def test_a_locked_file_does_not_keep_the_port_closed(
    tables: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.preparation, "FIRST_ATTEMPT_S", 0.5)
    database: dict[str, Any] = {"path": str(tmp_path / "site.db")}
    with site(database) as built:
        store_house_id = built.ids["north"]
    with closing(sqlite3.connect(tmp_path / "site.db", isolation_level=None)) as writer:
        if tables == "site's tables":
            database["map"] = {}
            writer.execute("PRAGMA journal_mode=DELETE")  # in WAL mode, no lock blocks readers
        writer.execute("BEGIN EXCLUSIVE")
        told = {"database": database, "state": {"path": str(tmp_path / "state.db")}} | FAST
        async with serving_inside(told) as inside, connected("python", inside.url) as client:
            assert await code(client, "orgs") == "unavailable"
            assert await reasons(inside.url) != []
            writer.execute("ROLLBACK")
            await current(client, store_house_id)


@pytest.mark.faults
async def test_an_outage_at_the_start_is_no_time_without_data(
    mariadb_database: dict[str, Any], north: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge_snapshots, "SNAPSHOT_S", 0.1)
    rules = [{"scope": {"sensor_name": "温度 1"}, "no_data": "60s"}, {"scope": {"sensor_name": "Far"}, "high": 8}]
    told = {"state": {"path": str(tmp_path / "state.db")}, "rules": rules} | FAST
    due = datetime.now(UTC) + timedelta(seconds=6)
    north.execute("DELETE FROM reading")
    north.add("temperature", 4.0, due - timedelta(seconds=60))
    async with serving_inside({"database": mariadb_database} | told):
        await until(lambda: heads(tmp_path / "state.db"))
    assert datetime.now(UTC) < due, "the machine is too slow for this test"
    async with (
        away(mariadb_database) as (database, cable),
        serving_inside({"database": database} | told) as inside,
        connected("python", inside.url) as client,
    ):
        await until(lambda: datetime.now(UTC) > due + timedelta(seconds=1))
        cable.mend()
        await waits_until(lambda problems: not problems, inside.url)
        north.add("far", 9.0)
        north.add("far", 5.0)
        await alarms(client, north.ids["south"])
        answer = await client.call("queryAlarms", {"store_house_id": north.ids["north"], "data_minute": 60})
        assert [alarm["kind"] for alarm in answer["data"]] == []


def heads(path: Path) -> list[bytes]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT content FROM judge_snapshot WHERE part = 0").fetchall()


@pytest.fixture
def stopped_mariadb() -> Iterator[MariaDB]:
    """A MariaDB server with the database `site`, which the test may start."""
    with MariaDB() as server:
        server.create_database("site")
        with site(server.settings("site")):
            server.stop()
            yield server


@pytest.mark.services
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=marks.TIMED_FAULTS) for kind in ("refused", "silent")])
async def test_a_database_away_for_a_minute_is_told_and_returns(
    kind: str, stopped_mariadb: MariaDB, tmp_path: Path, record_result: RecordResult
) -> None:
    """The silent server is a MariaDB that is frozen."""
    if kind == "silent":
        await asyncio.to_thread(stopped_mariadb.start)
        stopped_mariadb.freeze()
    with webhook() as hook:
        tiers = [[{"name": "duty", "url": hook.url}]]
        told = {"state": {"path": str(tmp_path / "state.db")}, "notify": {"language": "en", "tiers": tiers}}
        server = StorewatchServer(tmp_path, {"database": stopped_mariadb.settings("site")} | told)
        server.port = free_port()
        began = time.monotonic()
        page = asyncio.create_task(first_page(server))
        async with serving(server), connected("python", server.url) as client:
            page_s = await page - began
            await until(lambda: hook.messages, AWAY_S - (time.monotonic() - began))
            notified_s = time.monotonic() - began
            await asyncio.sleep(max(0.0, AWAY_S - (time.monotonic() - began)))
            if kind == "silent":
                stopped_mariadb.thaw()
            else:
                await asyncio.to_thread(stopped_mariadb.start)
            arrived = time.monotonic()
            await current(client, 1)
            current_s = time.monotonic() - arrived
            await waits_until(lambda problems: not problems, server.url)
    record_result(f"database {kind} at the start", page_s=page_s, notified_s=notified_s, current_s=current_s)
    assert page_s <= PAGE_S
    assert current_s <= CURRENT_S


async def first_page(server: StorewatchServer) -> float:
    """Return the time at which the server first sends the page."""
    while True:
        try:
            await AsyncHTTPClient().fetch(f"http://{HOST}:{server.port}/", request_timeout=1.0)
        except (OSError, HTTPClientError):
            await asyncio.sleep(0.02)
        else:
            return time.monotonic()
