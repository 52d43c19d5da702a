"""Clients whose charts take long wait for their turn. They delay nobody else, and get their answers in the end."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa

from db import tables
from db.limits import Limits
from tests.support.clients import Client, connected
from tests.support.credentials import user
from tests.support.services.mariadb import MariaDB
from tests.support.services.private import HOST
from tests.support.serving import Serve
from tests.support.serving_inside import until
from tests.support.signed_in import RULES, Restricted, restricted
from tests.support.sites import Site, site

USERS = [user("greedy"), user("other"), user("third")]
SOON_S = 20.0
PATIENT = Limits(connect=SOON_S, statement=SOON_S, read=SOON_S, answer=SOON_S)
QUESTIONS = 5
"""Number of connections for the short questions of clients."""


@pytest.fixture
def built(mariadb_database: dict[str, Any]) -> Iterator[Site]:
    with site(mariadb_database) as built:
        built.settings = {"database": mariadb_database, "poll_interval": 0.05, "rules": RULES, "rate_burst": 10_000}
        yield built


class Held:
    """Questions that wait in the database until `release` is called, because another connection locks a table."""

    def __init__(self, mariadb: MariaDB, built: Site, table: sa.Table) -> None:
        self._mariadb = mariadb
        self._built = built
        self._lock = pymysql.connect(
            host=HOST, port=mariadb.port, user="root", database=built.database.settings.name, autocommit=True
        )
        self._lock.cursor().execute(f"LOCK TABLES {table.name} WRITE")

    def waiting(self) -> int:
        """Return how many connections wait for the table."""
        statement = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table%%'"
        return int(self._mariadb.execute(statement + " AND db = %s", self._built.database.settings.name)[0][0])

    def release(self) -> None:
        """Let the database answer the questions."""
        self._lock.cursor().execute("UNLOCK TABLES")

    def close(self) -> None:
        """Release the lock."""
        self._lock.close()

    def ask(self, client: Client, number: int) -> list[asyncio.Task[Any]]:
        """Ask for charts over one connection. Return a task for each acknowledgement."""
        now = datetime.now(UTC)
        span = {"start": (now - timedelta(days=366)).isoformat(), "end": now.isoformat()}
        question = {"store_house_id": self._built.ids["north"], **span}
        return [asyncio.create_task(client.call("queryEnvs", question)) for _ in range(number)]


@contextmanager
def held(mariadb: MariaDB, built: Site, table: sa.Table = tables.rollup) -> Iterator[Held]:
    """Lock a table during the block, or until `release` is called. By default, only charts need the table."""
    charts = Held(mariadb, built, table)
    try:
        yield charts
    finally:
        charts.close()


@asynccontextmanager
async def running(built: Site, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Restricted]:
    monkeypatch.setattr("live.poller.LATE_S", SOON_S)  # a machine that pauses must not look like a lost database
    monkeypatch.setattr("app.databases.HEARTBEAT_LIMITS", PATIENT)
    async with restricted(built.settings, USERS, monkeypatch) as server:
        yield server


def positions(client: Client) -> list[int]:
    """Return the positions that the client was told, in order."""
    assert {told["event"] for told in client.received("ask_waiting")} <= {"queryEnvs"}
    return [told["position"] for told in client.received("ask_waiting")]


def is_raised(client: Client) -> bool:
    """Return whether the client was told that an alarm is active."""
    return any(alarm["state"] == "active" for told in client.received("alarms") for alarm in told["alarms"])


async def all_told(client: Client, expected: set[int]) -> None:
    """Wait until the client was told at least these positions."""
    await until(lambda: expected <= set(positions(client)), SOON_S)


async def test_greedy_charts_wait_while_others_get_everything(
    built: Site, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(built, monkeypatch) as server:
        greedy, also_greedy = await server.connect("greedy"), await server.connect("greedy")
        other = await server.connect("other")
        await other.call("register", {"store_house_id": built.ids["north"]})
        with held(mariadb, built) as charts:
            asked = charts.ask(greedy, 8)
            await all_told(greedy, {1, 2, 3, 4, 5, 6})
            asked += charts.ask(also_greedy, 2)
            await all_told(also_greedy, {7, 8})
            (ninth,) = charts.ask(also_greedy, 1)
            refused = (await ninth)["error"]
            assert (refused["code"], refused["params"]) == ("rate_limited", {"reason": "too_many_waiting", "most": 8})

            asked += charts.ask(other, 1)  # the third place is free for another user
            await asyncio.to_thread(built.add, "temperature", 21.0)  # the rule allows 8
            await until(lambda: other.last("envs")["envs"][0]["value"] == 21.0, SOON_S)
            await until(lambda: is_raised(other), SOON_S)
            for event, question in (("orgs", {}), ("querySensors", {"store_house_id": built.ids["north"]})):
                assert (await other.call(event, question))["ok"]
            assert (await other.call("register", {"store_house_id": built.ids["north"], "cursor": 0}))["ok"]
            assert not positions(other)
            assert not any(answer.done() for answer in asked)
            charts.release()
            answers = await asyncio.gather(*asked)
        assert all(answer["ok"] for answer in answers), answers
        assert all(answer["data"]["sensors"] for answer in answers)
        assert not any(told["stale"] for told in other.received("envs"))


@pytest.mark.slow
async def test_slow_questions_take_no_connection_of_the_server(
    built: Site, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(built, monkeypatch) as server:
        greedy, other = [await server.connect("greedy") for _ in range(3)], await server.connect("other")
        await other.call("register", {"store_house_id": built.ids["north"]})
        over = asyncio.Event()
        answered: list[bool] = []

        async def ask(client: Client) -> None:
            while not over.is_set():
                answer = await client.call("queryAlarms", {"store_house_id": built.ids["north"], "data_minute": 60})
                answered.append(answer["ok"])

        with held(mariadb, built, tables.alarm) as alarms:
            repeated = [asyncio.create_task(ask(client)) for client in greedy for _ in range(8)]
            await until(lambda: alarms.waiting() >= QUESTIONS, SOON_S)
            await asyncio.to_thread(built.add, "temperature", 21.0)
            await until(lambda: other.last("envs")["envs"][0]["value"] == 21.0 and is_raised(other), SOON_S)
            assert not any(answered)
            over.set()
            alarms.release()
            await asyncio.gather(*repeated)
        assert not any(told["stale"] for told in other.received("envs"))


async def test_waiting_questions_are_dropped_with_their_connection(
    built: Site, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(built, monkeypatch) as server:
        first, leaving, last = [await server.connect("greedy") for _ in range(3)]
        with held(mariadb, built) as charts:
            asked = charts.ask(first, 3)
            await all_told(first, {1})
            lost = charts.ask(leaving, 2)
            await all_told(leaving, {2, 3})
            asked += charts.ask(last, 1)
            await all_told(last, {4})
            await leaving.close()
            await all_told(last, {2})
            charts.release()
            assert all(answer["ok"] for answer in await asyncio.gather(*asked))
        for answer in lost:
            answer.cancel()


async def test_waiting_questions_end_when_the_role_changes(
    built: Site, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(built, monkeypatch) as server:
        greedy, other = await server.connect("greedy"), await server.connect("other")
        with held(mariadb, built) as charts:
            asked = charts.ask(greedy, 5)
            await all_told(greedy, {1, 2, 3})
            server.obey(user("greedy", "operate"), *USERS[1:])
            await until(lambda: sum(answer.done() for answer in asked) == 3, SOON_S)
            (others,) = charts.ask(other, 1)
            charts.release()
            for answer in await asyncio.gather(*asked):
                assert answer["error"]["params"]["reason"] == "permissions_changed"
            assert (await others)["ok"]


async def test_connections_of_one_address_share_the_lane_without_login(
    built: Site, mariadb: MariaDB, serve: Serve
) -> None:
    async with (
        serve(built.settings) as server,
        connected("python", server.url) as first,
        connected("python", server.url) as second,
    ):
        with held(mariadb, built) as charts:
            asked = charts.ask(first, 2) + charts.ask(second, 1)
            await until(lambda: positions(first) + positions(second) == [1], SOON_S)
            charts.release()
            assert all(answer["ok"] for answer in await asyncio.gather(*asked))
