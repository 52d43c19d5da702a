"""Opens one connection pool for each purpose, and finds the subjects of the sensor database."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, Self, TypeVar

import sqlalchemy as sa

from access import lane
from ask.site_mapping import subjects_of
from ask.subjects import Subjects
from db.condition import Condition
from db.database import Database, database_error
from db.dialects import dialect_for
from db.limits import CHART_LIMITS, HEARTBEAT_LIMITS, LEASE_LIMITS, PULSE_LIMITS, QUESTION_LIMITS, Limits
from live.rollups import ROLLUP_LIMITS
from settings import Database as DatabaseSettings
from settings import Settings, Source

P = ParamSpec("P")
T = TypeVar("T")

SLOW_LIMITS = Limits(connect=2.0, statement=30.0, read=31.0, answer=32.0)
"""Time limits for queries of the server itself that may be slow, because a site can have very many sensors or alarms.
"""


@dataclass(frozen=True)
class Databases:
    """The connection pools, one per purpose.

    The questions of clients have pools of their own. They can never take a connection that the heartbeat, the poller,
    the judge or the directory needs. The pools open a connection only when all their other connections are in use.
    """

    heartbeat: Database
    """Pool of the sensor database for the heartbeat only."""
    live: Database
    """Pool of the sensor database for the server's own work.

    The poller, the directory, its query of the owners, the overview, the judge and the recorder of the site's alarms
    each have at most one query at a time.
    """
    slow: Database
    """Pool of the sensor database for queries of the server itself that may be slow: the newest readings, the directory
    of storehouses and sensors, and the site's own alarms. There is one connection for each of these."""
    questions: Database
    """Pool of the sensor database for the short questions of clients."""
    charts: Database
    """Pool of the sensor database for the history queries of clients: one connection for each place in the lane."""
    rollups: Database | None
    """Pool of the sensor database for rollups (summaries) of readings.

    None if the readings are in the site's own tables.
    """
    journal: Database
    """Pool of the database with Storewatch's own tables, for the journal follower only."""
    records: Database
    """Pool of the database with Storewatch's own tables, for the writes of the server itself.

    The judge, the recorder of the site's alarms, the notifier, the audit writer, the test alarms, the site snapshot and
    `Recording` use it.
    """
    state_questions: Database
    """Pool of the database with Storewatch's own tables, for reading what clients ask for."""
    actions: Database
    """Pool of the database with Storewatch's own tables, for the changes that clients make, and for rules."""

    @property
    def watched(self) -> list[Database]:
        """The pools that must not be used while the sensor database does not answer the heartbeat."""
        pools = [self.live, self.slow, self.questions, self.charts, self.rollups]
        return [pool for pool in pools if pool is not None]

    @classmethod
    def open(cls, settings: Settings, stack: AsyncExitStack) -> Self:
        """Open the connection pools. `stack` closes them when it exits.

        Except for the heartbeat's, they raise `Unavailable` until `set_prepared` is called.
        """
        sensors, state = settings.sensor_database, settings.state_database
        sensor_condition = Condition(repr(sensors))
        state_condition = sensor_condition if state is sensors else Condition(repr(state))

        def pool(
            which: DatabaseSettings, purpose: str, limits: Limits, workers: int, *, writes: bool = False
        ) -> Database:
            condition = sensor_condition if which is sensors else state_condition
            database = Database(which, limits, workers, writes=writes, purpose=purpose, condition=condition)
            database.prepared = limits is HEARTBEAT_LIMITS
            return stack.enter_context(closing(database))

        return cls(
            heartbeat=pool(sensors, "the heartbeat", HEARTBEAT_LIMITS, 1),
            live=pool(sensors, "the live data", QUESTION_LIMITS, 6),
            slow=pool(sensors, "slow queries", SLOW_LIMITS, 3),
            questions=pool(sensors, "the clients' questions", QUESTION_LIMITS, 5),
            charts=pool(sensors, "charts", CHART_LIMITS, lane.PLACES),
            rollups=pool(sensors, "rollups", ROLLUP_LIMITS, 1, writes=True) if sensors.map is None else None,
            journal=pool(state, "the alarm journal", QUESTION_LIMITS, 1),
            records=pool(state, "alarms and notices", LEASE_LIMITS, 4, writes=True),
            state_questions=pool(state, "the clients' questions", QUESTION_LIMITS, 2),
            actions=pool(state, "the clients' actions", LEASE_LIMITS, 2, writes=True),
        )

    def set_prepared(self, settings: DatabaseSettings) -> None:
        """Let the pools of this database answer from now on."""
        for pool in vars(self).values():
            if isinstance(pool, Database) and pool.settings == settings:
                pool.prepared = True


def open_pulse(settings: DatabaseSettings, stack: AsyncExitStack) -> Database | None:
    """Return a connection pool that shows soon whether a database can be reached. `stack` closes it when it exits.

    Return None for a file of Storewatch's own, because such a file may not exist yet. The caller reports the errors, so
    the log need not contain them.
    """
    if not dialect_for(settings).is_remote and settings.map is None:
        return None
    unreported = Condition(repr(settings), level=logging.DEBUG)
    return stack.enter_context(closing(Database(settings, PULSE_LIMITS, 1, purpose="the start", condition=unreported)))


def find_subjects(database: Database, origin: Source) -> Subjects:
    """Return which table of the sensor database contains each subject, such as `storehouse` or `reading`.

    Raise `UsageError` if the database does not match the settings, and `Unreachable` if it does not answer.
    """
    try:
        with database.engine.connect() as connection:
            return subjects_of(database.settings, origin, connection)
    except sa.exc.DBAPIError as error:
        raise database_error(f"cannot open {database.settings!r}", database.settings, error) from None


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work` in a new thread and return the result. The server can stop without waiting for the thread."""
    threads = ThreadPoolExecutor(1, thread_name_prefix="starting")
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, partial(work, *args, **kwargs))
    finally:
        threads.shutdown(wait=False)
