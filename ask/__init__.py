"""The questions put to the sensor database, one file per subject; the only reads.

`Ask` puts each of them from the event loop. Any of its methods raises `Unavailable` when the database does not answer.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from ask import alarms, organisations, readings, sensors, storehouses
from ask.answers import Alarm, Id, Organisation, Storehouse
from ask.questions import QueryAlarms
from ask.readings import Reading, Row, Spans
from ask.sensors import Sensor
from ask.subjects import Subjects
from database import Database
from errors import Unavailable
from instants import Clock

P = ParamSpec("P")
T = TypeVar("T")

SHORT = timedelta(days=1)
"""How far back the newest readings are looked for where a site's tables are too slow for more."""


class Ask:
    """The questions; `patient` is the same database with time for the few long ones."""

    def __init__(self, database: Database, patient: Database, subjects: Subjects, clock: Clock) -> None:
        self.subjects = subjects
        self._database = database
        self._patient = patient
        self._clock = clock

    async def organisations(self) -> list[Organisation]:
        """Return all organisations."""
        return await self._put(organisations.organisations)

    async def storehouses(self, org_id: Id) -> list[Storehouse]:
        """Return an organisation's storehouses; raises `NotFound`."""
        return await self._put(storehouses.storehouses, org_id)

    async def storehouse(self, store_house_id: Id) -> Storehouse:
        """Return one storehouse; raises `NotFound`."""
        return await self._put(storehouses.storehouse, store_house_id)

    async def alarms(self, question: QueryAlarms) -> list[Alarm]:
        """Return a storehouse's alarms, newest first; raises `NotFound`, `BadRequest`."""
        return await self._put(alarms.alarms, question, self._clock())

    async def recent_alarms(self, since: datetime) -> list[Alarm]:
        """Return the alarms of all storehouses open, or raised, since then."""
        return await self._put(alarms.recent, since, self._clock())

    async def directory(self) -> tuple[list[Storehouse], list[Sensor]]:
        """Return all storehouses and all sensors."""
        return await self._put(storehouses.all_storehouses), await self._put(sensors.sensors)

    async def newest(self) -> list[Reading]:
        """Return the newest reading of each sensor."""
        now = self._clock()
        try:
            return await self._patient.run(lambda c: readings.newest(c, self.subjects, None, now))
        except Unavailable:
            if self.subjects.ours:
                raise
        return await self._patient.run(lambda c: readings.newest(c, self.subjects, now - SHORT, now))

    async def rows_after(self, known: int, holes: Spans, most: int) -> list[Row]:
        """Return the rows of readings with ids from `known` on, and those in `holes`."""
        return await self._put(readings.after, known, holes, most, self._clock())

    async def rows_between(self, spans: Sequence[tuple[datetime, datetime]], most: int) -> list[Row]:
        """Return the rows of readings whose times, as they stand in the table, are in `spans`."""
        return await self._put(readings.between, spans, most, self._clock())

    async def highest_row(self) -> int:
        """Return the highest id of a reading, -1 where there is none."""
        return await self._put(readings.highest)

    async def row_ids(self, low: int, high: int) -> list[int]:
        """Return the ids of readings from `low` to `high`."""
        return await self._put(readings.ids_between, low, high)

    async def _put(
        self, question: Callable[Concatenate[sa.Connection, Subjects, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._database.run(lambda connection: question(connection, self.subjects, *args, **kwargs))
