"""The directory of storehouses and sensors, kept up to date with the database."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ask import Ask
from ask.answers import Id
from ask.readings import Reading
from common.clock import Clock
from common.periodic import run_periodically
from common.shared_run import SharedRun
from errors import Unavailable
from live.newest import Newest
from logger import errors_logged

log = logging.getLogger(__name__)

REFRESH_S = 30.0
"""Time between two routine refreshes of the directory of storehouses and sensors, in seconds."""
MIN_INTERVAL_S = 2.0
"""Minimum time between two refreshes of the directory of storehouses and sensors, in seconds.

Each reading of an unknown sensor requests a refresh, and such readings may arrive continuously.
"""


class Directory:
    """Keeps the storehouses and sensors in `newest` up to date with the database.

    After a change, it awaits `changed` with the ids of the changed storehouses. `restricted` returns whether users must
    authenticate. If users need not authenticate, the directory does not query the organisations of the storehouses.
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
        self.is_read = False
        """Whether the storehouses, the sensors and their newest readings have been read since the start."""
        self._refresh_soon = asyncio.Event()
        # Held while the owners are read and applied: the result of an older query must not overwrite a newer one.
        self._turn = asyncio.Lock()
        self._refresh = SharedRun(self._read_directory)
        self._refresh_owners = SharedRun(self._read_owners)

    async def check_sensors(self, readings: Sequence[Reading]) -> None:
        """Schedule a refresh if any of the readings belongs to an unknown sensor."""
        if not all(self._newest.knows(reading.key) for reading in readings):
            self._refresh_soon.set()

    async def refresh(self) -> None:
        """Read the storehouses and sensors now. Raise `Unavailable` if the database does not answer."""
        await self._refresh()

    async def _read_directory(self) -> None:
        storehouses, sensors = await self._ask.directory()
        is_new = not self.is_read or any(not self._newest.knows(sensor.key) for sensor in sensors)
        readings = await self._ask.newest() if is_new else ()
        async with self._turn:
            owners = await self._owners()
            changed = self._newest.set_directory(storehouses, sensors, self._clock())
            changed |= self._newest.add_readings(readings, self._clock())
            if owners is not None:
                changed |= self._newest.set_owners(owners)
            self.is_read = True
            await self._changed(changed)

    async def refresh_owners(self) -> None:
        """Read the organisation of each storehouse now, if users must authenticate.

        Await this method after data is read and before the data is pushed. If a storehouse has moved to another
        organisation, users of its previous organisation then do not get data that was committed after the move. Raise
        `Unavailable` if the database does not answer.
        """
        if self._restricted():
            await self._refresh_owners()

    async def _read_owners(self) -> None:
        async with self._turn:
            owners = await self._owners()
            moved = set() if owners is None else self._newest.set_owners(owners)
            if moved:
                await self._changed(moved)

    async def run(self) -> None:
        """Refresh periodically until cancelled."""
        await run_periodically(
            self._refresh_once,
            REFRESH_S,
            log=log,
            purpose="refresh the directory",
            wake=self._refresh_soon,
            wait_first=True,
        )

    async def _refresh_once(self) -> None:
        with errors_logged(log, "read the storehouses and sensors"):
            try:
                await self.refresh()
            except Unavailable:
                self._refresh_soon.set()
        # Not in a `finally` block: there a cancelled task would sleep too and delay the server's shutdown.
        await asyncio.sleep(MIN_INTERVAL_S)

    async def _owners(self) -> Mapping[Id, Id] | None:
        return await self._ask.owners() if self._restricted() else None
