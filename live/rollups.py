"""Keeps the rollups of Storewatch's own readings up to date, in one process at a time.

A rollup combines the readings of one sensor in one bucket (a time span).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

import sqlalchemy as sa

from ask.readings import Reading
from common.periodic import run_periodically
from db.database import Database
from db.dialects import dialect_of
from db.limits import Limits
from live import leases
from record import lease, rollups
from record.rollups import NARROWEST_S, Bucket

log = logging.getLogger(__name__)

T = TypeVar("T")

LEASE = "rollups"
LEASE_DURATION = timedelta(seconds=30)
INTERVAL_S = 10.0
"""Seconds between two updates of the rollups (readings combined by time span).

History queries also use the readings that are not in the rollups yet.
"""
PAUSE_S = 0.1
"""Minimum pause between two batches of rollup updates, in seconds.

A pause also lasts at least as long as the previous batch took, because SQLite allows only one writer at a time.
"""
MOST_LATE = 500
"""Maximum number of buckets to recompute in one batch. A bucket is a time span of one sensor.

Recomputing this number of buckets takes 0.2 s if each bucket needs its own statement.
"""
ROLLUP_LIMITS = Limits(statement=30.0, read=31.0, answer=32.0, idle_timeout_s=20)
"""Time limits of the database statements for rollups. The limits are long because no user waits."""


class Rollups:
    """Adds the poller's readings to the rollups while this process has the lease. `holder` is the name of this process.

    A rollup combines the readings of one sensor in one bucket (a time span).
    """

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder
        self._term = -1
        """Term number of the lease when this process got it. The number grows when another process gets the lease."""
        self._claimed: int | None = None
        """All readings up to this id are in the rollups or are being added.

        It is None if another process may have the lease.
        """
        self._late: set[Bucket] = set()
        """Buckets (time spans of a sensor) to recompute.

        In each of these buckets, a reading arrived after the rollups had already passed the id of the reading.
        """
        self._handed_out = -1
        """The highest id of a reading that the poller has handed out."""
        self._due = -1
        """The highest id of a reading that the poller had handed out at the previous update of the rollups.

        Most rows with lower ids that were committed late have arrived since then.
        """

    async def consume(self, readings: Sequence[Reading]) -> None:
        """Remember the highest id of new readings.

        If the rollups have already passed the id of a reading, mark the reading's bucket (time span) for recomputation.
        """
        for reading in readings:
            is_late = self._claimed is None or reading.rank <= self._claimed
            if is_late and rollups.can_be_rolled_up(reading.time):
                second = int(reading.time.timestamp())
                self._late.add((int(reading.sensor_id), second - second % NARROWEST_S))
            self._handed_out = max(self._handed_out, reading.rank)

    async def run(self) -> None:
        """Update the rollups until cancelled. Then release the lease, so that another process can continue at once."""
        try:
            await run_periodically(self.update, INTERVAL_S, log=log, purpose="keep the rollups")
        finally:
            await self._release()

    async def update(self) -> None:
        """Add the readings that arrived before the previous update to the rollups.

        Do nothing if another process has the lease. Raise `Unavailable` if the database does not answer.
        """
        due, self._due = self._due, self._handed_out
        try:
            if self._claimed is None:
                await self._take_over()
            if self._claimed is not None:
                await self._catch_up(max(self._claimed, due))
        except BaseException:
            self._claimed = None
            raise

    async def _take_over(self) -> None:
        """Try to acquire the lease. On success, prepare this process to add all existing readings to the rollups.

        Also mark the buckets (time spans) in which the last holder of the lease may have missed readings.
        """
        self._late.clear()
        acquired = await self._with_lease(rollups.take_over)
        if acquired is not None:
            self._term, (self._claimed, missed) = acquired
            self._late |= missed

    async def _catch_up(self, until: int) -> None:
        # Set this before the table is read: the query may not see readings that the poller hands out from now on.
        self._claimed = until
        reached = -1
        while self._late or reached < until:
            started = time.monotonic()
            late = sorted(self._late, key=_start)[:MOST_LATE]
            self._late.difference_update(late)
            # Advance the position only if no bucket is late: a new lease holder checks only the ids just below it.
            acquired = await self._with_lease(partial(_add_batch, late=late, until=-1 if self._late else until))
            if acquired is None or acquired[0] != self._term:
                self._claimed = None
                return
            _, reached = acquired
            if self._late or reached < until:
                await asyncio.sleep(max(PAUSE_S, time.monotonic() - started))

    async def _with_lease(self, work: Callable[[sa.Connection], T]) -> tuple[int, T] | None:
        """Run `work` in a transaction that holds the lease. Return the lease's term number and the result of `work`.

        Return None if another process has the lease.
        """

        def acquire(connection: sa.Connection) -> tuple[int, T] | None:
            with connection.begin():
                # In a stricter isolation level, INSERT ... SELECT would lock the readings and use a snapshot that is
                # older than the lease.
                dialect_of(connection).read_committed(connection)
                held = lease.acquire(connection, LEASE, self._holder, LEASE_DURATION, waits=False)
                return None if held is None else (held.term, work(connection))

        return await self._database.run(acquire)

    async def _release(self) -> None:
        await leases.release(self._database, LEASE, self._holder)


def _start(bucket: Bucket) -> int:
    return bucket[1]


def _add_batch(connection: sa.Connection, late: Sequence[Bucket], until: int) -> int:
    rollups.recompute(connection, late)
    return rollups.add_next(connection, until)
