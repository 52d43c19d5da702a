"""Everything that depends on the kind of database: one class for each kind, behind one interface.

To add a kind: write a subclass of `Dialect`, list it in `DIALECTS`, and add its name to `settings.Database.kind`.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, sqlite

from common import clock
from db.limits import Limits
from errors import UsageError
from settings import Database as DatabaseSettings

Columns = sa.ColumnCollection[str, Any]
Pick = Callable[[Any, Any], sa.ColumnElement[Any]]
"""SQL for the lesser, or for the greater, of two values."""
Changes = list[tuple[str, sa.ColumnElement[Any]]]
"""New values by column; MySQL sets one after the other, so a later one sees those before it."""
Execute = Callable[[sa.Executable], sa.CursorResult[Any]]


class Dialect(ABC):
    """What differs between kinds of databases. An instance has no state."""

    name: ClassVar[str]
    """SQLAlchemy's name for it, and that of the setting `database.kind`."""
    is_remote: ClassVar[bool]
    """It is reached over a network and may hang."""
    declares_types: ClassVar[bool]
    """A column has a type even in an empty table, not only each of its values."""
    placeholder: ClassVar[str]
    """A parameter of a statement as the driver writes it."""
    ping: ClassVar[str]
    """A statement that only a working database answers."""
    packs_readings: ClassVar[bool] = False
    """Whether `packed_readings` is quicker than a row for each reading."""

    # Connections.

    @abstractmethod
    def address(self, settings: DatabaseSettings, limits: Limits) -> tuple[sa.URL, dict[str, Any]]:
        """Return the engine's URL and the driver's connect arguments."""

    @abstractmethod
    def prepare_connections(self, engine: sa.Engine, settings: DatabaseSettings, limits: Limits, writes: bool) -> None:
        """Have each new connection of the engine set up: its time limits, its zone, whether it may write."""

    @abstractmethod
    def limit_work(self, connection: sa.Connection, seconds: float) -> None:
        """End the statements that run later than `seconds` from now, where the connection's set-up does not."""

    @abstractmethod
    def prepare_storage(self, settings: DatabaseSettings) -> None:
        """Create what a new database needs before it can be opened; raises `UsageError`."""

    @abstractmethod
    def lock_migrations(self, connection: sa.Connection) -> None:
        """Wait until no other process migrates; the lock ends with the connection."""

    @abstractmethod
    def read_committed(self, connection: sa.Connection) -> None:
        """Have the transaction that begins now see what others commit meanwhile, and lock nothing that it reads."""

    @abstractmethod
    def is_time_limit(self, error: sa.exc.DBAPIError) -> bool:
        """Whether the database ended a statement because of its time limit."""

    @abstractmethod
    def server_time(self, connection: sa.Connection) -> datetime:
        """Return the database's time, in UTC."""

    # Expressions.

    @abstractmethod
    def seconds_since_1970(self, time: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
        """Return the seconds since 1970, rounded down, of a naive time in UTC."""

    @abstractmethod
    def divide(self, dividend: sa.ColumnElement[int], divisor: int) -> sa.ColumnElement[int]:
        """Return the quotient of two integers, rounded towards zero."""

    @abstractmethod
    def text_bytes(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return a text's bytes in UTF-8, which compare exactly: no collation takes 'A' for 'a', or 'x ' for 'x'."""

    @abstractmethod
    def grouped_text(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return what to group a column of texts by, so that texts which differ are never one group."""

    @abstractmethod
    def numbers(
        self, connection: sa.Connection, columns: Sequence[sa.ColumnElement[Any]], parse: Callable[[Any], float | None]
    ) -> list[sa.ColumnElement[Any]]:
        """Return the columns, of whatever types, as SQL that is a number, or null where `parse` finds none."""

    def packed_readings(
        self, connection: sa.Connection, time: sa.ColumnElement[Any], value: sa.ColumnElement[Any], rank: Any
    ) -> sa.ColumnElement[str]:
        """Return a group's readings as one text, "microseconds-since-1970 value,...", ordered by time and rank.

        A null value is left empty. It is for a statement on this connection.
        """
        raise NotImplementedError

    # Statements.

    @abstractmethod
    def insert_or_lock(self, table: sa.Table, row: dict[str, Any], key: str) -> sa.Insert:
        """Return a statement that inserts the row, or locks the one that already has its `key`."""

    @abstractmethod
    def upsert(
        self, table: sa.Table, rows: sa.Select[Any], changes: Callable[[Columns, Pick, Pick], Changes]
    ) -> sa.Insert:
        """Return a statement that inserts these rows of all columns.

        A row whose primary key is there already gets `changes(new, least, greatest)`, of the columns of the new one.
        """

    # Columns of a site's own tables. `type_code` is what the driver's cursor tells of a column.

    @abstractmethod
    def is_text_id(self, column: sa.ColumnElement[Any], type_code: Any, execute: Execute) -> bool:
        """Whether a column of ids holds texts, not integers."""

    @abstractmethod
    def is_instant(self, type_code: Any) -> bool:
        """Whether a column of times holds instants, which come in UTC, not what a clock on the wall showed."""

    # Columns of our own tables.

    @abstractmethod
    def datetime_type(self) -> sa.types.TypeEngine[Any]:
        """Return the type of a naive date-time with at least milliseconds."""

    @abstractmethod
    def datetime_parameter(self, local: datetime) -> Any:
        """Return a naive date-time as the driver is given it."""


class Sqlite(Dialect):
    """A file of SQLite."""

    name = "sqlite"
    is_remote = False
    declares_types = False
    placeholder = "?"
    # SQLite answers a bare SELECT 1 without reading its file, even if that is locked or gone.
    ping = "SELECT 1 FROM sqlite_master LIMIT 1"

    def address(self, settings: DatabaseSettings, limits: Limits) -> tuple[sa.URL, dict[str, Any]]:
        """Return the URL of the file; a site's own file is opened for reading only."""
        # The path goes in as a URI, where ? and # need their escapes.
        mode = "ro" if settings.map else "rwc"
        uri = f"{Path(settings.path).absolute().as_uri()}?mode={mode}"
        url = sa.URL.create("sqlite", database=uri, query={"uri": "true"})
        return url, {"timeout": limits.statement, "check_same_thread": False}

    def prepare_connections(self, engine: sa.Engine, settings: DatabaseSettings, limits: Limits, writes: bool) -> None:
        """Set WAL mode, and begin each transaction that may write as one that writes."""

        @sa.event.listens_for(engine, "connect")
        def set_up(connection: Any, _record: object) -> None:
            cursor = connection.cursor()
            if not settings.map:
                # In SQLite's rollback mode a reader waits for every writer, 5 s and then in vain.
                cursor.execute("PRAGMA journal_mode=WAL")
                cursor.execute("PRAGMA synchronous=NORMAL")
                cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()
            if writes:
                connection.isolation_level = None

        if writes:
            # A transaction that begins by reading cannot always be raised to a writing one: begin it as one.
            @sa.event.listens_for(engine, "begin")
            def begin_immediate(connection: sa.Connection) -> None:
                connection.exec_driver_sql("BEGIN IMMEDIATE")

    def limit_work(self, connection: sa.Connection, seconds: float) -> None:
        """SQLite has no time limit of its own: it asks a function of ours every 10,000 steps."""
        end = time.monotonic() + seconds
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(lambda: time.monotonic() > end, 10_000)

    def prepare_storage(self, settings: DatabaseSettings) -> None:
        """Create the folder of the file."""
        folder = Path(settings.path).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"database.path: cannot make the folder {folder}: {error.strerror}") from None

    def lock_migrations(self, connection: sa.Connection) -> None:
        """BEGIN IMMEDIATE has locked out other writers already."""

    def read_committed(self, connection: sa.Connection) -> None:
        """BEGIN IMMEDIATE has locked out other writers already."""

    def is_time_limit(self, error: sa.exc.DBAPIError) -> bool:
        """Whether our function (`limit_work`) has interrupted the statement."""
        return error.orig is not None and error.orig.args[0] == "interrupted"

    def server_time(self, connection: sa.Connection) -> datetime:
        """One machine, one clock."""
        return clock.now()

    def seconds_since_1970(self, time: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
        """Of the whole second: strftime rounds the milliseconds."""
        raw = sa.type_coerce(time, sa.types.NULLTYPE)
        return sa.cast(sa.func.strftime("%s", sa.func.substr(raw, 1, 19)), sa.Integer)

    def divide(self, dividend: sa.ColumnElement[int], divisor: int) -> sa.ColumnElement[int]:
        """SQLite divides integers as integers."""
        return dividend.op("/")(divisor)

    def text_bytes(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """A column may have been declared with COLLATE NOCASE."""
        return sa.cast(sa.cast(column, sa.CHAR), sa.LargeBinary)

    def grouped_text(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """By default SQLite compares texts exactly."""
        return column

    def numbers(
        self, connection: sa.Connection, columns: Sequence[sa.ColumnElement[Any]], parse: Callable[[Any], float | None]
    ) -> list[sa.ColumnElement[Any]]:
        """Have SQLite call `parse`: here each value has a type of its own."""
        driver: Any = connection.connection.driver_connection
        driver.create_function("storewatch_number", 1, parse, deterministic=True)
        return [sa.func.storewatch_number(column) for column in columns]

    def insert_or_lock(self, table: sa.Table, row: dict[str, Any], key: str) -> sa.Insert:
        """The transaction's BEGIN IMMEDIATE locks all there is."""
        return table.insert().prefix_with("OR IGNORE").values(row)

    def upsert(
        self, table: sa.Table, rows: sa.Select[Any], changes: Callable[[Columns, Pick, Pick], Changes]
    ) -> sa.Insert:
        """INSERT ... ON CONFLICT DO UPDATE."""
        insert = sqlite.insert(table).from_select(table.c.keys(), rows)
        values = dict(changes(insert.excluded, sa.func.min, sa.func.max))
        return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)

    def is_text_id(self, column: sa.ColumnElement[Any], type_code: Any, execute: Execute) -> bool:
        """Ask for the type of one value; an empty table counts as one of integers."""
        statement = sa.select(sa.func.typeof(column)).where(column.is_not(None)).limit(1)
        return execute(statement).scalar() not in ("integer", None)

    def is_instant(self, type_code: Any) -> bool:
        """SQLite has no times, only texts and numbers."""
        return False

    def datetime_type(self) -> sa.types.TypeEngine[Any]:
        """ISO text sorts as the times do."""
        return sa.String(32)

    def datetime_parameter(self, local: datetime) -> Any:
        """Return the ISO text."""
        return local.isoformat(" ", "microseconds")


class MySql(Dialect):
    """A server of MySQL or MariaDB, by way of PyMySQL."""

    name = "mysql"
    is_remote = True
    declares_types = True
    placeholder = "%s"
    ping = "SELECT 1"
    packs_readings = True

    TIME_LIMIT_CODES = frozenset({1969, 3024})
    """Error codes of MariaDB and of MySQL."""
    # PyMySQL's type codes.
    TEXT_TYPES = frozenset({15, 249, 250, 251, 252, 253, 254})
    INTEGER_TYPES = frozenset({0, 1, 2, 3, 8, 9, 246})
    """TINY SHORT LONG LONGLONG INT24 DECIMAL NEWDECIMAL."""
    TIMESTAMP_TYPE = 7
    NUMBER = r"^[[:space:]]*[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)(e[-+]?[0-9]+)?[[:space:]]*$"
    LONGEST_GROUP = 16_000_000
    """Bytes in one text of GROUP_CONCAT; by default MySQL cuts it off after 1024."""

    def address(self, settings: DatabaseSettings, limits: Limits) -> tuple[sa.URL, dict[str, Any]]:
        """Return the server's URL. It has no password: in a URL, one with an @ in it names another host."""
        url = sa.URL.create(
            "mysql+pymysql",
            username=settings.user or None,
            host=settings.host,
            port=settings.port,
            database=settings.name or None,
        )
        return url, {
            # As bytes: a password that is text the driver takes for Latin-1, unlike everybody else.
            "password": settings.password.encode(),
            "charset": "utf8mb4",
            "connect_timeout": limits.connect,
            "read_timeout": limits.read,
            "write_timeout": limits.read,
        }

    def prepare_connections(self, engine: sa.Engine, settings: DatabaseSettings, limits: Limits, writes: bool) -> None:
        """Set the session's zone, its time limits, and whether it may write."""

        @sa.event.listens_for(engine, "connect")
        def set_up(connection: Any, _record: object) -> None:
            # TIMESTAMP columns and FROM_UNIXTIME answer in the session's zone: let that be UTC, wherever the server is.
            statements = ["SET SESSION time_zone = '+00:00'"]
            if "mariadb" in connection.get_server_info().lower():
                statements.append(f"SET SESSION max_statement_time = {limits.statement}")
            else:
                statements.append(f"SET SESSION max_execution_time = {round(limits.statement * 1000)}")
            if limits.idle_timeout_s is not None:
                statements.append(f"SET SESSION wait_timeout = {limits.idle_timeout_s}")
            if not writes:
                statements.append("SET SESSION TRANSACTION READ ONLY")
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)

    def limit_work(self, connection: sa.Connection, seconds: float) -> None:
        """The session has its limit."""

    def prepare_storage(self, settings: DatabaseSettings) -> None:
        """The administrator creates the database."""

    def lock_migrations(self, connection: sa.Connection) -> None:
        """MySQL commits around every CREATE TABLE, so two processes that start together need a lock of their own."""
        connection.execute(sa.text("SELECT GET_LOCK('storewatch.migrate', 60)"))

    def read_committed(self, connection: sa.Connection) -> None:
        """For this transaction alone: to be undone, it would have to be asked of the database again."""
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"))

    def is_time_limit(self, error: sa.exc.DBAPIError) -> bool:
        """Whether the error has the code of MariaDB's or of MySQL's limit."""
        return error.orig is not None and error.orig.args[0] in self.TIME_LIMIT_CODES

    def server_time(self, connection: sa.Connection) -> datetime:
        """Return the server's UTC_TIMESTAMP, to the millisecond."""
        statement = sa.select(sa.func.utc_timestamp(3, type_=mysql.DATETIME(fsp=3)))
        naive: datetime = connection.execute(statement).scalar_one()
        return naive.replace(tzinfo=UTC)

    def seconds_since_1970(self, time: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
        """Not UNIX_TIMESTAMP: it ends in 2038."""
        raw = sa.type_coerce(time, sa.types.NULLTYPE)
        return sa.func.timestampdiff(sa.text("SECOND"), "1970-01-01", raw, type_=sa.BigInteger)

    def divide(self, dividend: sa.ColumnElement[int], divisor: int) -> sa.ColumnElement[int]:
        """To MySQL, / of two integers is a decimal."""
        return dividend.op("DIV")(divisor)

    def text_bytes(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Most of MySQL's collations ignore case, and blanks at the end."""
        return sa.cast(sa.cast(column, mysql.CHAR(charset="utf8mb4")), sa.LargeBinary)

    def grouped_text(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """To most of MySQL's collations 'A' and 'a' would be one group."""
        return self.text_bytes(column)

    def numbers(
        self, connection: sa.Connection, columns: Sequence[sa.ColumnElement[Any]], parse: Callable[[Any], float | None]
    ) -> list[sa.ColumnElement[Any]]:
        """Convert the columns that are texts by a pattern that finds what `parse` does."""
        cursor: Any = connection.execute(sa.select(*columns).limit(0)).cursor
        return [
            self._number(column, description[1])
            for column, description in zip(columns, cursor.description, strict=True)
        ]

    def _number(self, column: sa.ColumnElement[Any], type_code: int) -> sa.ColumnElement[Any]:
        value = sa.type_coerce(column, sa.Double) + sa.literal_column("0e0")  # DECIMAL and BIT, too, become a double
        return sa.case((column.regexp_match(self.NUMBER), value)) if type_code in self.TEXT_TYPES else value

    def packed_readings(
        self, connection: sa.Connection, time: sa.ColumnElement[Any], value: sa.ColumnElement[Any], rank: Any
    ) -> sa.ColumnElement[str]:
        """PyMySQL needs 6 us for a row, and so 0.3 us for a reading."""
        connection.exec_driver_sql(f"SET SESSION group_concat_max_len = {self.LONGEST_GROUP}")
        microseconds = sa.func.timestampdiff(sa.text("MICROSECOND"), "1970-01-01", time)
        each = sa.func.aggregate_strings(sa.func.concat(microseconds, " ", sa.func.coalesce(value, "")), ",")
        return each.aggregate_order_by(time, rank)

    def insert_or_lock(self, table: sa.Table, row: dict[str, Any], key: str) -> sa.Insert:
        """INSERT ... ON DUPLICATE KEY UPDATE of what stands there already."""
        return mysql.insert(table).values(row).on_duplicate_key_update({key: row[key]})

    def upsert(
        self, table: sa.Table, rows: sa.Select[Any], changes: Callable[[Columns, Pick, Pick], Changes]
    ) -> sa.Insert:
        """INSERT ... ON DUPLICATE KEY UPDATE."""
        insert = mysql.insert(table).from_select(table.c.keys(), rows)
        return insert.on_duplicate_key_update(changes(insert.inserted, sa.func.least, sa.func.greatest))

    def is_text_id(self, column: sa.ColumnElement[Any], type_code: Any, execute: Execute) -> bool:
        """Whether the column's type is none of whole numbers, DECIMAL among them."""
        return type_code not in self.INTEGER_TYPES

    def is_instant(self, type_code: Any) -> bool:
        """Whether the column is a TIMESTAMP."""
        return type_code == self.TIMESTAMP_TYPE  # type: ignore[no-any-return]

    def datetime_type(self) -> sa.types.TypeEngine[Any]:
        """A plain DATETIME of MySQL rounds to seconds."""
        return mysql.DATETIME(fsp=3)

    def datetime_parameter(self, local: datetime) -> Any:
        """Return it as it is."""
        return local


DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (Sqlite(), MySql())}
"""By name."""


def dialect_for(settings: DatabaseSettings) -> Dialect:
    """Return the dialect of a database that is not open yet."""
    return DIALECTS[settings.kind]


def dialect_of(connection: sa.Connection) -> Dialect:
    """Return the dialect that a connection speaks."""
    return DIALECTS[connection.dialect.name]
