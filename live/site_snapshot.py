"""Saves the last known state of the site in the database `state`, and loads it if the sensor database is unreachable.

Without it, a server that starts without its sensor database could show nothing. The snapshot contains the names of all
storehouses and sensors, and the newest readings. One process at a time saves it, in parts.
"""

import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from ask.answers import Organisation, Storehouse
from ask.readings import Reading
from ask.sensors import Sensor
from common.clock import Clock
from common.periodic import run_periodically
from db.database import Database
from live import leases
from live.directory import Directory
from live.newest import Newest
from live.overview_feed import OverviewFeed
from record import lease, snapshots

log = logging.getLogger(__name__)

LEASE = "site snapshot"
LEASE_DURATION = timedelta(seconds=50)
SAVE_S = 20.0
"""Seconds between two saves. The loaded readings may be older than the last known ones by this time."""
BATCH = 1_000
"""Number of sensors in one part, except that a storehouse is never divided."""


class SitePart(NamedTuple):
    """A part of a snapshot of the site. Each part can be used without the others."""

    organisations: Sequence[Organisation]
    storehouses: Sequence[Storehouse]
    sensors: Sequence[Sensor]
    readings: Sequence[Reading]


class SiteSnapshot:
    """Saves the state of the site periodically, and loads it. `holder` is the name of this process.

    `is_lost` returns whether the server has lost its connection to the sensor database. Nothing is saved then.
    """

    def __init__(
        self,
        state: Database,
        newest: Newest,
        overview: OverviewFeed,
        directory: Directory,
        clock: Clock,
        is_lost: Callable[[], bool],
        holder: str,
    ) -> None:
        self._state = state
        self._newest = newest
        self._overview = overview
        self._directory = directory
        self._clock = clock
        self._is_lost = is_lost
        self._holder = holder

    async def run(self) -> None:
        """Save the state of the site until cancelled. Then release the lease."""
        try:
            await run_periodically(self.save, SAVE_S, log=log, purpose="save the state of the site", wait_first=True)
        finally:
            await leases.release(self._state, LEASE, self._holder)

    async def save(self) -> None:
        """Save the state of the site, if this process has the lease. Raise `Unavailable` if `state` does not answer."""
        if self._is_lost() or not self._directory.is_read:
            return
        number = 0
        for number, part in enumerate(self._parts(), 1):
            content = msgspec.msgpack.encode(part)
            if not await self._state.run(lambda connection, n=number, c=content: self._write(connection, n, c)):  # type: ignore[misc]
                return
        await self._state.run(lambda connection: _delete_after(connection, number))

    async def load(self) -> None:
        """Show the saved state until the sensor database answers. Raise `Unavailable` if `state` does not answer."""
        contents = await self._state.run(snapshots.site_parts)
        if self._directory.is_read:
            return  # the sensor database has answered meanwhile
        try:
            parts = [msgspec.msgpack.decode(zlib.decompress(content), type=SitePart) for content in contents]
        except (msgspec.DecodeError, zlib.error):
            log.warning("cannot read the saved state of the site; the pages show nothing until the database answers")
            return
        now = self._clock()
        # A storehouse may be in two parts if the last save was interrupted.
        storehouses = {each.store_house_id: each for part in parts for each in part.storehouses}
        sensors = {(each.sensor_id, each.metric): each for part in parts for each in part.sensors}
        self._newest.set_directory(storehouses.values(), sensors.values(), now)
        self._newest.add_readings((reading for part in parts for reading in part.readings), now)
        self._overview.set_organisations(each for part in parts for each in part.organisations)

    def _parts(self) -> Iterator[SitePart]:
        organisations = self._overview.organisations
        storehouses: list[Storehouse] = []
        sensors: list[Sensor] = []
        for storehouse in self._newest.storehouses():
            storehouses.append(storehouse)
            sensors += self._newest.sensors(storehouse.store_house_id)
            if len(sensors) >= BATCH:
                yield SitePart(organisations, storehouses, sensors, self._readings(sensors))
                organisations, storehouses, sensors = [], [], []
        yield SitePart(organisations, storehouses, sensors, self._readings(sensors))

    def _readings(self, sensors: Iterable[Sensor]) -> list[Reading]:
        readings = (self._newest.reading(sensor.key) for sensor in sensors)
        return [reading for reading in readings if reading is not None]

    # The method below runs in a worker thread and may continue after its caller is cancelled. Therefore it must not
    # change attributes.

    def _write(self, connection: sa.Connection, number: int, content: bytes) -> bool:
        with connection.begin():
            if lease.acquire(connection, LEASE, self._holder, LEASE_DURATION, waits=False) is None:
                return False
            snapshots.replace_site_part(connection, number, zlib.compress(content, 1))
            return True


def _delete_after(connection: sa.Connection, number: int) -> None:
    with connection.begin():
        snapshots.delete_site_parts_after(connection, number)
