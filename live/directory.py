"""The directory of storehouses and sensors, kept up to date with the database."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ask import Ask
from ask.answers import Id
from ask.readings import Reading
from common.clock import Clock
from common.periodic import run_periodically
from errors import Unavailable
from live.newest import Newest
from logger import errors_logged

log = logging.getLogger(__name__)

REFRESH_S = 30.0
"""Between two refreshes that nothing calls for."""
MIN_INTERVAL_S = 2.0
"""Between any two refreshes: readings of a sensor that is in no list may come for ever."""


class Directory:
    """Updates `newest` with the storehouses and sensors; `changed` is awaited with the storehouses that look different.

    `restricted` tells whether access is restricted, so that it matters who owns a storehouse.
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
        self._refresh_soon = asyncio.Event()
        # The answer to an earlier question must not overwrite that to a later one.
        self._turn = asyncio.Lock()

    async def check_sensors(self, readings: Sequence[Reading]) -> None:
        """Refresh soon if one of the readings is of an unknown sensor."""
        if not all(self._newest.knows(reading.key) for reading in readings):
            self._refresh_soon.set()

    async def refresh(self) -> None:
        """Read storehouses and sensors now; raises `Unavailable`."""
        storehouses, sensors = await self._ask.directory()
        is_new = any(not self._newest.knows(sensor.key) for sensor in sensors)
        readings = await self._ask.newest() if is_new else ()
        async with self._turn:
            owners = await self._owners()
            changed = self._newest.set_directory(storehouses, sensors, self._clock())
            changed |= self._newest.add_readings(readings, self._clock())
            if owners is not None:
                changed |= self._newest.set_owners(owners)
            await self._changed(changed)

    async def refresh_owners(self) -> None:
        """Read the organisation of each storehouse now, if access is restricted; raises `Unavailable`.

        Await it between reading anything and pushing it: so what was committed after a storehouse has moved to another
        organisation is not shown to users of the former one.
        """
        if not self._restricted():
            return
        async with self._turn:
            owners = await self._owners()
            moved = set() if owners is None else self._newest.set_owners(owners)
            if moved:
                await self._changed(moved)

    async def run(self) -> None:
        """Refresh again and again until cancelled."""
        await run_periodically(
            self._refresh_once,
            REFRESH_S,
            log=log,
            purpose="refresh the directory",
            wake=self._refresh_soon,
            wait_first=True,
        )

    async def _refresh_once(self) -> None:
        # Not in a `finally`: a task that is cancelled would wait, and the server would stop late.
        with errors_logged(log, "read which storehouses and sensors there are"):
            try:
                await self.refresh()
            except Unavailable:
                self._refresh_soon.set()
        await asyncio.sleep(MIN_INTERVAL_S)

    async def _owners(self) -> Mapping[Id, Id] | None:
        return await self._ask.owners() if self._restricted() else None
