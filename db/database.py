"""A database: an engine, a thread pool with one thread per connection, and time limits for every query.

A query runs in a worker thread, so a slow or hanging database never blocks the event loop. A query has three time
limits, and each limit is longer than the previous one. The first is the database's own statement limit, which stops the
statement and keeps the connection usable. The second is the driver's limit on the socket. The third is the caller's
limit.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

import sqlalchemy as sa

from db.condition import Condition
from db.dialects import dialect_for
from db.failures import CANNOT_WRITE, OUTDATED_CONNECTION, OUTDATED_POOL, Failure
from db.limits import QUESTION_LIMITS, Limits
from errors import NotRecorded, Unavailable, Unreachable, UsageError
from settings import Database as DatabaseSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

DATABASE_ERRORS = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError, sa.exc.TimeoutError)
"""The exceptions that SQLAlchemy raises if the database itself fails. An error that affects only one query raises
another exception."""
OPENED_AT = "opened_at"
"""The key under which the pool stores when it opened a connection."""


class Database:
    """A database. Use `run` in the event loop, and `engine` in programs without an event loop.

    By default, connections are read-only and in autocommit mode. Each query therefore sees the newest committed data
    and leaves no locks behind. If `writes` is true, `engine.begin()` opens a transaction that can write.

    `purpose` says in the log for what the connections are needed. Several pools of one database share its `condition`.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        limits: Limits = QUESTION_LIMITS,
        workers: int = 8,
        *,
        writes: bool = False,
        purpose: str = "queries",
        condition: Condition | None = None,
    ) -> None:
        self.settings = settings
        self.limits = limits
        self._purpose = purpose
        self._condition = condition or Condition(repr(settings))
        self.answering = True
        """False while the database does not answer the heartbeat. `run` then raises `Unavailable` without waiting."""
        self._writes = writes
        self.prepared = True
        """False from the start of the server until it has prepared the database. `run` then raises `Unavailable`."""
        self._dialect = dialect_for(settings)
        self.engine = self._create_engine(workers, writes)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="database")

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Call `work(connection)` in a worker thread and return its result.

        Raise `Unavailable` if the database does not answer within `limits.answer` seconds. If `writes` is set and the
        work was certainly not recorded, raise `NotRecorded`: the database cannot be reached, or refuses to write.
        """
        if not (self.answering and self.prepared):
            raise Unavailable("the database does not answer")
        loop = asyncio.get_running_loop()
        try:
            # After a time-out, the thread continues until the driver's limit, and its result is discarded.
            # asyncio.wait_for in Python 3.11 loses a cancellation that arrives together with the result.
            async with asyncio.timeout(self.limits.answer):
                # The thread needs the caller's context, because log lines contain the connection from it.
                return await loop.run_in_executor(self._threads, copy_context().run, self._work, work)
        except TimeoutError:
            self._condition.failed(self._purpose, Failure.LOST, f"no answer within {self.limits.answer:g} s")
            raise Unavailable("the database does not answer in time") from None

    def _work(self, work: Callable[[sa.Connection], T]) -> T:
        connected = False
        try:
            with self.engine.connect() as connection:
                connected = True
                self._dialect.limit_work(connection, self.limits.statement)
                result = work(connection)
        except (*DATABASE_ERRORS, sa.exc.DatabaseError) as error:
            failure = self._dialect.failure(error.orig if isinstance(error, sa.exc.DBAPIError) else None)
            is_refused = failure in CANNOT_WRITE
            if not is_refused and not isinstance(error, DATABASE_ERRORS):
                raise
            log.debug("query on %r failed: %s", self.settings, error)
            self._condition.failed(self._purpose, failure, reason(error))
            if self._writes and (is_refused or not connected):
                message = "the database cannot be written, so nothing was recorded; try again later"
                raise NotRecorded(message, reason="not_recorded") from error
            raise Unavailable("the database does not answer") from error
        except Exception as error:
            if connected:
                raise
            # PyMySQL raises errors such as struct.error if a server's greeting is invalid.
            self._condition.failed(self._purpose, Failure.LOST, f"invalid answer of the server: {error!r}")
            raise Unavailable("the database does not answer") from error
        self._condition.answered()
        return result

    def close(self) -> None:
        """Release the threads and connections. Do not wait for a database that hangs."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.engine.dispose()

    def _create_engine(self, workers: int, writes: bool) -> sa.Engine:
        url, arguments = self._dialect.address(self.settings, self.limits)
        engine = sa.create_engine(
            url,
            connect_args=arguments,
            poolclass=sa.QueuePool,
            pool_size=workers,
            max_overflow=0,
            pool_timeout=self.limits.connect,
            pool_pre_ping=True,
            # A reset is not necessary: the code that begins a transaction also ends it, and queries have no
            # transaction. A rollback at each return to the pool could let a caller that already has its result wait for
            # a hanging database.
            pool_reset_on_return=None,
            **({} if writes else {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}),
        )
        self._dialect.prepare_connections(engine, self.settings, self.limits, writes)
        self._replace_bad_connections(engine)
        return engine

    def _replace_bad_connections(self, engine: sa.Engine) -> None:
        """Let the pool replace each connection after an error that a new connection may not have.

        SQLAlchemy itself replaces only connections that the driver reports as closed.
        """

        @sa.event.listens_for(engine, "connect")
        def opened(_connection: object, record: sa.pool.ConnectionPoolEntry) -> None:
            record.info[OPENED_AT] = self._condition.now()

        @sa.event.listens_for(engine, "checkout")
        def check(_connection: object, record: sa.pool.ConnectionPoolEntry, _proxy: object) -> None:
            if self._condition.is_outdated(record.info[OPENED_AT]):
                raise sa.exc.DisconnectionError  # the pool then opens a new connection

        @sa.event.listens_for(engine, "handle_error")
        def examine(context: sa.engine.ExceptionContext) -> None:
            failure = self._dialect.failure(context.original_exception)
            if failure is Failure.LOST:
                context.is_disconnect = True
            elif failure in OUTDATED_CONNECTION and context.connection is not None:
                # The caller can still end its transaction. The pool replaces the connection before its next use.
                context.connection.connection.invalidate(soft=True)
                if failure in OUTDATED_POOL:
                    self._condition.renew(context.connection.info[OPENED_AT])


def reach(settings: DatabaseSettings) -> None:
    """Connect to the database once, and search a database file for damage.

    Raise `UsageError` within a few seconds if this fails or the database hangs.
    """
    database = Database(settings, QUESTION_LIMITS, 1)
    try:
        with database.engine.connect() as connection:
            dialect_for(settings).check_storage(connection, settings)
    except sa.exc.DBAPIError as error:
        raise database_error(f"cannot open {settings!r}", settings, error) from None
    finally:
        database.close()


def database_error(problem: str, settings: DatabaseSettings, error: sa.exc.DBAPIError) -> UsageError:
    """Return the error for an operator: `Unreachable` if a retry may succeed, otherwise a plain `UsageError`.

    The error has one line: the problem, such as "cannot open ...", the database's own message, and what to do.
    """
    dialect = dialect_for(settings)
    kind = Unreachable if dialect.is_unreachable(error) else UsageError
    return kind(f"database: {problem}: {reason(error)}{dialect.advice(settings, error)}")


def reason(error: sa.exc.SQLAlchemyError) -> str:
    """Return the database's own error message as one line."""
    original = error.orig if isinstance(error, sa.exc.DBAPIError) else None
    words = original.args[-1] if original is not None and original.args else error
    return " ".join(str(words).split())
