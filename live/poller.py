"""The poller: queries new readings at a fixed interval, and hands each of them once to every subscriber."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from ask.readings import Reading
from common.periodic import run_periodically
from errors import Unavailable
from live.source import Source

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""Seconds between two polls while the database does not answer, if the interval is longer."""
LATE_S = 0.8
"""After so many seconds a query counts as late: behind a lock it may hang while the heartbeat finds nothing wrong."""

Consumer = Callable[[Sequence[Reading]], Awaitable[None]]


class Poller:
    """Runs one bounded query per tick, for all storehouses together, on the event loop.

    `ticked` is awaited after each tick: with True when all committed readings have been handed out, with False if the
    database did not answer. `late` is awaited when a query is not answered after `LATE_S`. `timed` is the context of
    each tick, including `ticked`.
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
        """When the database last answered, and when it last had new readings, by `time.monotonic`; at first, now."""
        self._source = source
        self._ticked = ticked
        self._late = late
        self._timed = timed
        self._consumers: list[Consumer] = []
        self._woken = asyncio.Event()
        self._next_tick_at = 0.0

    def subscribe(self, consumer: Consumer) -> None:
        """Await `consumer` with all new readings from now on, each once."""
        self._consumers.append(consumer)

    def wake(self) -> None:
        """Tick at once instead of at the end of the interval."""
        self._woken.set()

    async def run(self) -> None:
        """Tick until cancelled. The interval is counted from the start of each tick."""
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
                self.answered_at = time.monotonic()
                if readings:
                    self.new_readings_at = self.answered_at
                    await self._hand_out(readings)
        except Unavailable:
            return False
        except Exception:
            # If the poller ended, every page would stand still and look alive.
            log.exception("the poller's question failed")
            return False
        return True

    async def _read_new(self) -> tuple[list[Reading], bool]:
        """Query, and wait for the result; call `late` meanwhile if it takes too long."""
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
                log.exception("a consumer failed on %d readings", len(readings))

    async def _call(self, callback: Callable[[], Awaitable[None]]) -> None:
        try:
            await callback()
        except Exception:
            log.exception("what follows a tick failed")
