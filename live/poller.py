"""The poller: queries new readings at a fixed interval and passes each reading once to every subscriber."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import sqlalchemy as sa

from ask.readings import Reading
from common.periodic import run_periodically
from db.database import reason
from errors import Unavailable
from live.source import Source

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""Longest interval between two polls while the database does not answer, in seconds."""
LATE_S = 0.8
"""Time after which a poll query counts as late, in seconds.

A poll query that waits for a lock may be late although the database answers the heartbeat.
"""

Consumer = Callable[[Sequence[Reading]], Awaitable[None]]


class Poller:
    """Queries the new readings of all storehouses together, once per tick (poll), on the event loop.

    A query returns a limited number of rows. If there are more, the next query follows in the same tick. The poller
    awaits `ticked` after each tick, with True if it has passed on all committed readings, or with False if a query
    failed. It awaits `late` when a query takes longer than `LATE_S`. Each tick and its call of `ticked` run inside a
    context manager that `timed` returns.
    """

    def __init__(
        self,
        source: Source,
        interval_s: float,
        ticked: Callable[[bool], Awaitable[None]],
        late: Callable[[], Awaitable[None]],
        timed: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.interval_s = interval_s
        self.answered_at = self.new_readings_at = time.monotonic()
        """Time of the database's last answer to the poller, and time at which the last new readings arrived.

        Both times are from `time.monotonic`. At first, both are the time at which the poller was created.
        """
        self._source = source
        self._ticked = ticked
        self._late = late
        self._timed = timed
        self._consumers: list[Consumer] = []
        self._woken = asyncio.Event()
        self._next_tick_at = 0.0
        self._problem: str | None = None
        """The database's error message if it refused the last query, otherwise None. It is logged once."""

    def subscribe(self, consumer: Consumer) -> None:
        """From now on, pass each new reading to `consumer` once."""
        self._consumers.append(consumer)

    def wake(self) -> None:
        """Start the next poll at once instead of at the end of the interval."""
        self._woken.set()

    async def run(self) -> None:
        """Poll until cancelled. The interval is the time from the start of one poll to the start of the next poll."""
        await run_periodically(
            self._timed_tick,
            lambda: self._next_tick_at - time.monotonic(),
            log=log,
            purpose="poll for new readings",
            wake=self._woken,
        )

    async def _timed_tick(self) -> None:
        start = time.monotonic()
        self._next_tick_at = start + min(self.interval_s, RETRY_S)
        with self._timed():
            answered = await self._tick()
            await self._call(partial(self._ticked, answered))
        if answered:
            self._next_tick_at = start + self.interval_s

    async def _tick(self) -> bool:
        more = True
        try:
            while more:
                readings, more = await self._read_new()
                self._problem = None
                self.answered_at = time.monotonic()
                if readings:
                    self.new_readings_at = self.answered_at
                    await self._hand_out(readings)
        except Unavailable as error:
            if isinstance(error.__cause__, sa.exc.DBAPIError):
                self._set_problem(reason(error.__cause__))
            return False
        except Exception as error:
            # If the poller stopped here, the pages would show old values without any sign of a fault.
            self._set_problem(reason(error) if isinstance(error, sa.exc.DBAPIError) else repr(error), exc_info=True)
            return False
        return True

    def _set_problem(self, problem: str, *, exc_info: bool = False) -> None:
        if problem != self._problem:
            log.warning("the poller's query failed; each tick repeats it: %s", problem, exc_info=exc_info)
        self._problem = problem

    async def _read_new(self) -> tuple[list[Reading], bool]:
        """Query new readings. Return the readings, and whether another query may return more at once.

        If the query takes longer than `LATE_S`, await `late` while the query continues.
        """
        query = asyncio.create_task(self._source.read_new())
        try:
            done, _ = await asyncio.wait([query], timeout=LATE_S)
            if not done:
                await self._call(self._late)
            return await query
        finally:
            query.cancel()

    async def _hand_out(self, readings: Sequence[Reading]) -> None:
        for consumer in self._consumers:
            try:
                await consumer(readings)
            except Exception:
                log.exception("a subscriber of the poller failed on %d readings", len(readings))

    async def _call(self, callback: Callable[[], Awaitable[None]]) -> None:
        try:
            await callback()
        except Exception:
            log.exception("a callback of the poller failed")
