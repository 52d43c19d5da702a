"""Keeps the rollups of our own readings up to date, in one process at a time."""

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
"""Between two updates. A question adds the readings that are not in the rollups yet."""
PAUSE_S = 0.1
"""Least pause between two batches; it is as long as the last batch took, because SQLite has one writer at a time."""
MOST_LATE = 500
"""Buckets recomputed at once: 0.2 s where each is a statement of its own."""
ROLLUP_LIMITS = Limits(statement=30.0, read=31.0, answer=32.0, idle_timeout_s=20)
"""For the statements of the rollups: nobody waits for them."""


class Rollups:
    """Adds the poller's readings to the rollups, while this process, `holder`, has the lease."""

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder
        self._term = -1
        """The term of our lease."""
        self._claimed: int | None = None
        """The readings up to this id are in the rollups, or about to be; None: others may have written them."""
        self._late: set[Bucket] = set()
        """The buckets of readings that came with an id below `_claimed`."""
        self._handed_out = -1
        """The highest id that the poller has handed out."""
        self._due = -1
        """`_handed_out` at the update before: by now, most rows that were committed out of order are there."""

    async def consume(self, readings: Sequence[Reading]) -> None:
        """Note new readings of the poller."""
        for reading in readings:
            if self._claimed is None or reading.rank <= self._claimed:
                second = int(reading.time.timestamp())
                self._late.add((int(reading.sensor_id), second - second % NARROWEST_S))
            self._handed_out = max(self._handed_out, reading.rank)

    async def run(self) -> None:
        """Update the rollups until cancelled; then let another process go on at once."""
        try:
            await run_periodically(self.update, INTERVAL_S, log=log, purpose="keep the rollups")
        finally:
            await self._release()

    async def update(self) -> None:
        """Add the readings handed out before the last update, if this process has the lease; raises `Unavailable`."""
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
        """Claim all readings there are, unless another process has the lease."""
        self._late.clear()
        acquired = await self._with_lease(rollups.take_over)
        if acquired is not None:
            self._term, (self._claimed, missed) = acquired
            self._late |= missed

    async def _catch_up(self, until: int) -> None:
        # Before the table is read: readings handed out from here on may not be visible to it.
        self._claimed = until
        reached = -1
        while self._late or reached < until:
            started = time.monotonic()
            late = sorted(self._late, key=_start)[:MOST_LATE]
            self._late.difference_update(late)
            # The position stays until nothing is late: the next holder checks the ids below it.
            acquired = await self._with_lease(partial(_add_batch, late=late, until=-1 if self._late else until))
            if acquired is None or acquired[0] != self._term:
                self._claimed = None
                return
            _, reached = acquired
            if self._late or reached < until:
                await asyncio.sleep(max(PAUSE_S, time.monotonic() - started))

    async def _with_lease(self, work: Callable[[sa.Connection], T]) -> tuple[int, T] | None:
        """Return the lease's term and the result of `work`; None while another process has the lease."""

        def acquire(connection: sa.Connection) -> tuple[int, T] | None:
            with connection.begin():
                # Otherwise INSERT ... SELECT locks the readings, and sees the table as it was before we had the lease.
                dialect_of(connection).read_committed(connection)
                held = lease.acquire(connection, LEASE, self._holder, LEASE_DURATION)
                return None if held is None else (held.term, work(connection))

        return await self._database.run(acquire)

    async def _release(self) -> None:
        await leases.release(self._database, LEASE, self._holder)


def _start(bucket: Bucket) -> int:
    return bucket[1]


def _add_batch(connection: sa.Connection, late: Sequence[Bucket], until: int) -> int:
    rollups.recompute(connection, late)
    return rollups.add_next(connection, until)
