"""The dialect of MySQL and MariaDB."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pymysql
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from db.dialects import mysql_text
from db.dialects.interface import Changes, Columns, Dialect, Execute, Pick
from db.dialects.mysql_errors import FAILURES
from db.failures import Failure
from db.limits import Limits
from db.plausible import plausible
from errors import Unreachable
from settings import Database as DatabaseSettings

INCOMPLETE_PACKET = (pymysql.err.OperationalError, pymysql.err.InternalError)


class MySql(Dialect):
    """A MySQL or MariaDB server, with the driver PyMySQL."""

    name = "mysql"
    is_remote = True
    declares_types = True
    placeholder = "%s"
    ping = "SELECT 1"
    packs_readings = True
    unreachable = frozenset({Failure.LOST, Failure.TIME_LIMIT, Failure.STORAGE, Failure.READ_ONLY, Failure.BUSY})

    LOCK_WAIT_S = 60
    """Maximum time to wait until another process has finished its migrations."""
    # PyMySQL's type codes.
    TEXT_TYPES = frozenset({15, 249, 250, 251, 252, 253, 254})
    INTEGER_TYPES = frozenset({0, 1, 2, 3, 8, 9, 246})
    """Type codes of DECIMAL, TINY, SHORT, LONG, LONGLONG, INT24 and NEWDECIMAL."""
    TIMESTAMP_TYPE = 7
    NUMBER = r"^[[:space:]]*[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)(e[-+]?[0-9]+)?[[:space:]]*$"
    LONGEST_GROUP = 16_000_000
    """Maximum number of bytes in the result of GROUP_CONCAT. MySQL's default is 1024."""

    def address(self, settings: DatabaseSettings, limits: Limits) -> tuple[sa.URL, dict[str, Any]]:
        """Return the server's URL without the password, because an @ in a password would change the host of the URL."""
        url = sa.URL.create(
            "mysql+pymysql",
            username=settings.user or None,
            host=settings.host,
            port=settings.port,
            database=settings.name or None,
        )
        return url, {
            # The password is passed as bytes, because PyMySQL encodes a string in Latin-1. Other clients use UTF-8.
            "password": settings.password.encode(),
            "charset": "utf8mb4",
            "connect_timeout": limits.connect,
            "read_timeout": limits.read,
            "write_timeout": limits.read,
        }

    def prepare_connections(self, engine: sa.Engine, settings: DatabaseSettings, limits: Limits, writes: bool) -> None:
        """Set the session's time zone, time limits and read-only mode."""

        @sa.event.listens_for(engine, "connect")
        def set_up(connection: Any, _record: object) -> None:
            connection.encoding = mysql_text.ENCODING
            # TIMESTAMP columns and FROM_UNIXTIME return times in the session's time zone, so set it to UTC.
            statements = ["SET SESSION time_zone = '+00:00'"]
            if "mariadb" in connection.get_server_info().lower():
                statements.append(f"SET SESSION max_statement_time = {limits.statement}")
            else:
                statements.append(f"SET SESSION max_execution_time = {round(limits.statement * 1000)}")
            if limits.idle_timeout_s is not None:
                statements.append(f"SET SESSION wait_timeout = {limits.idle_timeout_s}")
            if writes:
                # Without the strict mode, MariaDB truncates texts that are too long, for example in the middle of JSON.
                statements.append("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')")
            else:
                statements.append("SET SESSION TRANSACTION READ ONLY")
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)

    def limit_work(self, connection: sa.Connection, seconds: float) -> None:
        """Do nothing: `prepare_connections` has already set a time limit for the session."""

    def prepare_storage(self, settings: DatabaseSettings) -> None:
        """Do nothing: the administrator creates the database."""

    def check_storage(self, connection: sa.Connection, settings: DatabaseSettings) -> None:
        """Do nothing: the server checks its own files."""

    def lock_migrations(self, connection: sa.Connection, settings: DatabaseSettings) -> None:
        """Acquire a named lock. A transaction is not enough, because MySQL commits at each CREATE TABLE.

        If the connection is lost, the server releases the lock and executes no further statement of the migration.
        """
        name = self.lock_name(settings.name)
        # 1: acquired; 0: timed out; null: the server could not wait for the lock
        if connection.scalar(sa.select(sa.func.get_lock(name, self.LOCK_WAIT_S))) == 1:
            return
        holder = connection.scalar(sa.select(sa.func.is_used_lock(name)))
        if holder is None:
            raise Unreachable(f"database: {settings!r} did not give the lock for migrations; try again")
        raise Unreachable(
            f"database: another process is creating or upgrading Storewatch's own tables in {settings!r} and has not "
            f"finished after {self.LOCK_WAIT_S} s; its connection to the database has the id {holder}; "
            "wait until it has finished"
        )

    def lock_name(self, database: str) -> str:
        """Return the name of the lock for migrations of this database.

        Locks belong to the whole server, and their names have at most 64 characters. The name contains a hash, because
        the name of the database alone can have 64 characters. Depending on the server, `Site` and `site` are the same
        database, so they have the same lock.
        """
        return f"storewatch.migrate.{hashlib.sha256(database.lower().encode()).hexdigest()[:40]}"

    def copy_storage(self, settings: DatabaseSettings, version: str) -> None:
        """Do nothing: docs/operating.md tells the administrator how to dump the tables before an upgrade."""

    def advice(self, settings: DatabaseSettings, error: sa.exc.DBAPIError) -> str:
        """Return an empty text: the server's error messages say what is wrong."""
        return ""

    def read_committed(self, connection: sa.Connection) -> None:
        """Set the isolation level for the next transaction only, because a level of the session would need a reset."""
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"))

    def failure(self, error: BaseException | None) -> Failure:
        """Return the kind of the error, by its code."""
        if isinstance(error, pymysql.err.InterfaceError):  # the driver has already closed the connection
            return Failure.LOST
        code = error.args[0] if error is not None and error.args else None
        if isinstance(code, int) and code != 0:
            return FAILURES.get(code, Failure.OTHER)
        # PyMySQL raises such errors without a code, or with the code 0, if the server's packets end too early.
        return Failure.LOST if isinstance(error, INCOMPLETE_PACKET) else Failure.OTHER

    def server_time(self, connection: sa.Connection) -> datetime:
        """Return the server's UTC_TIMESTAMP, to the millisecond."""
        statement = sa.select(sa.func.utc_timestamp(3, type_=mysql.DATETIME(fsp=3)))
        naive: datetime = connection.execute(statement).scalar_one()
        return naive.replace(tzinfo=UTC)

    def seconds_since_1970(self, time: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
        """Return TIMESTAMPDIFF, because UNIX_TIMESTAMP ends in 2038."""
        raw = sa.type_coerce(time, sa.types.NULLTYPE)
        return sa.func.timestampdiff(sa.text("SECOND"), "1970-01-01", raw, type_=sa.BigInteger)

    def divide(self, dividend: sa.ColumnElement[int], divisor: int) -> sa.ColumnElement[int]:
        """Return a division with DIV, because `/` of two integers is a decimal in MySQL."""
        return dividend.op("DIV")(divisor)

    def text_bytes(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return the text's bytes, because most MySQL collations ignore case and trailing blanks."""
        return sa.cast(sa.cast(column, mysql.CHAR(charset="utf8mb4")), sa.LargeBinary)

    def grouped_text(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return the text's bytes, because 'A' and 'a' are in one group in most MySQL collations."""
        return self.text_bytes(column)

    def numbers(
        self, connection: sa.Connection, columns: Sequence[sa.ColumnElement[Any]], parse: Callable[[Any], float | None]
    ) -> list[sa.ColumnElement[Any]]:
        """Return an expression of the type DOUBLE for each column.

        A text becomes null if it does not match the pattern `NUMBER`, which accepts the same texts as `parse`.
        """
        cursor: Any = connection.execute(sa.select(*columns).limit(0)).cursor
        return [
            self._number(column, description[1])
            for column, description in zip(columns, cursor.description, strict=True)
        ]

    def _number(self, column: sa.ColumnElement[Any], type_code: int) -> sa.ColumnElement[Any]:
        value = sa.type_coerce(column, sa.Double) + sa.literal_column("0e0")  # DECIMAL and BIT become doubles too
        if type_code in self.TEXT_TYPES:
            value = sa.case((column.regexp_match(self.NUMBER), value))
        return plausible(value)

    def packed_readings(
        self, connection: sa.Connection, time: sa.ColumnElement[Any], value: sa.ColumnElement[Any], rank: Any
    ) -> sa.ColumnElement[str]:
        """Return a GROUP_CONCAT of the readings. PyMySQL needs 6 us to fetch a row, but 0.3 us for a packed reading."""
        connection.exec_driver_sql(f"SET SESSION group_concat_max_len = {self.LONGEST_GROUP}")
        microseconds = sa.func.timestampdiff(sa.text("MICROSECOND"), "1970-01-01", time)
        each = sa.func.aggregate_strings(sa.func.concat(microseconds, " ", sa.func.coalesce(value, "")), ",")
        return each.aggregate_order_by(time, rank)

    def insert_or_lock(self, table: sa.Table, row: dict[str, Any], key: str) -> sa.Insert:
        """Return INSERT ... ON DUPLICATE KEY UPDATE. The update locks an existing row without changing the row."""
        return mysql.insert(table).values(row).on_duplicate_key_update({key: row[key]})

    def upsert(
        self, table: sa.Table, rows: sa.Select[Any], changes: Callable[[Columns, Pick, Pick], Changes]
    ) -> sa.Insert:
        """Return INSERT ... ON DUPLICATE KEY UPDATE."""
        insert = mysql.insert(table).from_select(table.c.keys(), rows)
        return insert.on_duplicate_key_update(changes(insert.inserted, sa.func.least, sa.func.greatest))

    def is_text_id(self, column: sa.ColumnElement[Any], type_code: Any, execute: Execute) -> bool:
        """Return whether the column's type is not an integer type. DECIMAL counts as an integer type."""
        return type_code not in self.INTEGER_TYPES

    def is_instant(self, type_code: Any) -> bool:
        """Return whether the column is a TIMESTAMP."""
        return type_code == self.TIMESTAMP_TYPE  # type: ignore[no-any-return]

    def can_contain(self, column: sa.ColumnElement[Any], execute: Execute) -> Callable[[str], bool]:
        """Return the check for the column's character set. A column in `latin1` cannot store most characters."""
        # The outer join returns a row even if the table is empty.
        first = sa.select(column.label("text")).limit(1).subquery()
        always = sa.select(sa.literal(1).label("always")).subquery()
        joined = always.outerjoin(first, sa.true())
        charset = execute(sa.select(sa.func.charset(first.c.text)).select_from(joined)).scalar()
        return mysql_text.check_for(str(charset))

    def datetime_type(self) -> sa.types.TypeEngine[Any]:
        """Return DATETIME(3), because a plain DATETIME in MySQL rounds to seconds."""
        return mysql.DATETIME(fsp=3)

    def datetime_parameter(self, local: datetime) -> Any:
        """Return the date-time unchanged."""
        return local
