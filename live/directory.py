"""Which storehouses and sensors there are, kept up with the database."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from ask import Ask
from ask.answers import Id
from ask.readings import Reading
from errors import Unavailable
from instants import Clock
from live.newest import Newest

log = logging.getLogger("live")

REFRESH_S = 30.0
"""Between two looks, where nothing calls for one."""
HURRIED_S = 2.0
"""Between two looks in any case: readings of a sensor that is in no list may come for ever."""


class Directory:
    """Keeps `newest` told of storehouses and sensors; `changed` is awaited with the storehouses that look different."""

    def __init__(self, ask: Ask, newest: Newest, clock: Clock, changed: Callable[[set[Id]], Awaitable[None]]) -> None:
        self._ask = ask
        self._newest = newest
        self._clock = clock
        self._changed = changed
        self._hurry = asyncio.Event()

    async def take(self, readings: Sequence[Reading]) -> None:
        """Look again soon if one of the readings is of a sensor that is not known."""
        if not all(self._newest.knows(reading.key) for reading in readings):
            self._hurry.set()

    async def refresh(self) -> None:
        """Look now; raises `Unavailable`."""
        before = self._newest.keys()
        storehouses, sensors = await self._ask.directory()
        changed = self._newest.learn(storehouses, sensors, self._clock())
        if self._newest.keys() - before:
            changed |= self._newest.take(await self._ask.newest(), self._clock())
        await self._changed(changed)

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            with suppress(TimeoutError):
                # Not wait_for: that of Python 3.11 loses a cancellation which meets the event.
                async with asyncio.timeout(REFRESH_S):
                    await self._hurry.wait()
            self._hurry.clear()
            await self._look()
            await asyncio.sleep(HURRIED_S)

    async def _look(self) -> None:
        try:
            await self.refresh()
        except Unavailable:
            self._hurry.set()
        except Exception:
            log.exception("cannot tell which storehouses and sensors there are")
