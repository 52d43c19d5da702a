"""Storewatch's own tables are created and upgraded completely, whatever happens during a migration."""

import random
import re
import resource
import signal
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

import settings
from db import file_copy, tables
from db.database import Database
from db.dialects.mysql import MySql
from db.limits import BATCH_LIMITS
from db.migrate import MIGRATIONS, VERSION_TABLE, migrate
from errors import UsageError
from tests.support.migrations import execute, migrate_in_process, schema, start, with_connection
from tests.support.preforked import context
from tests.support.services.mariadb import MariaDB
from tests.support.serving import ROOT, ForkedServer, StorewatchServer

VERSIONS = sorted(file.name[:4] for file in (MIGRATIONS / "versions").glob("*.py"))
OLDEST, NEWEST = VERSIONS[0], VERSIONS[-1]
KILLED = -signal.SIGKILL

DATA = (
    "INSERT INTO organisation VALUES (1, '北方冷链')",
    "INSERT INTO storehouse VALUES (1, '一号库', 1, 'Asia/Shanghai')",
    "INSERT INTO sensor (sensor_id, store_house_id, sensor_name, metric) VALUES (1, 1, '温度 1', 'temperature')",
    "INSERT INTO reading VALUES (1, 1, '2026-03-01 08:00:00.125', -18.5), (2, 1, '2026-03-01 08:01:00', NULL)",
    "INSERT INTO alarm (alarm_id, store_house_id, kind, severity, state, raised)"
    " VALUES (1, 1, 'high', 'warning', 'active', '2026-03-01 08:00:00')",
)
WITH_DATA = ("organisation", "storehouse", "sensor", "reading", "alarm")

NewDatabase = Callable[[str], dict[str, Any]]


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> NewDatabase:
    """A function that creates an empty database of the kind `sqlite` or `mariadb`."""

    def create(kind: str) -> dict[str, Any]:
        name = f"test_{uuid.uuid4().hex}"
        if kind == "sqlite":
            return {"path": str(tmp_path / f"{name}.db")}
        mariadb: MariaDB = request.getfixturevalue("mariadb")
        mariadb.create_database(name)
        return mariadb.settings(name)

    return create


def migrated(database: dict[str, Any], target: str | None = None) -> dict[str, Any]:
    migrate(settings.Database(**database), target)
    return database


def content(database: dict[str, Any], names: Sequence[str] = (*WITH_DATA, "audit_head", VERSION_TABLE)) -> list[Any]:
    return [execute(database, f"SELECT * FROM {name}") for name in names]


def with_old_data(database: dict[str, Any]) -> dict[str, Any]:
    execute(migrated(database, OLDEST), *DATA)
    return database


# The schema


@pytest.mark.parametrize("kind", ["sqlite", "mariadb"])
def test_the_migrated_schema_equals_the_tables_in_the_code(kind: str, new_database: NewDatabase) -> None:
    def reflected(connection: sa.Connection) -> dict[str, Any]:
        inspector = sa.inspect(connection)
        return {
            name: {
                "columns": {each["name"]: {**each, "type": str(each["type"])} for each in inspector.get_columns(name)},
                "key": inspector.get_pk_constraint(name)["constrained_columns"],
                "references": sorted(
                    (*each["constrained_columns"], each["referred_table"], *each["referred_columns"])
                    for each in inspector.get_foreign_keys(name)
                ),
                "indexes": {
                    # MySQL creates an index for each foreign key, and names the index like the key.
                    tuple(each["column_names"]): each["unique"]
                    for each in inspector.get_indexes(name)
                },
            }
            for name in inspector.get_table_names()
            if name != VERSION_TABLE
        }

    by_migrations = with_connection(migrated(new_database(kind)), reflected)
    built = new_database(kind)
    with_connection(built, tables.metadata.create_all)
    assert by_migrations == with_connection(built, reflected)
    assert {*by_migrations} == {*tables.metadata.tables}


def test_old_readings_survive_the_upgrade(each_database: dict[str, Any]) -> None:
    before = content(with_old_data(each_database), WITH_DATA)
    assert content(migrated(each_database), WITH_DATA) == before
    assert [len(rows) for rows in before] == [1, 1, 1, 2, 1]


# Interrupted migrations


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "mariadb"])
def test_a_migration_killed_before_any_change_continues(kind: str, new_database: NewDatabase) -> None:
    undisturbed, killed = migrated(with_old_data(new_database(kind))), new_database(kind)
    kills = kill_before_each_change(killed, OLDEST)
    execute(killed, *DATA)
    kills += kill_before_each_change(killed, NEWEST)
    assert kills > len(tables.metadata.tables) + len(VERSIONS)
    assert schema(killed) == schema(undisturbed)
    assert content(killed) == content(undisturbed)


def kill_before_each_change(database: dict[str, Any], target: str) -> int:
    """Kill migrations before each change that they make, and at last let one succeed. Return the number of kills."""
    kills, changes, before = 0, 1, schema(database)
    while (exit_code := migrate_in_process(database, target, killed_after=changes)) == KILLED:
        kills, after = kills + 1, schema(database)
        # MySQL keeps each change of the schema, so the next process is killed after one more change. In SQLite, a
        # killed process leaves nothing behind.
        changes, before = 1 if after != before else changes + 1, after
    assert exit_code == 0
    return kills


@pytest.mark.faults
@pytest.mark.parametrize("target", VERSIONS)
def test_a_migration_killed_at_50_random_moments_continues(
    target: str, new_database: NewDatabase, say: Callable[[str], None]
) -> None:
    """Kill the migration to `target` 50 times, each time on a new database, and start it again once after each kill."""
    undisturbed = before_version(target, new_database("mariadb"))
    start_s = time.monotonic()
    assert migrate_in_process(undisturbed, target) == 0
    duration_s, moments, kills, unfinished = time.monotonic() - start_s, random.Random(target), 0, 0
    expected = schema(undisturbed), content(migrated(undisturbed))
    while kills < 50:
        database = before_version(target, new_database("mariadb"))
        connected = context().Event()
        process = start(database, target, connected=connected)
        assert connected.wait(60)
        time.sleep(moments.uniform(0, duration_s))
        process.kill()
        process.join()
        kills += process.exitcode == KILLED
        unfinished += schema(database) not in (expected[0],)
        assert migrate_in_process(database, target) == 0
        assert (schema(database), content(migrated(database))) == expected
    say(f"migration {target}: {kills} kills, {unfinished} of them before the end of the migration; all continued")


def before_version(version: str, database: dict[str, Any]) -> dict[str, Any]:
    if version == OLDEST:
        return database
    with_old_data(database)
    return migrated(database, VERSIONS[VERSIONS.index(version) - 1])


@pytest.mark.faults
@pytest.mark.parametrize("oldest", [False, True], ids=["empty", "oldest"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_stopped_at_50_random_moments_of_its_start_starts(
    number: signal.Signals, oldest: bool, new_database: NewDatabase, tmp_path: Path, say: Callable[[str], None]
) -> None:
    undisturbed = migrated(with_old_data(new_database("mariadb")) if oldest else new_database("mariadb"))
    moments, unfinished = random.Random(number), 0
    for stop in range(50):
        database = with_old_data(new_database("mariadb")) if oldest else new_database("mariadb")
        folder = tmp_path / str(stop)
        folder.mkdir()
        server = ForkedServer(folder, {"database": database})
        starting = threading.Thread(target=server.start)
        starting.start()
        ...
