"""Clients get every transition in the alarm journal exactly once, no matter which process writes the journal."""

import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from ask.answers import Id
from db import tables
from db.database import Database
from db.limits import LEASE_LIMITS
from record import journal, lease
from record.journal import Step
from tests.support.clients import KINDS, Client, Kind, connected
from tests.support.serving import Serve, StorewatchServer
from tests.support.sites import Site, site
from tests.test_site_alarm_changes import ALARM, NOW, but

FAST = {"poll_interval": 0.05, "rate_burst": 10_000}


@pytest.fixture
def built(each_database: dict[str, Any]) -> Iterator[Site]:
    with site(each_database) as site_built:
        site_built.settings = each_database
        yield site_built


@pytest.fixture
async def server(built: Site, serve: Serve) -> AsyncIterator[StorewatchServer]:
    async with serve({"database": built.settings} | FAST) as running:
        yield running


async def register(client: Client, built: Site, cursor: int | None = None) -> dict[str, Any]:
    question = {"store_house_id": built.ids["north"]} | ({} if cursor is None else {"cursor": cursor})
    answer = await client.call("register", question)
    assert answer["ok"], answer
    return dict(answer["data"])


def told(client: Client) -> list[tuple[str, str, bool]]:
    """Return the alarms in all pushes that the client has received so far, in the order of arrival."""
    return [
        (alarm["kind"], alarm["state"], alarm["acknowledged"])
        for message in client.received("alarms")
        for alarm in message["alarms"]
    ]


async def until(client: Client, count: int) -> None:
    while len(told(client)) < count:
        await client.next("alarms")


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_watching_client_gets_each_transition_in_order(
    kind: Kind, built: Site, server: StorewatchServer
) -> None:
    async with connected(kind, server.url) as client:
        before = await register(client, built)
        built.raise_alarm("temperature", now())
        await until(client, 1)
        built.execute("UPDATE alarm SET acknowledged = 1")
        await until(client, 2)
        built.execute("UPDATE alarm SET state = 'cleared', cleared = raised")
        await until(client, 3)
        assert told(client) == [("high", "active", False), ("high", "active", True), ("high", "cleared", True)]
        cursors = [message["cursor"] for message in client.received("alarms")]
        assert cursors == sorted(cursors)
        assert cursors[0] > before["cursor"]


@pytest.mark.slow
async def test_a_returning_client_gets_each_missed_alarm_once(built: Site, server: StorewatchServer) -> None:
    async with connected("python", server.url) as watching, connected("python", server.url) as leaving:
        await register(watching, built)
        await register(leaving, built)
        built.raise_alarm("temperature", now(), kind="low")
        await until(leaving, 1)
        cursor = leaving.received("alarms")[-1]["cursor"]
        await leaving.close()
        for _ in range(3):
            built.raise_alarm("temperature", now())
        await until(watching, 4)
        await server.terminate()
        built.raise_alarm("door", now(), kind="switch")
        server.start()
    async with connected("python", server.url) as back:
        envs = await register(back, built, cursor)
        await until(back, 4)
        assert [kind for kind, _, _ in told(back)] == ["high"] * 3 + ["switch"]
        assert "reset" not in envs
        cursor = back.received("alarms")[-1]["cursor"]
    async with connected("python", server.url) as again:
        await register(again, built, cursor)
        built.execute("UPDATE alarm SET acknowledged = 1 WHERE kind = 'low'")
        await until(again, 1)
        assert told(again)[-1] == ("low", "active", True)
        assert len(again.received("alarms")[-1]["alarms"]) == 1


async def test_missed_alarms_arrive_before_the_answer_to_register(built: Site, server: StorewatchServer) -> None:
    async with connected("node4", server.url) as watching, connected("node4", server.url) as client:
        cursor = (await register(watching, built))["cursor"]
        built.raise_alarm("temperature", now())
        await until(watching, 1)
        envs = await register(client, built, cursor)
        assert len(told(client)) == 1
        assert envs["cursor"] == client.received("alarms")[0]["cursor"]


async def test_an_unknown_cursor_is_answered_with_a_reset(built: Site, server: StorewatchServer) -> None:
    async with connected("python", server.url) as client:
        for cursor in (10**6, -1, 10**30):
            assert (await register(client, built, cursor))["reset"] is True
        assert told(client) == []


