"""The poller: looks for new readings, and hands each of them once to whoever subscribed."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial

from ask.readings import Reading
from errors import Unavailable
from live.source import Source

log = logging.getLogger("live")

RETRY_S = 1.0
"""Between two looks while the database does not answer, where the interval is longer."""
LATE_S = 0.8
"""An answer that takes longer may never come: one behind a lock does not, while the heartbeat finds nothing wrong."""

Consumer = Callable[[Sequence[Reading]], Awaitable[None]]


class Poller:
    """Asks one bounded question a tick, for all storehouses together, on the event loop it is run in.

    `ticked` is awaited after each tick: with True when all that is committed has been handed out, with False when
    the database did not answer. `late` is awaited when a question is not answered after `LATE_S`. `timed` goes around
    each tick, with what follows it.
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
        self.answered = self.arrived = time.monotonic()
        """When the database last answered, and when it last had new readings, by `time.monotonic`; at first, now."""
        self._source = source
        self._ticked = ticked
        self._late = late
        self._timed = timed
        self._consumers: list[Consumer] = []
        self._woken = asyncio.Event()

    def subscribe(self, consumer: Consumer) -> None:
        """Have `consumer` awaited with every new reading; of those subscribed it sees each once."""
        self._consumers.append(consumer)

    def wake(self) -> None:
        """Tick at once instead of at the end of the interval."""
        self._woken.set()

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            start = time.monotonic()
            with self._timed():
                answered = await self._tick()
                await self._tell(partial(self._ticked, answered))
            interval_s = self.interval_s if answered else min(self.interval_s, RETRY_S)
            await self._wait(start + interval_s - time.monotonic())

    async def _tick(self) -> bool:
        more = True
        try:
            while more:
                readings, more = await self._read()
                self.answered = time.monotonic()
                if readings:
                    self.arrived = self.answered
                    await self._hand_out(readings)
        except Unavailable:
            return False
        except Exception:
            # A poller that ends would leave every screen standing still and looking alive.
            log.exception("the poller's question failed")
            return False
        return True

    async def _read(self) -> tuple[list[Reading], bool]:
        """Ask, and wait for the answer; where it is late, that is told meanwhile."""
        asked = asyncio.create_task(self._source.read())
        try:
            done, _ = await asyncio.wait([asked], timeout=LATE_S)
            if not done:
                await self._tell(self._late)
            return await asked
        finally:
            asked.cancel()

    async def _hand_out(self, readings: Sequence[Reading]) -> None:
        for consumer in self._consumers:
            try:
                await consumer(readings)
            except Exception:
                log.exception("a consumer failed on %d readings", len(readings))

    async def _tell(self, what: Callable[[], Awaitable[None]]) -> None:
        try:
            await what()
        except Exception:
            log.exception("what follows a tick failed")

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            # Not wait_for: that of Python 3.11 loses a cancellation which meets the event.
            async with asyncio.timeout(max(seconds, 0)):
                await self._woken.wait()
        self._woken.clear()
