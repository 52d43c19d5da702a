"""The poller: looks for new readings, and hands each of them once to whoever subscribed."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

from ask.readings import Reading
from errors import Unavailable
from live.source import Source

log = logging.getLogger("live")

RETRY_S = 1.0
"""Between two looks while the database does not answer, where the interval is longer."""

Consumer = Callable[[Sequence[Reading]], Awaitable[None]]


class Poller:
    """Asks one bounded question a tick, for all storehouses together, on the event loop it is run in.

    `ticked` is awaited after each tick: with True when all that is committed has been handed out, with False when
    the database did not answer. `timed` goes around each tick, with what follows it.
    """

    def __init__(
        self,
        source: Source,
        interval_s: float,
        ticked: Callable[[bool], Awaitable[None]],
        timed: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.interval_s = interval_s
        self.answered = self.arrived = time.monotonic()
        """When the database last answered, and when it last had new readings, by `time.monotonic`; at first, now."""
        self._source = source
        self._ticked = ticked
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
                await self._tell(answered)
            interval_s = self.interval_s if answered else min(self.interval_s, RETRY_S)
            await self._wait(start + interval_s - time.monotonic())

    async def _tick(self) -> bool:
        more = True
        try:
            while more:
                readings, more = await self._source.read()
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

    async def _hand_out(self, readings: Sequence[Reading]) -> None:
        for consumer in self._consumers:
            try:
                await consumer(readings)
            except Exception:
                log.exception("a consumer failed on %d readings", len(readings))

    async def _tell(self, answered: bool) -> None:
        try:
            await self._ticked(answered)
        except Exception:
            log.exception("what follows a tick failed")

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            # Not wait_for: that of Python 3.11 loses a cancellation which meets the event.
            async with asyncio.timeout(max(seconds, 0)):
                await self._woken.wait()
        self._woken.clear()
