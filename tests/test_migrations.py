"""Storewatch's own tables are created and upgraded completely, whatever happens during a migration."""

import asyncio
import os
import random
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa

import settings
from db import file_copy, tables
from db.dialects.mysql import MySql
from db.migrate import MIGRATIONS, VERSION_TABLE, migrate
from errors import UsageError
from tests.support import preforked
from tests.support.command import run
from tests.support.fault_results import RecordResult
from tests.support.migrations import (
    before_changes,
    execute,
    migrate_in_process,
    schema,
    start,
    with_connection,
)
from tests.support.services.mariadb import MariaDB
from tests.support.services.private import HOST
from tests.support.services.process import DidNotStart
from tests.support.serving import ROOT, ForkedServer, StorewatchServer, clean_environment, serving
from tests.support.serving_inside import until

VERSIONS = sorted(file.name[:4] for file in (MIGRATIONS / "versions").glob("*.py"))
OLDEST, NEWEST = VERSIONS[0], VERSIONS[-1]
KILLS = 50
"""Number of times that each migration is killed."""
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
    present = schema(database)
    return [execute(database, f"SELECT * FROM {name}") for name in names if name in present]


def with_old_data(database: dict[str, Any]) -> dict[str, Any]:
    execute(migrated(database, OLDEST), *DATA)
    return database


def server_for(database: dict[str, Any], folder: Path, kind: type[StorewatchServer] = ForkedServer) -> StorewatchServer:
    folder.mkdir()
    return kind(folder, {"database": database})


@contextmanager
def administrator_of(mariadb: MariaDB, database: dict[str, Any]) -> Iterator[pymysql.cursors.Cursor]:
    connection = pymysql.connect(host=HOST, port=mariadb.port, user="root", database=database["name"], autocommit=True)
    with closing(connection), connection.cursor() as cursor:
        yield cursor


@contextmanager
def ended_at_last(*servers: StorewatchServer) -> Iterator[None]:
    """At the end of the block, kill the servers that still run because the test has failed."""
    try:
        yield
    finally:
        for server in servers:
            if server.started:
                server.kill()


def is_running(mariadb: MariaDB, statement: str) -> bool:
    running = mariadb.execute("SELECT info FROM information_schema.processlist")
    return any((info or "").startswith(statement) for (info,) in running)


def thread_id(connection: sa.Connection) -> int:
    driver: Any = connection.connection.driver_connection
    return int(driver.thread_id())


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_server_stopped_during_a_change_of_the_schema_starts_again(
    number: signal.Signals, mariadb: MariaDB, mariadb_database: dict[str, Any], tmp_path: Path
) -> None:
    with_old_data(mariadb_database)
    migrated(mariadb_database, "0002")
    first, second = (server_for(mariadb_database, tmp_path / name) for name in ("first", "second"))
    with administrator_of(mariadb, mariadb_database) as administrator, ended_at_last(first, second):
        administrator.execute("LOCK TABLES lease READ")  # the first change of the next migration waits for this lock
        starting = asyncio.create_task(asyncio.to_thread(first.start))
        await until(lambda: is_running(mariadb, "ALTER TABLE lease"))
        os.kill(first.pid, number)
        with pytest.raises(DidNotStart) as ended:
            await starting
        assert ended.value.exit_code == (0 if number == signal.SIGTERM else -number)
        assert ended.value.log == ""
        starting = asyncio.create_task(asyncio.to_thread(second.start))
        await until(lambda: is_running(mariadb, "SELECT get_lock"))  # the first server's statement still runs
        administrator.execute("UNLOCK TABLES")
        await starting
        assert await second.terminate() == 0
    assert [len(rows) for rows in content(mariadb_database)] == [1, 1, 1, 2, 1, 1, 1]


@pytest.mark.faults
def test_migrations_killed_at_random_moments_continue(
    mariadb: MariaDB, new_database: NewDatabase, record_result: RecordResult
) -> None:
    unfinished = sum(kill_migration(version, mariadb, new_database) for version in VERSIONS)
    record_result("migrations killed", migrations=len(VERSIONS), kills=KILLS, unfinished=unfinished)


def kill_migration(target: str, mariadb: MariaDB, new_database: NewDatabase) -> int:
    """Kill the migration to this version `KILLS` times at random moments. Check that it continues each time.

    Return how many kills left a part of the schema.
    """
    undisturbed, moments, kills, unfinished = before_version(target, new_database("mariadb")), random.Random(1), 0, 0
    duration_s = kill_after(undisturbed, target, None)
    expected = schema(undisturbed), content(undisturbed)
    while kills < KILLS:
        killed = before_version(target, new_database("mariadb"))
        kills += kill_after(killed, target, moments.uniform(0, duration_s)) != 0
        unfinished += schema(killed) != expected[0]
        assert migrate_in_process(killed, target) == 0
        assert (schema(killed), content(killed)) == expected
        mariadb.execute(f"DROP DATABASE {killed['name']}")
    return unfinished


def before_version(version: str, database: dict[str, Any]) -> dict[str, Any]:
    """Return the database with data and with the schema before this version."""
    if version == OLDEST:
        return database
    return migrated(with_old_data(database), VERSIONS[VERSIONS.index(version) - 1])


