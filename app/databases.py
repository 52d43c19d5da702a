"""The databases: prepared before anything is built on them, then one pool of connections for each purpose."""

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
"""For the newest reading of each sensor at start-up, which a site's tables may be slow to answer."""


@dataclass(frozen=True)
class Databases:
    """The pools. None is taken by another purpose: a slow question does not delay the heartbeat or the judge."""

    questions: Database
    """The sensor database, for the questions of browsers and the poller."""
    slow_questions: Database
    """The sensor database, for what is asked at start-up."""
    heartbeat: Database
    """The sensor database, for the heartbeat alone."""
    rollups: Database | None
    """The sensor database, for the rollups of readings; None where the tables are a site's own."""
    state: Database
    """Our own tables, for reading."""
    state_writer: Database
    """Our own tables, for what is written under a lease."""

    @classmethod
    def open(cls, settings: Settings, stack: AsyncExitStack) -> Self:
        """Open the pools; `stack` closes them."""

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
    """Create or migrate our own tables, and the demo's history; raises `UsageError`."""
    if settings.notify is not None:
        sender.prepare(settings.notify.targets, origin)
    if settings.sensor_database.map is None:
        migrate(settings.sensor_database)
    if settings.state_database is not settings.sensor_database:
        migrate(settings.state_database)
    if settings.is_demo:
        demo.history.prepare(settings.sensor_database, clock.now())


def find_subjects(database: Database, origin: Source) -> Subjects:
    """Return how the sensor database's tables map to ours; raises `UsageError`."""
    reach(database.settings)
    with database.engine.connect() as connection:
        return subjects_of(database.settings, origin, connection)


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `work` returns, done in a thread that is abandoned if we are to stop meanwhile."""
    threads = ThreadPoolExecutor(1, thread_name_prefix="starting")
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, partial(work, *args, **kwargs))
    finally:
        threads.shutdown(wait=False)