async def test_an_alarm_ending_in_the_future_blocks_no_later_alarm(built: Site, server: StorewatchServer) -> None:
    async with connected("python", server.url) as client:
        await register(client, built)
        built.raise_alarm("temperature", now(), now() + timedelta(days=30), kind="low")
        await until(client, 1)
    await server.terminate()
    built.execute("UPDATE alarm_journal SET written = '2026-01-01 00:00:00'")
    server.start()
    async with connected("python", server.url) as client:
        await register(client, built)
        built.raise_alarm("temperature", now())
        await until(client, 1)
        assert told(client) == [("high", "active", False)]


@pytest.mark.slow
async def test_two_processes_write_each_transition_once(built: Site, serve: Serve) -> None:
    settings = {"database": built.settings} | FAST
    async with serve(settings) as one_server, serve(settings) as other_server:
        async with connected("python", one_server.url) as first, connected("python", other_server.url) as second:
            await register(first, built)
            await register(second, built)
            for _ in range(20):
                built.raise_alarm("temperature", now())
            await until(first, 20)
            await until(second, 20)
            assert first.received("alarms")[-1]["cursor"] == second.received("alarms")[-1]["cursor"]
            cursor = first.received("alarms")[-1]["cursor"]
        one_server.kill()
        async with connected("python", other_server.url) as moved:
            await register(moved, built, cursor)
            built.raise_alarm("temperature", now(), kind="rate")
            await until(moved, 1)
            assert told(moved) == [("rate", "active", False)]
    with built.database.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.alarm_journal)) == 21


def test_the_database_refuses_a_second_entry_for_the_same_step(built: Site) -> None:
    engine = built.database.engine
    with engine.begin() as connection:
        journal.add(connection, [Step(1, ALARM)], NOW)
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        journal.add(connection, [Step(1, but(severity="critical"))], NOW)
    with engine.begin() as connection:
        assert journal.last_steps(connection, [1, 2]) == journal.open_steps(connection) == {1: Step(1, ALARM)}


def test_ids_that_differ_in_type_or_case_are_distinct(built: Site) -> None:
    ids: list[Id] = [1, "1", "a", "A"]
    with built.database.engine.begin() as connection:
        for alarm_id in ids:
            journal.add(connection, [Step(1, but(alarm_id=alarm_id))], NOW)
        assert list(journal.open_steps(connection)) == ids
        assert list(journal.last_steps(connection, ["a"])) == ["a"]


def test_a_lease_lasts_until_it_expires_or_is_released(built: Site) -> None:
    engine = built.database.engine

    def hold(holder: str, lasts: timedelta) -> bool:
        with engine.begin() as connection:
            return lease.acquire(connection, "work", holder, lasts) is not None

    assert hold("a", timedelta(minutes=1))
    assert not hold("b", timedelta(minutes=1))
    assert hold("a", timedelta(minutes=-1))
    assert hold("b", timedelta(minutes=1))
    assert not hold("a", timedelta(minutes=1))
    with engine.begin() as connection:
        lease.release(connection, "work", "b")
    assert hold("a", timedelta(minutes=1))


def test_a_frozen_transaction_does_not_block_the_lease_for_long(
    mariadb_database: dict[str, Any],
) -> None:
    with site(mariadb_database) as built:
        froze, other = (Database(built.database.settings, LEASE_LIMITS, 1, writes=True) for _ in range(2))
        with froze.engine.connect() as half_way:
            half_way.begin()
            assert lease.acquire(half_way, "work", "froze") is not None  # it never commits
            end = time.monotonic() + 60  # without a time limit, MariaDB would wait for 8 hours
            while not taken(other):
                assert time.monotonic() < end
            half_way.invalidate()
        froze.close()
        other.close()


def taken(database: Database) -> bool:
    try:
        with database.engine.begin() as connection:
            return lease.acquire(connection, "work", "other") is not None
    except sa.exc.OperationalError:  # the row is locked
        return False


def test_a_lease_that_ends_too_far_ahead_is_ignored(built: Site) -> None:
    """The end of a lease is too far in the future if the database's clock was set back after the lease was acquired."""
    with built.database.engine.begin() as connection:
        assert lease.acquire(connection, "work", "gone") is not None
        assert lease.acquire(connection, "work", "other") is None
        assert lease.acquire(connection, "work", "gone", duration=timedelta(hours=1)) is not None
        assert lease.acquire(connection, "work", "other") is not None
