"""The database: an engine, as many worker threads as connections, and a time limit on every question.

A question runs in a worker thread, so that a slow or silent database never stops the event loop. Three limits end it,
each inside the next: the server's own (the query really ends, the connection stays usable), the driver's on the
socket, and the asker's patience.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from errors import Unavailable, UsageError
from settings import Database as DatabaseSettings

log = logging.getLogger("database")

T = TypeVar("T")

MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class Limits:
    """How long things may take, in seconds."""

    connect: float = 2.0
    statement: float = 2.0
    read: float = 2.4
    answer: float = 2.7
    silence: int | None = None
    """How long the server keeps a connection, and what it has locked, for one of whom it hears nothing."""


ASKING = Limits()
"""For questions: a browser is answered within 3 s."""
KEEPING = Limits(silence=3)
"""For what only one process may do at a time: one that froze half way must not keep the others from going on."""
BEATING = Limits(connect=1.0, statement=0.8, read=1.0, answer=1.1)
"""For the heartbeat: a loss is noticed within 1.5 s."""
WORKING = Limits(connect=5.0, statement=600.0, read=630.0, answer=660.0)
"""For imports, migrations and the making of the demo: nobody waits for these."""

LOST = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError, sa.exc.TimeoutError)
"""What SQLAlchemy raises when the database, not the question, is at fault."""


class Database:
    """A database to ask from the event loop (`run`), or to work on directly where there is none (`engine`).

    For asking, each statement stands alone (autocommit: no stale snapshot, no lock kept) and may only read. With
    `writes`, `engine.begin()` opens a transaction.
    """

    def __init__(
        self, settings: DatabaseSettings, limits: Limits = ASKING, workers: int = 8, *, writes: bool = False
    ) -> None:
        self.settings = settings
        self.limits = limits
        self.answering = True
        """False while the heartbeat gets no answer: questions are then refused at once instead of queueing."""
        self.engine = _engine(settings, limits, workers, writes)
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
                # In the asker's context, so that what is logged there says for which connection it was done.
                return await loop.run_in_executor(self._threads, copy_context().run, self._work, work)
        except TimeoutError:
            raise Unavailable("the database does not answer in time") from None

    def _work(self, work: Callable[[sa.Connection], T]) -> T:
        try:
            with self.engine.connect() as connection:
                _limit_sqlite(connection, self.limits.statement)
                return work(connection)
        except LOST as error:
            log.debug("%r: %s", self.settings, error)
            raise Unavailable("the database does not answer") from error

    def close(self) -> None:
        """Let go of threads and connections, without waiting for a database that hangs."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.engine.dispose()


def reach(settings: DatabaseSettings) -> None:
    """Connect once; raises `UsageError`, within seconds, saying why the database refuses us or that it is silent."""
    database = Database(settings, ASKING, 1)
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


def migrate(settings: DatabaseSettings) -> None:
    """Bring the tables that are ours to this version's; raises `UsageError` where that cannot be."""
    if settings.kind == "sqlite":
        _make_folder(Path(settings.path))
    else:
        reach(settings)  # one that hangs would be waited for as long as a migration may take
    database = Database(settings, WORKING, 1, writes=True)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        with database.engine.begin() as connection:
            config.attributes["connection"] = connection
            _one_at_a_time(connection)
            command.upgrade(config, "head")
    except CommandError as error:
        raise UsageError(f"database: {settings!r} was made by a newer Storewatch ({error}); update this one") from None
    except sa.exc.DBAPIError as error:
        raise UsageError(f"database: cannot make our tables in {settings!r}: {reason(error)}") from None
    finally:
        database.close()


def _one_at_a_time(connection: sa.Connection) -> None:
    # MySQL commits around every CREATE TABLE, so two processes that start together need a lock of their own; it goes
    # with the connection. SQLite's writer has BEGIN IMMEDIATE.
    if connection.dialect.name == "mysql":
        connection.execute(sa.text("SELECT GET_LOCK('storewatch.migrate', 60)"))


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"database.path: cannot make the folder {path.parent}: {error.strerror}") from None


def _engine(settings: DatabaseSettings, limits: Limits, workers: int, writes: bool) -> sa.Engine:
    if settings.kind == "sqlite":
        url, arguments = _sqlite(settings, limits)
    else:
        url, arguments = _mysql(settings, limits)
    engine = sa.create_engine(
        url,
        connect_args=arguments,
        poolclass=sa.QueuePool,
        pool_size=workers,
        max_overflow=0,
        pool_timeout=limits.connect,
        pool_pre_ping=True,
        # Each transaction is ended where it began, and a look has none. One more rollback for each would have who is
        # answered already wait for a database that hangs since.
        pool_reset_on_return=None,
        **({} if writes else {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}),
    )
    if settings.kind == "sqlite":
        _prepare_sqlite(engine, settings, writes)
    else:
        _prepare_mysql(engine, limits, writes)
    return engine


def _sqlite(settings: DatabaseSettings, limits: Limits) -> tuple[sa.URL, dict[str, Any]]:
    # A site's own file is opened for reading only. The path goes in as a URI, where ? and # need their escapes.
    mode = "ro" if settings.map else "rwc"
    uri = f"{Path(settings.path).absolute().as_uri()}?mode={mode}"
    url = sa.URL.create("sqlite", database=uri, query={"uri": "true"})
    return url, {"timeout": limits.statement, "check_same_thread": False}


def _mysql(settings: DatabaseSettings, limits: Limits) -> tuple[sa.URL, dict[str, Any]]:
    # The parts go in apart: in one URL, a password with an @ in it names another host.
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


def _prepare_sqlite(engine: sa.Engine, settings: DatabaseSettings, writes: bool) -> None:
    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
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
        def begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def _limit_sqlite(connection: sa.Connection, seconds: float) -> None:
    if connection.dialect.name == "sqlite":
        end = time.monotonic() + seconds
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(lambda: time.monotonic() > end, 10_000)


def _prepare_mysql(engine: sa.Engine, limits: Limits, writes: bool) -> None:
    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # TIMESTAMP columns and FROM_UNIXTIME answer in the session's zone: let that be UTC, wherever the server is.
        commands = ["SET SESSION time_zone = '+00:00'"]
        if "mariadb" in connection.get_server_info().lower():
            commands.append(f"SET SESSION max_statement_time = {limits.statement}")
        else:
            commands.append(f"SET SESSION max_execution_time = {round(limits.statement * 1000)}")
        if limits.silence is not None:
            commands.append(f"SET SESSION wait_timeout = {limits.silence}")
        if not writes:
            commands.append("SET SESSION TRANSACTION READ ONLY")
        with connection.cursor() as cursor:
            for statement in commands:
                cursor.execute(statement)
