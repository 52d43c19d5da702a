"""Connections that a new connection should replace, and the log of an outage."""

import asyncio
import logging
import re
import uuid
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

import settings
from db.condition import QUIET_S, Condition
from db.database import Database
from db.dialects import DIALECTS
from db.failures import Failure
from errors import Unavailable
from tests.support import planted
from tests.support.clients import Client, connected
from tests.support.services.mariadb import MariaDB
from tests.support.services.private import HOST
from tests.support.serving import Serve
from tests.support.serving_inside import until
from tests.support.sites import Site, site

PASSWORD = planted.secret("account")

EXPIRED = re.compile("must be changed|SET PASSWORD")
"""What MariaDB and MySQL say about an expired password."""


class Account:
    """An account of MariaDB with its own database. `connection_ids` are the account's open connections."""

    def __init__(self, mariadb: MariaDB) -> None:
        self._mariadb = mariadb
        self.name = f"account_{uuid.uuid4().hex}"[:32]
        self.execute(f"CREATE DATABASE {self.name}")
        self.execute(f"CREATE USER {self.name}@'{HOST}' IDENTIFIED BY %s", PASSWORD)
        self.execute(f"GRANT SELECT, INSERT, CREATE ON {self.name}.* TO {self.name}@'{HOST}'")
        self.execute(f"CREATE TABLE {self.name}.written (number INT)")
        where = mariadb.settings(self.name) | {"user": self.name, "password": PASSWORD}
        self.settings = settings.Database(**where)

    def execute(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Execute a statement as root."""
        return self._mariadb.execute(statement, *parameters)

    def alter(self, change: str, *parameters: object) -> None:
        """Change the account."""
        self.execute(f"ALTER USER {self.name}@'{HOST}' {change}", *parameters)

    def kill_connections(self) -> None:
        """Kill all connections of the account."""
        self.execute(f"KILL USER {self.name}@'{HOST}'")


@pytest.fixture(scope="module")
def own_mariadb() -> Iterator[MariaDB]:
    """A MariaDB server that the tests may make read-only."""
    with MariaDB() as server:
        yield server


@pytest.fixture
def account(own_mariadb: MariaDB) -> Account:
    return Account(own_mariadb)


def connection_id(connection: sa.Connection) -> int:
    number: int = connection.execute(sa.text("SELECT CONNECTION_ID()")).scalar_one()
    return number


def write(connection: sa.Connection) -> int:
    with connection.begin():
        connection.execute(sa.text("INSERT INTO written VALUES (1)"))
        return connection_id(connection)


async def test_the_query_after_a_mended_password_succeeds(account: Account) -> None:
    with closing(Database(account.settings, workers=1)) as database:
        await database.run(connection_id)
        account.alter("PASSWORD EXPIRE")
        account.kill_connections()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await database.run(connection_id)
        account.alter("IDENTIFIED BY %s PASSWORD EXPIRE NEVER", PASSWORD)
        await database.run(connection_id)


async def test_a_granted_privilege_counts_for_the_next_query(account: Account) -> None:
    with closing(Database(account.settings, workers=1, writes=True)) as database:
        account.execute(f"REVOKE INSERT ON {account.name}.* FROM {account.name}@'{HOST}'")
        with pytest.raises(Unavailable):
            await database.run(write)
        account.execute(f"GRANT INSERT ON {account.name}.* TO {account.name}@'{HOST}'")
        await database.run(write)


async def test_a_read_only_error_replaces_all_connections(own_mariadb: MariaDB, account: Account) -> None:
    condition = Condition("site")
    with (
        closing(Database(account.settings, workers=1, condition=condition)) as reader,
        closing(Database(account.settings, workers=1, writes=True, condition=condition)) as writer,
    ):
        before = {await reader.run(connection_id), await writer.run(write)}
        assert {await reader.run(connection_id), await writer.run(write)} == before
        own_mariadb.execute("SET GLOBAL read_only = ON")
        try:
            with pytest.raises(Unavailable):
                await writer.run(write)
        finally:
            own_mariadb.execute("SET GLOBAL read_only = OFF")
        after = {await reader.run(connection_id), await writer.run(write)}
        assert not after & before
        assert {await reader.run(connection_id), await writer.run(write)} == after


async def test_programs_without_an_event_loop_get_new_connections_too(own_mariadb: MariaDB, account: Account) -> None:
    with closing(Database(account.settings, workers=1, writes=True)) as database:
        with database.engine.connect() as connection:
            before = connection_id(connection)
        own_mariadb.execute("SET GLOBAL read_only = ON")
        try:
            with pytest.raises(sa.exc.OperationalError, match="read-only"), database.engine.connect() as connection:
                write(connection)
        finally:
            own_mariadb.execute("SET GLOBAL read_only = OFF")
        with database.engine.connect() as connection:
            assert write(connection) != before


@pytest.mark.parametrize(
    ("path", "statements", "failure"),
    [
        ("missing/site.db", ["SELECT 1"], Failure.LOST),
        ("text.db", ["SELECT 1 FROM sqlite_master"], Failure.DAMAGED),
        ("site.db", ["PRAGMA query_only = 1", "CREATE TABLE t (a)"], Failure.READ_ONLY),
        ("site.db", ["PRAGMA max_page_count = 1", "CREATE TABLE t (a)"], Failure.STORAGE),
        ("site.db", ["SELECT * FROM missing"], Failure.OTHER),
    ],
)
def test_errors_of_sqlite_are_classified(path: str, statements: list[str], failure: Failure, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("This is not a database. " * 100)
    with closing(Database(settings.Database(path=str(tmp_path / path)), workers=1)) as database:

        def execute() -> None:
            with database.engine.connect() as connection:
                for statement in statements:
                    connection.exec_driver_sql(statement)

        with pytest.raises(sa.exc.DBAPIError) as raised:
            execute()
    assert DIALECTS["sqlite"].failure(raised.value.orig) is failure


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_outage_is_logged_once_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    condition = Condition("mysql reader@db:3306/site", clock)
    for outage in (1, 2):
        for _ in range(5):
            condition.failed("the poller", Failure.LOST, "no route to host")
            condition.answered()  # for example a query of another pool
            clock.now += QUIET_S - 1
        condition.failed("the judge", Failure.READ_ONLY, "running with read_only")
        clock.now += QUIET_S
        for _ in range(3):
            condition.answered()
        assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
            ("WARNING", "cannot use the database mysql reader@db:3306/site for the poller: no route to host"),
            ("WARNING", "cannot use the database mysql reader@db:3306/site for the judge: running with read_only"),
            ("INFO", "the database mysql reader@db:3306/site works again"),
        ] * outage


def test_only_connections_from_before_an_error_are_outdated() -> None:
    clock = Clock()
    condition = Condition("site", clock)
    old = condition.now()
    clock.now += 1
    condition.renew(old)
    assert condition.is_outdated(old)
    assert not condition.is_outdated(condition.now())
    new = condition.now()
    clock.now += 1
    condition.renew(old)  # the error of another old connection
    assert not condition.is_outdated(new)
    condition.renew(new)
    assert condition.is_outdated(new)


async def test_a_server_survives_an_expired_password_and_a_failover(
    own_mariadb: MariaDB, account: Account, serve: Serve
) -> None:
    account.execute(f"GRANT ALL ON {account.name}.* TO {account.name}@'{HOST}'")
    database = {key: value for key, value in msgspec.structs.asdict(account.settings).items() if value is not None}
    with site(database) as built:
        rules = [{"scope": {"metric": "temperature"}, "high": {"limit": 30, "reopen": 0}}]
        async with (
            serve({"database": database, "poll_interval": 0.1, "rules": rules}) as server,
            connected("python", server.url) as client,
        ):
            await client.call("register", {"store_house_id": built.ids["north"]})
            own_mariadb.execute("SET GLOBAL read_only = ON")  # root may still write
            await add(own_mariadb, built, 41.0)
            await until(lambda: "read-only" in server.log())
            assert not states(client)
            own_mariadb.execute("SET GLOBAL read_only = OFF")
            await until(lambda: "active" in states(client))

            account.alter("PASSWORD EXPIRE")
            account.kill_connections()
            await until(lambda: client.last("envs")["stale"] and EXPIRED.search(server.log()))
            account.alter("IDENTIFIED BY %s PASSWORD EXPIRE NEVER", PASSWORD)
            await add(own_mariadb, built, 5.0)
            await until(lambda: "cleared" in states(client) and not client.last("envs")["stale"])
            warnings = [line for line in server.log().splitlines() if " WARNING db.condition: " in line]
            assert sum("read-only" in line for line in warnings) == 1
            assert sum(bool(EXPIRED.search(line)) for line in warnings) == 1
            assert len(warnings) <= 3  # the killed connections may be a cause of their own


def states(client: Client) -> list[str]:
    return [alarm["state"] for told in client.received("alarms") for alarm in told["alarms"]]


async def add(mariadb: MariaDB, built: Site, value: float) -> None:
    """Commit a reading as root."""
    statement = "INSERT INTO reading (sensor_id, time, value) VALUES (%s, UTC_TIMESTAMP(3), %s)"
    database = built.database.settings.name
    await asyncio.to_thread(partial(mariadb.execute, statement, built.ids["temperature"], value, database=database))
