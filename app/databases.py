"""Prepares the databases at start-up, and opens one connection pool for each purpose."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, Self, TypeVar

import demo.history
from ask.site_mapping import subjects_of
from ask.subjects import Subjects
from common import clock
from db.database import Database, reach
from db.limits import HEARTBEAT_LIMITS, LEASE_LIMITS, QUESTION_LIMITS, Limits
from db.migrate import migrate
from live.rollups import ROLLUP_LIMITS
from notify import sender
from settings import Database as DatabaseSettings
from settings import Settings, Source

P = ParamSpec("P")
T = TypeVar("T")

START_LIMITS = Limits(connect=2.0, statement=30.0, read=31.0, answer=32.0)
"""Time limits for queries at start-up. Finding the newest reading of each sensor can take a long time."""


@dataclass(frozen=True)
class Databases:
    """The connection pools, one per purpose, so that a slow query does not delay the heartbeat or the judge."""

    questions: Database
    """Pool of the sensor database for the queries of browsers and of the poller."""
    slow_questions: Database
    """Pool of the sensor database for queries at start-up, which may be slow."""
    heartbeat: Database
    """Pool of the sensor database for the heartbeat only."""
    rollups: Database | None
    """Pool of the sensor database for rollups (summaries) of readings.

    None if the readings are in the site's own tables.
    """
    state: Database
    """Pool of the database with Storewatch's own tables, for reading."""
    state_writer: Database
    """Pool of the database with Storewatch's own tables, for all writes, including the writes that require a lease."""

    @classmethod
    def open(cls, settings: Settings, stack: AsyncExitStack) -> Self:
        """Open the connection pools. `stack` closes them when it exits."""

        def pool(which: DatabaseSettings, limits: Limits, workers: int, *, writes: bool = False) -> Database:
            return stack.enter_context(closing(Database(which, limits, workers, writes=writes)))

        sensors, state = settings.sensor_database, settings.state_database
        return cls(
            questions=pool(sensors, QUESTION_LIMITS, 8),
            slow_questions=pool(sensors, START_LIMITS, 1),
            heartbeat=pool(sensors, HEARTBEAT_LIMITS, 1),
            rollups=pool(sensors, ROLLUP_LIMITS, 1, writes=True) if sensors.map is None else None,
            state=pool(state, QUESTION_LIMITS, 2),
            state_writer=pool(state, LEASE_LIMITS, 3, writes=True),
        )


def prepare(settings: Settings, origin: Source) -> None:
    """Create or migrate Storewatch's own tables, and write the demo's history. Raise `UsageError` if this fails."""
    if settings.notify is not None:
        sender.prepare(settings.notify.targets, origin)
    if settings.sensor_database.map is None:
        migrate(settings.sensor_database)
    if settings.state_database is not settings.sensor_database:
        migrate(settings.state_database)
    if settings.is_demo:
        demo.history.prepare(settings.sensor_database, clock.now())


def find_subjects(database: Database, origin: Source) -> Subjects:
    """Return which table of the sensor database contains each subject, such as `storehouse` or `reading`.

    Raise `UsageError` if the database does not answer or does not match the settings.
    """
    reach(database.settings)
    with database.engine.connect() as connection:
        return subjects_of(database.settings, origin, connection)


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work` in a new thread and return the result. The server can stop without waiting for the thread."""
    threads = ThreadPoolExecutor(1, thread_name_prefix="starting")
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, partial(work, *args, **kwargs))
    finally:
        threads.shutdown(wait=False)
