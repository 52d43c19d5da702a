"""Writes the demo's live readings. The storehouses report in turn."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import sqlalchemy as sa

import settings
from common import clock
from db.database import Database
from db.limits import QUESTION_LIMITS
from demo import simulation, thinning
from demo.history import Installed, install
from demo.past_readings import MONTH_S
from demo.simulation import SEED, Value
from demo.site import REPORT_INTERVAL_S, Sensor
from errors import Unavailable
from record import readings

log = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[None]]
T = TypeVar("T")


class Reporter:
    """Writes the live readings of one storehouse. `report` runs in a worker thread."""

    def __init__(self, installed: Installed, seed: int, thinned: datetime) -> None:
        self._installed = installed
        self._storehouse = installed.storehouse
        self._seed = seed
        self._thinned = thinned
        self._doors: dict[Sensor, Value] = {}

    def is_due(self, second: int) -> bool:
        """Return whether the storehouse reports in this second."""
        return second % REPORT_INTERVAL_S == self._storehouse.phase_s

    def report(self, connection: sa.Connection, second: int) -> None:
        """Write the readings of one second.

        In the same transaction, delete most readings of one earlier hour (see `thinning`).
        """
        time = datetime.fromtimestamp(second, UTC)
        values = {sensor: series[0] for sensor, series in self._values(second).items()}
        doors = {sensor: values[sensor] for sensor in self._storehouse.doors}
        changed = [sensor for sensor, value in doors.items() if self._doors.get(sensor) != value]
        ids = self._installed.sensor_ids
        with connection.begin():
            reported = [*self._storehouse.reporting, *changed]
            readings.add(connection, [(ids[sensor], time, values[sensor]) for sensor in reported])
            thinned = self._thin(connection, time)
        self._doors, self._thinned = doors, thinned  # set after the commit, so that a failed report is repeated

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
    """Let every storehouse report its readings once every `REPORT_INTERVAL_S` seconds, until cancelled."""
    # With the time limits of a client's query, a report fails soon if the database is locked, and no thread delays the
    # server's shutdown.
    database = Database(database_settings, QUESTION_LIMITS, 1, writes=True)
    reporters: list[Reporter] = []
    second = int(clock().timestamp())
    try:
        while True:
            second = next_second(second, int(clock().timestamp()))
            await sleep(max(0.0, second - clock().timestamp()))
            reporters = reporters or await _attempt(database, partial(_reporters, seed=seed, second=second)) or []
            for reporter in reporters:
                if reporter.is_due(second):
                    await _attempt(database, partial(reporter.report, second=second))
    finally:
        database.close()


def next_second(second: int, now_s: int) -> int:
    """Return the second of the next report, normally `second + 1`.

    If the clock was set or the process was paused, the result is between `now_s - REPORT_INTERVAL_S` and `now_s + 1`.
    """
    return max(min(second, now_s) + 1, now_s - REPORT_INTERVAL_S)


def _reporters(connection: sa.Connection, seed: int, second: int) -> list[Reporter]:
    # The demo does not store how far an earlier run has thinned the readings, so it thins the whole month again.
    thinned = datetime.fromtimestamp(second, UTC) - timedelta(seconds=MONTH_S)
    with connection.begin():
        return [Reporter(installed, seed, thinned) for installed in install(connection)]


async def _attempt(database: Database, work: Callable[[sa.Connection], T]) -> T | None:
    """Run `work` and return its result.

    If the database fails, log the error and return None, so that the demo continues.
    """
    try:
        return await database.run(work)
    except (Unavailable, sa.exc.SQLAlchemyError) as error:
        log.warning("the demo could not write its readings: %s", error)
        return None
