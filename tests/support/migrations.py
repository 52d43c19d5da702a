"""Migrations in processes of their own, which can be killed at a chosen moment."""

import os
import re
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

import sqlalchemy as sa

import settings
from db.database import Database
from db.limits import BATCH_LIMITS
from db.migrate import migrate
from errors import UsageError
from tests.support import preforked

CHANGES = re.compile("CREATE|ALTER|INSERT|UPDATE")
TIME_LIMIT_S = 60.0

DatabaseSettings = dict[str, Any]
T = TypeVar("T")


def migrate_in_process(
    database: DatabaseSettings, target: str | None = None, *, killed_after: int | None = None
) -> int | None:
    """Run a migration in a new process, and return the exit code of the process.

    With `killed_after`, the process kills itself with SIGKILL after this number of statements that change something:
    directly before the next such statement, or before the commit.
    """
    process = start(database, target, killed_after=killed_after)
    process.join(TIME_LIMIT_S)
    return process.exitcode


def start(
    database: DatabaseSettings,
    target: str | None = None,
    *,
    killed_after: int | None = None,
    connected: Event | None = None,
) -> ForkServerProcess:
    """Start a migration in a new process. The event `connected` is set when the process begins a transaction."""
    arguments = (database, target, killed_after, connected)
    process = preforked.context().Process(target=_migrate, args=arguments, daemon=True)
    process.start()
    return process


def _migrate(database: DatabaseSettings, target: str | None, killed_after: int | None, connected: Event | None) -> None:
    if killed_after is not None:
        _kill_after(killed_after)
    if connected is not None:
        sa.event.listen(sa.Engine, "begin", lambda _connection: connected.set())
    try:
        migrate(settings.Database(**database), target)
    except UsageError as error:
        print(error, file=sys.stderr)
        os._exit(2)
    os._exit(0)


def _kill_after(changes: int) -> None:
    done = 0

    def kill(_connection: object) -> None:
        if done >= changes:
            os.kill(os.getpid(), signal.SIGKILL)

    def kill_or_count(connection: object, _statement: str) -> None:
        nonlocal done
        kill(connection)
        done += 1

    _listen(kill_or_count)
    sa.event.listen(sa.Engine, "commit", kill)


@contextmanager
def before_changes(call: Callable[[sa.Connection, str], object]) -> Iterator[None]:
    """During the block, call `call(connection, statement)` before each statement that changes something."""
    listener = _listen(call)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", listener)


def _listen(call: Callable[[sa.Connection, str], object]) -> Callable[..., None]:
    def before_statement(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        if CHANGES.match(statement.lstrip()):
            call(connection, statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", before_statement)
    return before_statement


def schema(database: DatabaseSettings) -> dict[str, str]:
    """Return the statement that creates each table and index, as the database prints it."""
    if "path" in database:
        with closing(sqlite3.connect(database["path"])) as connection:
            return dict(connection.execute("SELECT name, coalesce(sql, '') FROM sqlite_master"))
    tables = [name for (name,) in execute(database, "SHOW TABLES")]
    return {name: _without_next_id(execute(database, f"SHOW CREATE TABLE `{name}`")[0][1]) for name in tables}


def _without_next_id(statement: str) -> str:
    return re.sub(r" AUTO_INCREMENT=\d+", "", statement)


def execute(database: DatabaseSettings, *statements: str) -> list[tuple[Any, ...]]:
    """Run and commit the statements. Return the rows of the last statement."""

    def run(connection: sa.Connection) -> list[tuple[Any, ...]]:
        results = [connection.exec_driver_sql(statement) for statement in statements]
        return [tuple(row) for row in results[-1]] if results[-1].returns_rows else []

    return with_connection(database, run)


def with_connection(database: DatabaseSettings, work: Callable[[sa.Connection], T]) -> T:
    """Call `work` in a transaction and return its result."""
    opened = Database(settings.Database(**database), BATCH_LIMITS, 1, writes=True)
    with closing(opened), opened.engine.begin() as connection:
        return work(connection)
