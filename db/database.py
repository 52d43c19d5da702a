"""The database: an engine, as many worker threads as connections, and a time limit on every question.

A question runs in a worker thread, so that a slow or hanging database never stops the event loop. Three limits end it,
each longer than the one before: the server's own (the statement really ends, the connection stays usable), the driver's
on the socket, and the caller's.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

import sqlalchemy as sa

from db.dialects import dialect_for
from db.limits import QUESTION_LIMITS, Limits
from errors import Unavailable, UsageError
from settings import Database as DatabaseSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

DATABASE_ERRORS = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError, sa.exc.TimeoutError)
"""What SQLAlchemy raises when the database, not the question, is at fault."""


class Database:
    """A database to ask from the event loop (`run`), or to work on directly where there is none (`engine`).

    For questions, each statement stands alone (autocommit: no stale snapshot, no lock kept) and may only read. With
    `writes`, `engine.begin()` opens a transaction.
    """

    def __init__(
        self, settings: DatabaseSettings, limits: Limits = QUESTION_LIMITS, workers: int = 8, *, writes: bool = False
    ) -> None:
        self.settings = settings
        self.limits = limits
        self.answering = True
        """False while the heartbeat gets no answer: questions are then refused at once instead of queueing."""
        self._dialect = dialect_for(settings)
        self.engine = self._create_engine(workers, writes)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="database")

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Return `work(connection)`, done in a worker thread.

        Raises `Unavailable` when the database does not answer within `limits.answer` seconds.
        """
        if not self.answering:
            raise Unavailable("the database does not answer")
        loop = asyncio.get_running_loop()
        try:
            # The thread goes on until the driver's limit; what it brings then goes nowhere.
            # Not wait_for: that of Python 3.11 loses a cancellation which meets the answer.
            async with asyncio.timeout(self.limits.answer):
                # In the caller's context, so that what is logged there says for which connection it was done.
                return await loop.run_in_executor(self._threads, copy_context().run, self._work, work)
        except TimeoutError:
            raise Unavailable("the database does not answer in time") from None

    def _work(self, work: Callable[[sa.Connection], T]) -> T:
        try:
            with self.engine.connect() as connection:
                self._dialect.limit_work(connection, self.limits.statement)
                return work(connection)
        except DATABASE_ERRORS as error:
            log.debug("%r: %s", self.settings, error)
            raise Unavailable("the database does not answer") from error

    def close(self) -> None:
        """Let go of threads and connections, without waiting for a database that hangs."""
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
            # Every transaction is ended by the code that began it, and a question has none. A rollback for each return
            # to the pool would let a caller that has its answer wait for a database that hangs since.
            pool_reset_on_return=None,
            **({} if writes else {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}),
        )
        self._dialect.prepare_connections(engine, self.settings, self.limits, writes)
        return engine


def reach(settings: DatabaseSettings) -> None:
    """Connect once; raises `UsageError`, within seconds, saying why the database refuses us or that it hangs."""
    database = Database(settings, QUESTION_LIMITS, 1)
    try:
        with database.engine.connect():
            pass
    except sa.exc.DBAPIError as error:
        raise UsageError(f"database: cannot open {settings!r}: {reason(error)}") from None
    finally:
        database.close()


def reason(error: sa.exc.DBAPIError) -> str:
    """Return the database's own words for what went wrong, in one line."""
    original = error.orig
    words = original.args[-1] if original is not None and original.args else error
    return " ".join(str(words).split())
