"""Tests which actions the audit trail records, and when it writes the entries."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

import record.audit
import settings
from access import audit_writer, passwords
from access.audit_writer import AuditWriter
from access.commands.audit import verify
from alarms import __main__ as alarms_command
from ask.audit import Sealed
from db.database import Database
from db.limits import BATCH_LIMITS, LEASE_LIMITS, Limits
from db.migrate import migrate
from errors import Unavailable
from record.audit import Entry
from tests.support import credentials
from tests.support.audited import NOW, entries, write
from tests.support.clients import Client, ConnectRefused, connected
from tests.support.services.mariadb import MariaDB
from tests.support.serving import Serve, StorewatchServer, with_defaults
from tests.support.serving_inside import serving_inside, until
from tests.support.sites import Site, site

RULES: list[dict[str, Any]] = [{"scope": {"metric": "temperature"}, "high": 5}]
OTHER_RULES: list[dict[str, Any]] = [{"scope": {"metric": "temperature"}, "high": 6.0}]
PERSON = "李 Li"
HERE = "127.0.0.1"


@pytest.fixture
def north(each_database: dict[str, Any]) -> Iterator[Site]:
    with site(each_database) as built:
        built.settings = {"database": each_database, "poll_interval": 0.1, "rules": RULES, "rate_burst": 1000}
        yield built


def written(database: Database) -> list[Sealed]:
    """Return all audit entries except those about changes of the access policy."""
    with database.engine.connect() as connection:
        verify(connection)
        return [entry for entry in entries(connection) if entry.action != "access_changed"]


def content(entry: Sealed) -> tuple[Any, Any]:
    """Return two values: the states before and after the action that the audit entry records."""
    before, after = (None if text is None else json.loads(text) for text in (entry.before, entry.after))
    return before, after


async def raised(client: Client, built: Site) -> str:
    """Raise an alarm in the storehouse `north`. Return the id of the alarm."""
    assert (await client.call("register", {"store_house_id": built.ids["north"]}))["ok"]
    built.add("temperature", 7.0)
    alarms = (await client.next("alarms"))["alarms"]
    return str(alarms[-1]["alarm_id"])


@pytest.mark.slow
async def test_alarm_actions_are_audited_with_before_and_after(north: Site, serve: Serve) -> None:
    here = {"store_house_id": north.ids["north"]}
    span = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    async with serve(north.settings) as server, connected("python", server.url) as client:
        alarm_id = await raised(client, north)
        for event, question in (
            # This spelling of the id is unusual. The entry must have the usual spelling.
            ("ackAlarm", {"alarm_id": alarm_id.replace("-", "-0"), "comment": "seen"}),
            ("ackAlarm", {"alarm_id": alarm_id, "comment": "again"}),
            ("closeAlarm", {"alarm_id": alarm_id, "reason": "removed"}),
            ("closeAlarm", {"alarm_id": alarm_id, "reason": "again"}),
            ("saveRules", {"rules": OTHER_RULES}),
            ("saveMaintenance", {"reason": "defrosting", **here, **span}),
        ):
            answer = await client.call(event, question | {"by": PERSON})
            assert answer["ok"], answer
    acknowledged, closed, rules, maintenance = stored = written(north.database)
    assert [(entry.action, entry.who, entry.address, entry.subject) for entry in stored] == [
        ("acknowledged", PERSON, HERE, alarm_id),
        ("closed", PERSON, HERE, alarm_id),
        ("rules_saved", PERSON, HERE, ""),
        ("maintenance_saved", PERSON, HERE, str(north.ids["north"])),
    ]
    before, after = content(acknowledged)
    assert (before["acknowledged"], after["acknowledged"], after["comment"]) == (False, True, "seen")
    before, after = content(closed)
    assert (before["state"], after["state"], after["reason"]) == ("active", "cleared", "removed")
    assert content(rules) == (RULES, OTHER_RULES)
    before, after = content(maintenance)
    assert (before, after["reason"], after["start"]) == (None, "defrosting", span["start"])


async def test_a_refused_action_is_not_audited(north: Site, serve: Serve) -> None:
    async with serve(north.settings) as server, connected("python", server.url) as client:
        alarm_id = await raised(client, north)
        for event, question in (
            ("ackAlarm", {"alarm_id": alarm_id}),
            ("ackAlarm", {"alarm_id": "sw-999", "by": PERSON}),
            ("saveRules", {"rules": [{"high": "no number"}], "by": PERSON}),
        ):
            assert not (await client.call(event, question))["ok"]
    assert written(north.database) == []


async def test_an_action_fails_if_its_entry_cannot_be_written(north: Site) -> None:
    async with serving_inside(north.settings) as inside, connected("python", inside.url) as client:
        alarm_id = await raised(client, north)
        north.execute("ALTER TABLE audit RENAME TO hidden")
        for event, question in (
            ("ackAlarm", {"alarm_id": alarm_id}),
            ("closeAlarm", {"alarm_id": alarm_id, "reason": "removed"}),
            ("saveRules", {"rules": OTHER_RULES}),
        ):
            assert (await client.call(event, question | {"by": PERSON}))["error"]["code"] in ("internal", "unavailable")
        answer = await client.call("queryAlarms", {"store_house_id": north.ids["north"], "data_minute": 60})
        assert [(alarm["state"], alarm["acknowledged"]) for alarm in answer["data"]] == [("active", False)]
        assert (await client.call("queryRules"))["data"]["rules"] == RULES


@pytest.fixture
def snapshot_isolation(mariadb: MariaDB) -> Iterator[None]:
    """Make MariaDB refuse to lock a row that has changed since the transaction's first read.

    MariaDB does so by default from version 11.6 on.
    """
    mariadb.execute("SET GLOBAL innodb_snapshot_isolation = ON")
    yield
    mariadb.execute("SET GLOBAL innodb_snapshot_isolation = OFF")


async def test_two_busy_processes_keep_one_chain(north: Site, serve: Serve, request: pytest.FixtureRequest) -> None:
    pause = 0.3  # SQLite has no queue for writers: a writer without a pause would lock out all others
    if north.settings["database"].get("kind") == "mysql":
        request.getfixturevalue("snapshot_isolation")
        pause = 0.001

    async def save(server: StorewatchServer, who: str) -> None:
        async with connected("python", server.url) as client:
            for number in range(8):
                rules = [{"scope": {"metric": "temperature"}, "high": number + 1}]
                answer = await client.call("saveRules", {"rules": rules, "by": who})
                assert answer["ok"], answer

    saved = threading.Event()

    def write_logins() -> None:
        while not saved.is_set():
            write(north.database.engine, [login(1)])
            time.sleep(pause)

    async with serve(north.settings) as first, serve(north.settings) as second:
        north.add("temperature", 9.0)  # makes the judge write too
        coming = asyncio.create_task(asyncio.to_thread(write_logins))
        try:
            await asyncio.gather(*(save(server, who) for who, server in zip("abcd", (first, second) * 2, strict=True)))
        finally:
            saved.set()
            await coming
    saves = [entry for entry in written(north.database) if entry.action == "rules_saved"]
    assert len(saves) == 4 * 8
    for before, after in pairwise(saves):
        assert content(after)[0] == content(before)[1]  # each save replaces the rules of the previous save


@pytest.mark.slow
async def test_several_processes_audit_a_policy_change_once(north: Site, serve: Serve) -> None:
    def changes() -> list[tuple[Any, Any]]:
        with north.database.engine.connect() as connection:
            return [content(entry) for entry in entries(connection) if entry.action == "access_changed"]

    user = {"name": "li", "password_hash": passwords.hash_password("a long secret"), "role": "watch"}
    users = {"access": {"users": [user], "session": {"secret": "s" * 32}}}
    async with serve(north.settings), serve(north.settings):
        pass
    async with serve(north.settings | users):
        pass
    open_policy = {"open": True}
    (first, (before, after)) = changes()
    assert (first, before) == ((None, open_policy), open_policy)
    assert [user["name"] for user in after["users"]] == ["li"]


@pytest.mark.slow
async def test_access_decisions_are_audited_with_the_authenticated_user(north: Site, serve: Serve) -> None:
    restricted = north.settings | {"access": credentials.access(credentials.user(PERSON, "configure"))}
    shown = credentials.token(PERSON, role="configure", jti="7")
    async with serve(restricted) as server:
        with pytest.raises(ConnectRefused):
            async with connected("python", server.url):
                pass
        watcher = credentials.token("watcher", role="watch")
        async with connected("python", server.url, auth={"token": watcher}) as client:
            assert not (await client.call("saveRules", {"rules": OTHER_RULES, "by": PERSON}))["ok"]
        async with connected("python", server.url, auth={"token": shown}) as client:
            assert (await client.call("saveRules", {"rules": OTHER_RULES, "by": "somebody else"}))["ok"]
            revoking = restricted | {"access": restricted["access"] | {"revoked": ["7"]}}
            server.config.write_text(yaml.safe_dump(with_defaults(revoking)))
            await client.next("ended")
        await until(lambda: has(north.database, 4))
    # Entries from the queue are written later than others.
    by_time = sorted(written(north.database), key=lambda entry: entry.time)
    assert [(entry.action, entry.who, entry.address, entry.subject) for entry in by_time] == [
        ("connect_refused", "", HERE, "unauthorized"),
        ("refused", "watcher", HERE, "saveRules"),
        ("rules_saved", PERSON, HERE, ""),
        ("ended", PERSON, HERE, "revoked"),
    ]


async def test_repeated_rate_limit_closures_are_audited_as_a_count(
    north: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_writer, "STOPPING_S", 60.0)
    async with serving_inside(north.settings | {"rate_burst": 1, "rate_limit": 0.1}) as server:
        for _ in range(5):
            async with connected("python", server.url) as client:
                for _ in range(3):
                    await client.emit("whoami")
                await client.next("ended")
    stored = [(entry.action, entry.address, entry.subject, content(entry)[1]) for entry in written(north.database)]
    first = "ended", HERE, "rate_limited"
    assert stored == [(*first, None), (*first, {"count": 4, "last": None})]


async def test_a_test_alarm_is_audited_with_its_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with site({"path": str(tmp_path / "site.db")}) as built:
        config = tmp_path / "settings.yaml"
        config.write_text(f"access: open\ndatabase: {{path: {tmp_path / 'site.db'}}}\n")
        test_alarm = asyncio.to_thread(
            alarms_command.main, ["drill", "--config", str(config), "--store-house", "一号库"]
        )
        running = asyncio.create_task(test_alarm)
        await until(lambda: written(built.database))
        built.execute("DELETE FROM drill")  # otherwise the command waits for a server
        with suppress(Exception):
            await running
        (entry,) = written(built.database)
    assert (entry.action, entry.subject, bool(entry.who)) == ("drill_asked", str(built.ids["north"]), True)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Database]:
    where = settings.Database(path=str(tmp_path / "state.db"))
    migrate(where)
    database = Database(where, LEASE_LIMITS, 3, writes=True)
    yield database
    database.close()


class Elapsed:
    """A clock of elapsed seconds that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def running(writer: AuditWriter) -> AsyncIterator[None]:
    """Run the writer during a block. At the end of the block, the writer writes the remaining entries."""
    task = asyncio.create_task(writer.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def login(number: int) -> Entry:
    return Entry("login", f"user {number}", "192.0.2.7")


def subjects(database: Database) -> list[str]:
    return [entry.who for entry in written(database)]


def users(*numbers: int) -> list[str]:
    return [f"user {number}" for number in numbers]


async def test_a_required_entry_is_written_or_raises_unavailable(state: Database) -> None:
    def append(connection: sa.Connection, number: int) -> None:
        with connection.begin():
            record.audit.append(connection, login(number), NOW)

    await state.run(partial(append, number=1))
    state.answering = False
    with pytest.raises(Unavailable):
        await state.run(partial(append, number=2))
    assert subjects(state) == users(1)


async def test_entries_queued_during_an_outage_are_written_afterwards(
    state: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_writer, "WRITE_INTERVAL_S", 0.01)
    monkeypatch.setattr(audit_writer, "BATCH_SIZE", 7)
    writer = AuditWriter(state, lambda: NOW)
    state.answering = False
    async with running(writer):
        for number in range(20):
            writer.enqueue(login(number))
        await asyncio.sleep(0.05)
        assert subjects(state) == []
        state.answering = True
        await until(lambda: len(subjects(state)) == 20)
    assert subjects(state) == users(*range(20))


async def test_the_last_entries_are_written_before_the_server_stops(state: Database) -> None:
    writer = AuditWriter(state, lambda: NOW)
    async with running(writer):
        writer.enqueue(login(1))
    assert subjects(state) == users(1)


async def test_entries_over_the_queue_limit_are_counted_as_lost(
    state: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_writer, "MAX_PENDING", 3)
    writer = AuditWriter(state, lambda: NOW)
    for number in range(5):
        writer.enqueue(login(number))
    async with running(writer):
        await until(lambda: len(written(state)) == 4)
    assert subjects(state) == [*users(0, 1, 2), ""]
    assert (written(state)[-1].action, content(written(state)[-1])) == ("lost", (None, {"count": 2}))


def has(state: Database, many: int) -> bool:
    return len(written(state)) >= many


def refused(address: str) -> Entry:
    return Entry("connect_refused", "", address, after={"code": "expired"})


async def test_a_flood_from_one_address_is_counted_each_minute(
    state: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_writer, "WRITE_INTERVAL_S", 0.01)
    elapsed = Elapsed()
    writer = AuditWriter(state, lambda: NOW, elapsed)
    async with running(writer):
        for minute, so_far in ((1, 3), (2, 5)):
            for number in range(1000):
                writer.enqueue_counted(refused("192.0.2.7"))
                if number % 250 == 0:
                    await asyncio.sleep(0.03)  # time for some writes
            writer.enqueue_counted(refused("192.0.2.8"))
            elapsed.now = minute * audit_writer.COUNTED_S
            await until(partial(has, state, so_far))
    stored = [(entry.address, content(entry)[1]) for entry in written(state)]
    first, again = {"code": "expired"}, {"code": "expired"}
    assert stored == [
        ("192.0.2.7", first),
        ("192.0.2.8", first),
        ("192.0.2.7", {"count": 999, "last": again}),
        ("192.0.2.8", first),
        ("192.0.2.7", {"count": 1000, "last": again}),
    ]


async def test_entries_of_each_user_are_counted_separately(state: Database) -> None:
    writer = AuditWriter(state, lambda: NOW, Elapsed())
    async with running(writer):
        for who, event in (("anna", "ackAlarm"), ("bert", "saveRules"), ("anna", "closeAlarm")):
            writer.enqueue_counted(Entry("refused", who, HERE, event), per_user=True)
    stored = [(entry.who, entry.subject, (content(entry)[1] or {}).get("count")) for entry in written(state)]
    assert stored == [("anna", "ackAlarm", None), ("bert", "saveRules", None), ("anna", "closeAlarm", 1)]


async def test_a_flood_from_many_addresses_writes_few_entries(state: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_writer, "MAX_COUNTED", 3)
    writer = AuditWriter(state, lambda: NOW, Elapsed())
    async with running(writer):
        for number in range(300):
            writer.enqueue_counted(refused(f"192.0.2.{number % 250}"))
    stored = [(entry.address, (content(entry)[1] or {}).get("count")) for entry in written(state)]
    assert [address for address, count in stored if count is None] == ["192.0.2.0", "192.0.2.1", "192.0.2.2", ""]
    assert dict(stored)[""] == 293
    assert sum(count or 1 for _, count in stored) == 300


async def test_addresses_of_one_ipv6_network_are_counted_together(state: Database) -> None:
    writer = AuditWriter(state, lambda: NOW, Elapsed())
    async with running(writer):
        for number in range(30):
            writer.enqueue_counted(refused(f"2001:db8::{number:x}"))
        writer.enqueue_counted(refused("2001:db8:0:1::"))
    stored = [(entry.address, (content(entry)[1] or {}).get("count")) for entry in written(state)]
    assert stored == [("2001:db8::0", None), ("2001:db8:0:1::", None), ("2001:db8::1d", 29)]


async def test_an_abandoned_attempt_does_not_write_an_entry_twice(tmp_path: Path) -> None:
    where = settings.Database(path=str(tmp_path / "state.db"))
    migrate(where)
    holder = Database(where, BATCH_LIMITS, 1, writes=True)
    impatient = Database(where, Limits(statement=60.0, answer=0.05), 3, writes=True)
    writer = AuditWriter(impatient, lambda: datetime.now(UTC))
    with holder.engine.begin() as connection:  # blocks every other writer
        connection.execute(sa.select(1))
        async with running(writer):
            writer.enqueue(login(1))
            await asyncio.sleep(0.2)
    # The abandoned attempts still run in their threads, and can write now.
    impatient.close()
    for thread in threading.enumerate():
        if thread.name.startswith("database"):
            await asyncio.to_thread(thread.join)
    assert subjects(holder) == users(1)
    holder.close()