def kill_after(database: dict[str, Any], target: str, seconds: float | None) -> float:
    """Kill a migration after this time, or let it end. Return how long it took, or 0 if it ended before the kill."""
    connected = preforked.context().Event()
    process = start(database, target, connected=connected)
    assert connected.wait(60)
    begun = time.monotonic()
    process.join(seconds)
    process.kill()
    process.join()
    return time.monotonic() - begun if seconds is None or process.exitcode == KILLED else 0


@pytest.mark.faults
@pytest.mark.parametrize("oldest", [False, True], ids=["empty", "oldest"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_server_stopped_at_50_random_moments_starts_again(
    number: signal.Signals,
    oldest: bool,
    mariadb: MariaDB,
    new_database: NewDatabase,
    tmp_path: Path,
    say: Callable[[str], None],
) -> None:
    def database() -> dict[str, Any]:
        return with_old_data(new_database("mariadb")) if oldest else new_database("mariadb")

    undisturbed, moments, unfinished = migrated(database()), random.Random(2), 0
    for stop in range(50):
        stopped = database()
        before = schema(stopped)
        server = server_for(stopped, tmp_path / str(stop))
        with (tmp_path / f"{stop}.out").open("wb") as out, (tmp_path / f"{stop}.err").open("wb") as err:
            process = preforked.start(server.arguments(), server.directory, clean_environment(), out, err)
            await until(lambda: schema(stopped) != before)  # noqa: B023 - awaited within the iteration
            await asyncio.sleep(moments.uniform(0, 0.5))
            process.send_signal(number)
            assert process.wait(20) == (0 if number == signal.SIGTERM else KILLED)
        assert "Traceback" not in (tmp_path / f"{stop}.err").read_text()
        unfinished += schema(stopped) != schema(undisturbed)
        async with serving(server):
            assert schema(stopped) == schema(undisturbed)
        assert content(stopped, WITH_DATA) == content(undisturbed, WITH_DATA)
        assert [len(rows) for rows in content(stopped, ["audit_head", VERSION_TABLE])] == [1, 1]
        mariadb.execute(f"DROP DATABASE {stopped['name']}")
    say(f"stopped 50 times, {unfinished} times with a part of the schema; all servers started again")


# Several processes


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "mariadb"])
async def test_four_processes_starting_at_once_make_one_schema(
    kind: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    undisturbed, shared = migrated(new_database(kind)), new_database(kind)
    servers = [server_for(shared, tmp_path / str(number), StorewatchServer) for number in range(4)]
    async with AsyncExitStack() as running:
        await asyncio.gather(*(running.enter_async_context(serving(server)) for server in servers))
        assert schema(shared) == schema(undisturbed)
        assert [len(rows) for rows in content(shared, ["audit_head", VERSION_TABLE])] == [1, 1]
    assert [server.log() for server in servers if "ERROR" in server.log()] == []


def test_each_database_has_its_own_migration_lock() -> None:
    names = ["site", "Site", "state", "x" * 63 + "1", "x" * 63 + "2"]
    locks = [MySql().lock_name(name) for name in names]
    assert locks[0] == locks[1]
    assert len(set(locks)) == 4
    assert max(map(len, locks)) <= 64


def test_a_busy_migration_lock_is_reported_in_one_line(
    mariadb: MariaDB, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MySql, "LOCK_WAIT_S", 0)
    busy, other, complete = new_database("mariadb"), new_database("mariadb"), migrated(new_database("mariadb"))
    with administrator_of(mariadb, busy) as administrator:
        for database in (busy, complete):
            administrator.execute("SELECT GET_LOCK(%s, 0)", [MySql().lock_name(database["name"])])
        with pytest.raises(UsageError, match=r"another process is creating or upgrading .* wait until") as error:
            migrated(busy)
        assert "\n" not in str(error.value)
        assert schema(busy) == {}
        migrated(other)
        migrated(complete)  # it needs no lock, because there is nothing to do
    assert schema(migrated(busy)) == schema(other)


def test_the_migration_lock_is_held_until_the_end(mariadb: MariaDB, mariadb_database: dict[str, Any]) -> None:
    def holder() -> int | None:
        connection_id: int | None
        ((connection_id,),) = mariadb.execute("SELECT IS_USED_LOCK(%s)", MySql().lock_name(mariadb_database["name"]))
        return connection_id

    migrating_and_holding = set()
    with before_changes(lambda connection, _: migrating_and_holding.add((thread_id(connection), holder()))):
        migrated(mariadb_database)
    ((migrating, holding),) = migrating_and_holding
    assert migrating == holding
    assert holder() is None


def test_a_migration_whose_connection_is_lost_continues_later(mariadb: MariaDB, new_database: NewDatabase) -> None:
    undisturbed, lost = migrated(new_database("mariadb")), new_database("mariadb")

    def lose(connection: sa.Connection, statement: str) -> None:
        if "CREATE TABLE maintenance" in statement:
            mariadb.execute(f"KILL {thread_id(connection)}")

    with before_changes(lose), pytest.raises(UsageError, match="cannot create Storewatch's own tables"):
        migrated(lost)
    assert "rule_change" in schema(lost)
    assert schema(migrated(lost)) == schema(undisturbed)


def test_another_process_may_make_the_same_changes_at_once(mariadb: MariaDB, new_database: NewDatabase) -> None:
    # This happens in a cluster whose servers do not share their locks.
    undisturbed, contested = migrated(new_database("mariadb")), new_database("mariadb")
    overtaken = {"ALTER TABLE lease": 0, "CREATE TABLE notice": 0, "CREATE INDEX ix_audit_action_entry_id": 0}

    def overtake(_connection: sa.Connection, statement: str) -> None:
        for change in overtaken:
            if statement.lstrip().startswith(f"{change} "):
                mariadb.execute(statement, database=contested["name"])
                overtaken[change] += 1

    with before_changes(overtake):
        migrated(contested)
    assert schema(contested) == schema(undisturbed)
    assert {*overtaken.values()} == {1}


# Tables of others


def test_a_database_with_tables_of_others_is_refused_unchanged(each_database: dict[str, Any]) -> None:
    execute(each_database, "CREATE TABLE sensor (id INTEGER PRIMARY KEY, name VARCHAR(20))")
    before = schema(each_database)
    with pytest.raises(UsageError, match="contains a table sensor that Storewatch did not create"):
        migrated(each_database)
    assert schema(each_database) == before


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE audit (entry_id INTEGER PRIMARY KEY, text VARCHAR(20))"],
        [
            "CREATE TABLE audit_head (head_id INTEGER PRIMARY KEY, entry_id BIGINT, hash VARCHAR(64))",
            "INSERT INTO audit_head VALUES (1, 5, 'their own')",
        ],
    ],
    ids=["other columns", "same columns"],
)
def test_an_upgrade_leaves_tables_of_others_unchanged(each_database: dict[str, Any], statements: list[str]) -> None:
    execute(migrated(each_database, "0005"), *statements)
    table = statements[0].split()[2]
    before = schema(each_database)[table], content(each_database, [table])
    with pytest.raises(UsageError, match=f"contains a table {table} that Storewatch did not create"):
        migrated(each_database)
    assert (schema(each_database)[table], content(each_database, [table])) == before


