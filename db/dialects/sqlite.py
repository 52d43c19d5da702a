"""The dialect of SQLite."""

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from common import clock
from db.dialects.interface import Changes, Columns, Dialect, Execute, Pick
from db.failures import Failure
from db.file_copy import copy_file
from db.limits import Limits
from errors import UsageError
from settings import Database as DatabaseSettings


class Sqlite(Dialect):
    """An SQLite file."""

    name = "sqlite"
    is_remote = False
    unreachable = frozenset({Failure.BUSY, Failure.TIME_LIMIT, Failure.STORAGE, Failure.READ_ONLY})
    declares_types = False
    placeholder = "?"
    # SQLite answers a plain SELECT 1 without reading the file, even if the file is locked or deleted.
    ping = "SELECT 1 FROM sqlite_master LIMIT 1"

    CHECK_S = 1.0
    """Time limit of `check_storage`. SQLite checks about 500 MB in this time."""
    DAMAGED = "; restore the file from a copy, see docs/operating.md"
    FAILURES: Mapping[int, Failure] = {
        sqlite3.SQLITE_CANTOPEN: Failure.LOST,
        sqlite3.SQLITE_CORRUPT: Failure.DAMAGED,
        sqlite3.SQLITE_NOTADB: Failure.DAMAGED,
        sqlite3.SQLITE_PERM: Failure.DENIED,
        sqlite3.SQLITE_AUTH: Failure.DENIED,
        sqlite3.SQLITE_READONLY: Failure.READ_ONLY,
        sqlite3.SQLITE_FULL: Failure.STORAGE,
        sqlite3.SQLITE_IOERR: Failure.STORAGE,
        sqlite3.SQLITE_IOERR_READ: Failure.DAMAGED,  # for example, a folder
        sqlite3.SQLITE_INTERRUPT: Failure.TIME_LIMIT,
        sqlite3.SQLITE_BUSY: Failure.BUSY,
        sqlite3.SQLITE_LOCKED: Failure.BUSY,
        sqlite3.SQLITE_PROTOCOL: Failure.BUSY,
    }
    """The kinds of errors by SQLite's error code or primary error code. All other codes are of the kind `OTHER`."""

    def address(self, settings: DatabaseSettings, limits: Limits) -> tuple[sa.URL, dict[str, Any]]:
        """Return the URL of the file. A site's own file is opened read-only."""
        # The path is passed as a URI, because as_uri() escapes ? and #.
        mode = "ro" if settings.map else "rwc"
        uri = f"{Path(settings.path).absolute().as_uri()}?mode={mode}"
        url = sa.URL.create("sqlite", database=uri, query={"uri": "true"})
        return url, {"timeout": limits.statement, "check_same_thread": False}

    def prepare_connections(self, engine: sa.Engine, settings: DatabaseSettings, limits: Limits, writes: bool) -> None:
        """Set WAL mode, and begin write transactions with BEGIN IMMEDIATE."""

        @sa.event.listens_for(engine, "connect")
        def set_up(connection: Any, _record: object) -> None:
            # SQLite does not check that a text is valid UTF-8. One invalid text must not make the whole query fail.
            connection.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")
            cursor = connection.cursor()
            if not settings.map:
                # In rollback-journal mode, a reader waits for each writer, and fails after the time limit.
                cursor.execute("PRAGMA journal_mode=WAL")
                cursor.execute("PRAGMA synchronous=NORMAL")
                cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()
            if writes:
                connection.isolation_level = None

        if writes:
            # SQLite cannot always upgrade a transaction that starts with a read to a write transaction.
            @sa.event.listens_for(engine, "begin")
            def begin_immediate(connection: sa.Connection) -> None:
                connection.exec_driver_sql("BEGIN IMMEDIATE")

    def limit_work(self, connection: sa.Connection, seconds: float) -> None:
        """Set a progress handler that interrupts late statements, because SQLite has no time limit of its own.

        SQLite calls the handler every 10,000 steps.
        """
        end = time.monotonic() + seconds
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(lambda: time.monotonic() > end, 10_000)

    def prepare_storage(self, settings: DatabaseSettings) -> None:
        """Create the file's folder."""
        folder = Path(settings.path).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"database.path: cannot create the folder {folder}: {error.strerror}") from None

    def check_storage(self, connection: sa.Connection, settings: DatabaseSettings) -> None:
        """Run SQLite's quick check. Ignore rows that violate a constraint: the file can still be read."""
        self.limit_work(connection, self.CHECK_S)
        try:
            problem = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        except sa.exc.DBAPIError as error:
            # SQLITE_ERROR: for example, a column of a site's table has a collation that exists only in its own program.
            if _code(error) in (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_ERROR):
                return
            raise
        if problem.startswith("*** in database"):
            raise UsageError(f"database: cannot read {settings!r}: database disk image is malformed{self.DAMAGED}")

    def lock_migrations(self, connection: sa.Connection, settings: DatabaseSettings) -> None:
        """Do nothing: BEGIN IMMEDIATE already excludes other writers."""

    def copy_storage(self, settings: DatabaseSettings, version: str) -> None:
        """Copy the file. Call this method in a write transaction, so that no other process writes the file."""
        try:
            copy_file(Path(settings.path), version, clock.now())
        except (OSError, sqlite3.Error) as error:
            what = error.strerror if isinstance(error, OSError) else error
            raise UsageError(
                f"database: cannot copy {settings.path} before the upgrade of Storewatch's own tables: {what}; "
                "make room on the disk and allow this process to write to the folder, then start again"
            ) from None

    def advice(self, settings: DatabaseSettings, error: sa.exc.DBAPIError) -> str:
        """Return what to do about a damaged file, a full disk, a folder or missing permissions."""
        code = _code(error)
        if Path(settings.path).is_dir():
            return "; it is a folder: name a file in database.path"
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self.DAMAGED
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return "; check the disk, and make room on it"
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY):
            return "; check that the file exists, and that this process may use it and its folder"
        return ""

    def read_committed(self, connection: sa.Connection) -> None:
        """Do nothing: BEGIN IMMEDIATE already excludes other writers."""

    def failure(self, error: BaseException | None) -> Failure:
        """Return the kind of the error, by its code. `limit_work` interrupts statements after their time limit."""
        code = getattr(error, "sqlite_errorcode", None)
        # An extended code, such as SQLITE_READONLY_DBMOVED, contains the code in its lowest byte.
        if code is None:
            return Failure.OTHER
        return self.FAILURES.get(code) or self.FAILURES.get(code & 0xFF, Failure.OTHER)

    def server_time(self, connection: sa.Connection) -> datetime:
        """Return the time of this process. All processes that use the file are on one machine and share its clock."""
        return clock.now()

    def seconds_since_1970(self, time: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
        """Cut off the fraction of the second before the conversion, because SQLite's strftime would round it."""
        raw = sa.type_coerce(time, sa.types.NULLTYPE)
        return sa.cast(sa.func.strftime("%s", sa.func.substr(raw, 1, 19)), sa.Integer)

    def divide(self, dividend: sa.ColumnElement[int], divisor: int) -> sa.ColumnElement[int]:
        """Return a division with `/`. In SQLite, the quotient of two integers is an integer."""
        return dividend.op("/")(divisor)

    def text_bytes(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return the text's bytes. In a column with COLLATE NOCASE, a comparison of texts would ignore case."""
        return sa.cast(sa.cast(column, sa.CHAR), sa.LargeBinary)

    def grouped_text(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return the column itself. By default, SQLite compares texts exactly."""
        return column

    def numbers(
        self, connection: sa.Connection, columns: Sequence[sa.ColumnElement[Any]], parse: Callable[[Any], float | None]
    ) -> list[sa.ColumnElement[Any]]:
        """Return an expression for each column that calls `parse`, because in SQLite each value has its own type."""
        driver: Any = connection.connection.driver_connection
        driver.create_function("storewatch_number", 2, partial(_number, parse), deterministic=True)
        return [sa.func.storewatch_number(_readable(column), sa.func.typeof(column)) for column in columns]

    def insert_or_lock(self, table: sa.Table, row: dict[str, Any], key: str) -> sa.Insert:
        """Return INSERT OR IGNORE. It locks no row, because BEGIN IMMEDIATE has already locked the whole database."""
        return table.insert().prefix_with("OR IGNORE").values(row)

    def upsert(
        self, table: sa.Table, rows: sa.Select[Any], changes: Callable[[Columns, Pick, Pick], Changes]
    ) -> sa.Insert:
        """Return INSERT ... ON CONFLICT DO UPDATE."""
        insert = sqlite.insert(table).from_select(table.c.keys(), rows)
        values = dict(changes(insert.excluded, sa.func.min, sa.func.max))
        return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)

    def is_text_id(self, column: sa.ColumnElement[Any], type_code: Any, execute: Execute) -> bool:
        """Return whether the first id in the column is not an integer. If the table is empty, return False."""
        statement = sa.select(sa.func.typeof(column)).where(column.is_not(None)).limit(1)
        return execute(statement).scalar() not in ("integer", None)

    def is_instant(self, type_code: Any) -> bool:
        """Return False: SQLite has no time type, only texts and numbers."""
        return False

    def can_contain(self, column: sa.ColumnElement[Any], execute: Execute) -> Callable[[str], bool]:
        """Return a function that always returns True: SQLite can store and compare every text."""
        return lambda _text: True

    def datetime_type(self) -> sa.types.TypeEngine[Any]:
        """Return a string type. Date-times in ISO format, stored as text, sort in chronological order."""
        return sa.String(32)

    def datetime_parameter(self, local: datetime) -> Any:
        """Return the date-time as text in ISO format."""
        return local.isoformat(" ", "microseconds")


def _code(error: sa.exc.DBAPIError) -> int:
    """Return SQLite's primary error code. The lowest byte of an extended code is the primary code."""
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF


def _readable(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return an SQL expression with each text as bytes. A Python function cannot receive a text that is invalid."""
    return sa.case((sa.func.typeof(column) == "text", sa.cast(column, sa.LargeBinary)), else_=column)


def _number(parse: Callable[[Any], float | None], value: Any, kind: str) -> float | None:
    return parse(value.decode(errors="backslashreplace") if kind == "text" else value)
