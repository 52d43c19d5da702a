"""The interface `Dialect`, which contains everything that depends on the kind of database."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy as sa

from db.failures import Failure
from db.limits import Limits
from settings import Database as DatabaseSettings

Columns = sa.ColumnCollection[str, Any]
Pick = Callable[[Any, Any], sa.ColumnElement[Any]]
"""A function of two SQL expressions. It returns an SQL expression for the smaller, or for the larger, of the two
values."""
Changes = list[tuple[str, sa.ColumnElement[Any]]]
"""Names of columns and their new values. MySQL sets the columns in this order. If an expression uses a column that
comes earlier in the list, it therefore sees the new value of that column."""
Execute = Callable[[sa.Executable], sa.CursorResult[Any]]


class Dialect(ABC):
    """Interface for the differences between kinds of databases, such as SQLite and MySQL. Instances have no state."""

    name: ClassVar[str]
    """Name of the kind of database, in SQLAlchemy and in the setting `database.kind`."""
    is_remote: ClassVar[bool]
    """Whether connections to the database go over a network and may hang."""
    declares_types: ClassVar[bool]
    """Whether each column has a declared type. If this is false, a column can contain values of different types."""
    placeholder: ClassVar[str]
    """The driver's placeholder for a parameter of a statement."""
    ping: ClassVar[str]
    """A statement that only a working database can answer."""
    packs_readings: ClassVar[bool] = False
    """Whether `packed_readings` is implemented and is faster than fetching one row per reading."""

    unreachable: ClassVar[frozenset[Failure]]
    """The kinds of errors after which the server tries to reach the database again. Others mean a wrong setting."""

    # Connections.

    @abstractmethod
    def address(self, settings: DatabaseSettings, limits: Limits) -> tuple[sa.URL, dict[str, Any]]:
        """Return the engine's URL and the driver's connect arguments."""

    @abstractmethod
    def prepare_connections(self, engine: sa.Engine, settings: DatabaseSettings, limits: Limits, writes: bool) -> None:
        """Let the engine set up each new connection: its time limits, time zone and read-only mode."""

    @abstractmethod
    def limit_work(self, connection: sa.Connection, seconds: float) -> None:
        """Limit statements on this connection to `seconds`, unless `prepare_connections` has already limited them."""

    @abstractmethod
    def prepare_storage(self, settings: DatabaseSettings) -> None:
        """Create everything that must exist before a new database can be opened. Raise `UsageError` if this fails."""

    @abstractmethod
    def check_storage(self, connection: sa.Connection, settings: DatabaseSettings) -> None:
        """Search a database file for damage, for at most a second.

        Raise `UsageError` or `DBAPIError` if the file is damaged or cannot be read.
        """

    @abstractmethod
    def lock_migrations(self, connection: sa.Connection, settings: DatabaseSettings) -> None:
        """Wait for the lock that lets one process at a time run migrations. Keep it until the connection is closed.

        Each database has its own lock. Raise `Unreachable` if another process keeps the lock for too long.
        """

    @abstractmethod
    def copy_storage(self, settings: DatabaseSettings, version: str) -> None:
        """Copy the database before its tables are upgraded from `version`, if the database is a file.

        Raise `UsageError` if the copy cannot be written.
        """

    @abstractmethod
    def advice(self, settings: DatabaseSettings, error: sa.exc.DBAPIError) -> str:
        """Return what the operator can do about the error, as the end of a line such as "; make room on the disk".

        Return an empty text if the database's own error message is enough.
        """

    @abstractmethod
    def read_committed(self, connection: sa.Connection) -> None:
        """Use the isolation level READ COMMITTED for the next transaction.

        The transaction then sees the commits of other transactions, and does not lock the rows that it reads.
        """

    @abstractmethod
    def failure(self, error: BaseException | None) -> Failure:
        """Return the kind of an error that the driver raised (`DBAPIError.orig`)."""

    def is_time_limit(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether the database ended a statement because of its time limit."""
        return self.failure(error.orig) is Failure.TIME_LIMIT

    def is_row_error(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether the database rejected the data of a statement. Other data may then succeed on the connection.

        Return False for errors of the database, the connection or the statement itself.
        """
        return isinstance(error, sa.exc.DataError | sa.exc.IntegrityError) or self.failure(error.orig) is Failure.DATA

    def is_unreachable(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether the database cannot be reached or cannot work at the moment, so that a retry may succeed.

        Return False if a setting is wrong: for example, the database denies access, or a table does not exist.
        """
        return self.failure(error.orig) in self.unreachable

    @abstractmethod
    def server_time(self, connection: sa.Connection) -> datetime:
        """Return the database's time, in UTC."""

    # Expressions.

    @abstractmethod
    def seconds_since_1970(self, time: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
        """Convert a naive time in UTC to the seconds since 1970, rounded down."""

    @abstractmethod
    def divide(self, dividend: sa.ColumnElement[int], divisor: int) -> sa.ColumnElement[int]:
        """Return the quotient of two integers, rounded towards zero."""

    @abstractmethod
    def text_bytes(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return a text's UTF-8 bytes, because in comparisons many collations treat 'A' as 'a', and 'x ' as 'x'."""

    @abstractmethod
    def grouped_text(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return an SQL expression for GROUP BY that never puts two different texts of the column in one group."""

    @abstractmethod
    def numbers(
        self, connection: sa.Connection, columns: Sequence[sa.ColumnElement[Any]], parse: Callable[[Any], float | None]
    ) -> list[sa.ColumnElement[Any]]:
        """Return a numeric SQL expression for each column in `columns`, which may have any type.

        The expression is null for a value for which `parse` returns None.
        """

    def packed_readings(
        self, connection: sa.Connection, time: sa.ColumnElement[Any], value: sa.ColumnElement[Any], rank: Any
    ) -> sa.ColumnElement[str]:
        """Return an SQL expression for one text that contains all readings of a GROUP BY group.

        The readings are ordered by time, and then by `rank`. The format of the text is "microseconds-since-1970
        value,...". A null value is empty in the text. Use the expression only on `connection`.
        """
        raise NotImplementedError

    # Statements.

    @abstractmethod
    def insert_or_lock(self, table: sa.Table, row: dict[str, Any], key: str) -> sa.Insert:
        """Return a statement that inserts `row`. If its `key` already exists, the statement locks the existing row."""

    @abstractmethod
    def upsert(
        self, table: sa.Table, rows: sa.Select[Any], changes: Callable[[Columns, Pick, Pick], Changes]
    ) -> sa.Insert:
        """Return a statement that inserts the result of the query `rows`, which has all columns of the table.

        If a row with the same primary key already exists, the statement applies `changes(new, least, greatest)` to that
        row. `new` contains the columns of the new row. `least` and `greatest` return the expression for the smaller and
        for the larger of two values.
        """

    # Columns of a site's own tables. `type_code` is the column's type code in the driver's cursor.

    @abstractmethod
    def is_text_id(self, column: sa.ColumnElement[Any], type_code: Any, execute: Execute) -> bool:
        """Return whether an id column contains text rather than integers."""

    @abstractmethod
    def is_instant(self, type_code: Any) -> bool:
        """Return whether a time column contains instants (which the driver returns in UTC) rather than local times."""

    @abstractmethod
    def can_contain(self, column: sa.ColumnElement[Any], execute: Execute) -> Callable[[str], bool]:
        """Return a function that returns whether a text consists of characters that the text column can store.

        A comparison of the column with any other text may fail.
        """

    # Columns of Storewatch's own tables.

    @abstractmethod
    def datetime_type(self) -> sa.types.TypeEngine[Any]:
        """Return the column type of a naive date-time with a precision of at least milliseconds."""

    @abstractmethod
    def datetime_parameter(self, local: datetime) -> Any:
        """Convert a naive date-time to the parameter that the driver needs."""