# Copies of a SQLite file


def test_an_upgrade_first_copies_the_sqlite_file(tmp_path: Path) -> None:
    database = with_old_data({"path": str(tmp_path / "own.db")})
    path = Path(database["path"])
    path.chmod(0o640)
    before = content(database, WITH_DATA)
    (tmp_path / f"own.db.{OLDEST}.20260301T080000Z.backup.partial").write_text("from a killed process")
    migrated(migrated(database))
    (copy,) = file_copy.copies(path)
    assert copy.version == OLDEST
    assert re.fullmatch(rf"own\.db\.{OLDEST}\.\d{{8}}T\d{{6}}Z\.backup", copy.path.name)
    assert copy.path.stat().st_mode & 0o777 == 0o640
    assert not [*tmp_path.glob("*.partial*")]
    assert content({"path": str(copy.path)}, [*WITH_DATA, VERSION_TABLE]) == [*before, [(OLDEST,)]]
    assert content(migrated({"path": str(copy.path)}), WITH_DATA) == before


def test_the_newest_three_copies_are_kept(tmp_path: Path) -> None:
    (tmp_path / "own.db.mine.backup").touch()
    for version in VERSIONS:
        database = migrated({"path": str(tmp_path / "own.db")}, version)
    path = Path(database["path"])
    assert [copy.version for copy in file_copy.copies(path)] == VERSIONS[-4:-1]
    file_copy.copy_file(path, VERSIONS[-2], datetime(2100, 1, 1, tzinfo=UTC))
    assert [(copy.version, copy.time[:4] == "2100") for copy in file_copy.copies(path)] == [
        (VERSIONS[-4], False),
        (VERSIONS[-3], False),
        (VERSIONS[-2], True),
    ]
    assert (tmp_path / "own.db.mine.backup").exists()


@pytest.mark.slow
def test_without_room_for_the_copy_nothing_is_upgraded(tmp_path: Path) -> None:
    database = with_old_data({"path": str(tmp_path / "own.db")})
    before = schema(database)
    (tmp_path / "settings.yaml").write_text("access: open\ndatabase: {path: own.db}\n")
    done = run(tmp_path, "--check", "--config", "settings.yaml", file_limit=40_960)
    assert done.returncode == 2
    assert done.stderr.startswith("storewatch: database: cannot copy own.db before the upgrade")
    assert done.stderr.count("\n") == 1
    assert schema(database) == before
    assert {each.name for each in tmp_path.iterdir()} == {"own.db", "settings.yaml"}


# Dumps of MariaDB


@pytest.mark.parametrize("page", ["docs/operating.md", "docs/zh/operating.md"])
def test_the_documented_commands_name_every_own_table(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    (named,) = re.findall(r'^TABLES="([^"]+)"$', text, re.MULTILINE)
    assert sorted(named.split()) == sorted([*tables.metadata.tables, VERSION_TABLE])
