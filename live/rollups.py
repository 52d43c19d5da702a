"""The rollups of our own readings, kept up with the table, in one process at a time."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

import sqlalchemy as sa

from ask.readings import Reading
from db.database import Database, Limits
from live import leases
from logger import errors_logged
from record import lease, rollups
from record.rollups import NARROWEST_S, Bucket

log = logging.getLogger("live")

T = TypeVar("T")

LEASE = "rollups"
LASTS = timedelta(seconds=30)
PAUSE_S = 10.0
"""Between two turns. What is not in the rollups yet, a question adds from the readings."""
BREATH_S = 0.1
"""At least between two portions, and as long as the one before took: SQLite has one writer at a time."""
MOST_LATE = 500
"""Buckets computed again at once: 0.2 s where each is a statement of its own."""
PATIENT = Limits(statement=30.0, read=31.0, answer=32.0, silence=20)
"""For what the rollups take: nobody waits for it."""


class Rollups:
    """Adds to the rollups what the poller hands out, while this process, `holder`, has the lease."""

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder
        self._term = -1
        """In which the lease is ours."""
        self._claimed: int | None = None
        """The readings up to this id are in the rollups, or about to be; None: others may have written them."""
        self._late: set[Bucket] = set()
        """Where readings have come with an id that was claimed."""
        self._handed_out = -1
        """The highest id that the poller has handed out."""
        self._due = -1
        """What that was a turn ago: by now, most of what was committed out of order is there."""

    async def take(self, readings: Sequence[Reading]) -> None:
        """Take note of new readings."""
        for reading in readings:
            if self._claimed is None or reading.rank <= self._claimed:
                second = int(reading.time.timestamp())
                self._late.add((int(reading.sensor_id), second - second % NARROWEST_S))
            self._handed_out = max(self._handed_out, reading.rank)

    async def run(self) -> None:
        """Keep the rollups until cancelled; then let another process go on at once."""
        try:
            while True:
                with errors_logged(log, "keep the rollups"):
                    await self.keep()
                await asyncio.sleep(PAUSE_S)
        finally:
            await self._release()

    async def keep(self) -> None:
        """Bring the rollups up to what was there a turn ago, if that is ours to do; raises `Unavailable`."""
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
        """Claim all that there is, unless another process keeps the rollups."""
        self._late.clear()
        taken = await self._hold(rollups.take_over)
        if taken is not None:
            self._term, (self._claimed, missed) = taken
            self._late |= missed

    async def _catch_up(self, until: int) -> None:
        # Before the first look at the table: what is handed out from here on may not have been there to be seen.
        self._claimed = until
        reached = -1
        while self._late or reached < until:
            began = time.monotonic()
            late = sorted(self._late, key=_start)[:MOST_LATE]
            self._late.difference_update(late)
            # The position stays until nothing is late: who takes over from us must find where we were.
            held = await self._hold(partial(_step, late=late, until=-1 if self._late else until))
            if held is None or held[0] != self._term:
                self._claimed = None
                return
            _, reached = held
            if self._late or reached < until:
                await asyncio.sleep(max(BREATH_S, time.monotonic() - began))

    async def _hold(self, work: Callable[[sa.Connection], T]) -> tuple[int, T] | None:
        """Return the term of the lease and what `work` returns; None while another has it."""

        def hold(connection: sa.Connection) -> tuple[int, T] | None:
            with connection.begin():
                if connection.dialect.name == "mysql":
                    # Or else each look at the readings would lock them, and see what was there before the lease was
                    # ours. For this transaction alone: to be undone, it would have to be asked of the database again.
                    connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"))
                held = lease.hold(connection, LEASE, self._holder, LASTS)
                return None if held is None else (held.term, work(connection))

        return await self._database.run(hold)

    async def _release(self) -> None:
        await leases.release(self._database, LEASE, self._holder)


def _start(bucket: Bucket) -> int:
    return bucket[1]


def _step(connection: sa.Connection, late: Sequence[Bucket], until: int) -> int:
    rollups.again(connection, late)
    return rollups.forward(connection, until)
