"""The site goes on: its storehouses report what they read now, each in its turn."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import sqlalchemy as sa

import settings
from common import clock
from db.database import ASKING, Database
from demo import simulation, thinning
from demo.history import Installed, install
from demo.past import MONTH_S
from demo.simulation import SEED, Value
from demo.site import BEAT_S, Sensor
from errors import Unavailable
from record import readings

log = logging.getLogger("demo")

Sleep = Callable[[float], Awaitable[None]]
T = TypeVar("T")


class Reporter:
    """A storehouse that reports; the work on the database is done in a worker thread, one at a time."""

    def __init__(self, installed: Installed, seed: int, thinned: datetime) -> None:
        self._installed = installed
        self._storehouse = installed.storehouse
        self._seed = seed
        self._thinned = thinned
        self._doors: dict[Sensor, Value] = {}

    def is_due(self, second: int) -> bool:
        """Say whether it is this storehouse's turn."""
        return second % BEAT_S == self._storehouse.phase_s

    def report(self, connection: sa.Connection, second: int) -> None:
        """Write what the sensors read, all of them or none, and thin an hour of what they wrote earlier."""
        time = datetime.fromtimestamp(second, UTC)
        values = {sensor: series[0] for sensor, series in self._values(second).items()}
        doors = {sensor: values[sensor] for sensor in self._storehouse.doors}
        changed = [sensor for sensor, value in doors.items() if self._doors.get(sensor) != value]
        ids = self._installed.sensor_ids
        with connection.begin():
            reported = [*self._storehouse.reporting, *changed]
            readings.add(connection, [(ids[sensor], time, values[sensor]) for sensor in reported])
            thinned = self._thin(connection, time)
        self._doors, self._thinned = doors, thinned  # only now: what was not committed is to be done again

    def _values(self, second: int) -> dict[Sensor, list[Value]]:
        return simulation.values(self._storehouse, [second], self._seed)

    def _thin(self, connection: sa.Connection, time: datetime) -> datetime:
        end = self._thinned + thinning.PORTION
        if end > time - thinning.AFTER:
            return self._thinned
        sensor_ids = [self._installed.sensor_ids[sensor] for sensor in self._storehouse.reporting]
        thinning.thin(connection, sensor_ids, self._thinned, self._storehouse.phase_s)
        return end


async def run(
    database_settings: settings.Database,
    clock: clock.Clock = clock.now,
    sleep: Sleep = asyncio.sleep,
    seed: int = SEED,
) -> None:
    """Let every storehouse report once each `BEAT_S`; goes on until it is cancelled."""
    # The limits of a question: a locked database costs a turn soon, and no thread keeps the server from stopping.
    database = Database(database_settings, ASKING, 1, writes=True)
    reporters: list[Reporter] = []
    second = int(clock().timestamp())
    try:
        while True:
            second = following(second, int(clock().timestamp()))
            await sleep(max(0.0, second - clock().timestamp()))
            reporters = reporters or await _attempt(database, partial(_reporters, seed=seed, second=second)) or []
            for reporter in reporters:
                if reporter.is_due(second):
                    await _attempt(database, partial(reporter.report, second=second))
    finally:
        database.close()


def following(second: int, now_s: int) -> int:
    """Return the second to serve after `second`: the next one, unless the clock was set or stood still meanwhile."""
    return max(min(second, now_s) + 1, now_s - BEAT_S)


def _reporters(connection: sa.Connection, seed: int, second: int) -> list[Reporter]:
    # What an earlier run left to thin cannot be known, so all of the month is gone through.
    thinned = datetime.fromtimestamp(second, UTC) - timedelta(seconds=MONTH_S)
    with connection.begin():
        return [Reporter(installed, seed, thinned) for installed in install(connection)]


async def _attempt(database: Database, work: Callable[[sa.Connection], T]) -> T | None:
    """Do `work`; what fails is tried again at the next turn, so the site never stops."""
    try:
        return await database.run(work)
    except (Unavailable, sa.exc.SQLAlchemyError) as error:
        log.warning("the demo could not write: %s", error)
        return None
