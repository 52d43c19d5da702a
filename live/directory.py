"""Which storehouses and sensors there are, kept up with the database."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from ask import Ask
from ask.answers import Id
from ask.readings import Reading
from common.clock import Clock
from errors import Unavailable
from live.newest import Newest

log = logging.getLogger("live")

REFRESH_S = 30.0
"""Between two looks, where nothing calls for one."""
HURRIED_S = 2.0
"""Between two looks in any case: readings of a sensor that is in no list may come for ever."""


class Directory:
    """Keeps `newest` told of storehouses and sensors; `changed` is awaited with the storehouses that look different.

    `restricted` tells whether it matters to anybody whose they are.
    """

    def __init__(
        self,
        ask: Ask,
        newest: Newest,
        clock: Clock,
        changed: Callable[[set[Id]], Awaitable[None]],
        restricted: Callable[[], bool],
    ) -> None:
        self._ask = ask
        self._restricted = restricted
        self._newest = newest
        self._clock = clock
        self._changed = changed
        self._hurry = asyncio.Event()
        # What was asked later must not be overwritten by what was asked earlier.
        self._turn = asyncio.Lock()

    async def take(self, readings: Sequence[Reading]) -> None:
        """Look again soon if one of the readings is of a sensor that is not known."""
        if not all(self._newest.knows(reading.key) for reading in readings):
            self._hurry.set()

    async def refresh(self) -> None:
        """Look now; raises `Unavailable`."""
        storehouses, sensors = await self._ask.directory()
        is_new = any(not self._newest.knows(sensor.key) for sensor in sensors)
        readings = await self._ask.newest() if is_new else ()
        async with self._turn:
            owners = await self._owners()
            changed = self._newest.learn(storehouses, sensors, self._clock())
            changed |= self._newest.take(readings, self._clock())
            if owners is not None:
                changed |= self._newest.own(owners)
            await self._changed(changed)

    async def own(self) -> None:
        """Learn whose each storehouse is; raises `Unavailable`.

        Awaited between reading anything and pushing it, it keeps what was committed after a storehouse has moved from
        those who may not see it any more.
        """
        if not self._restricted():
            return
        async with self._turn:
            owners = await self._owners()
            moved = set() if owners is None else self._newest.own(owners)
            if moved:
                await self._changed(moved)

    async def _owners(self) -> Mapping[Id, Id] | None:
        return await self._ask.owners() if self._restricted() else None

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
