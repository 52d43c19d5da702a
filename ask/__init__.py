"""Queries of the sensor database and of Storewatch's own tables. No other package queries a site's own tables.

The event loop runs the queries through the class `Ask`. Every method of `Ask` raises `Unavailable` if the database does
not answer.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Concatenate, ParamSpec, TypeVar

import msgspec
import sqlalchemy as sa

from ask import alarms, episodes, history, organisations, readings, sensors, storehouses
from ask.answers import Alarm, Id, Organisation, Storehouse
from ask.questions import QueryAlarms, QueryEnvs, Storehouses
from ask.readings import Key, Reading, Row, Spans
from ask.sensors import Sensor
from ask.subjects import Subjects
from common.clock import Clock
from db.database import Database
from errors import BadRequest, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

SHORT = timedelta(days=1)
"""Maximum age of the readings in the second query of `Ask.newest`.

The first query has no maximum age. `Ask.newest` sends the second query if the first query fails and the readings are in
a site's own tables.
"""


class Ask:
    """Runs queries on the sensor database, and on the alarms that Storewatch judges.

    `database` is the sensor database. `patient` is the same database with longer time limits, for slow queries. `state`
    is the database with the alarms that Storewatch judges. `timed(name)` returns a context manager that measures the
    duration of the query `name`, such as "readings.newest".

    `subjects` is None while the server has not reached the sensor database since its start. Until `subjects` is set,
    all queries of the sensor database raise `Unavailable`.
    """

    def __init__(
        self,
        database: Database,
        patient: Database,
        subjects: Subjects | None,
        clock: Clock,
        state: Database,
        timed: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._subjects = subjects
        self._state = state
        self._database = database
        self._patient = patient
        self._clock = clock
        self._timed = timed

    @property
    def subjects(self) -> Subjects:
        """The subjects of the sensor database. Raise `Unavailable` if they are not known yet."""
        if self._subjects is None:
            raise Unavailable("the server has not reached the database since its start")
        return self._subjects

    @subjects.setter
    def subjects(self, subjects: Subjects) -> None:
        self._subjects = subjects

    @property
    def has_site_alarms(self) -> bool:
        """Whether the sensor database contains alarms of the site's own system. False while this is not known."""
        return self._subjects is not None and self._subjects.alarm is not None

    async def organisations(self) -> list[Organisation]:
        """Return all organisations."""
        return await self._put(organisations.organisations)

    async def organisation(self, org_id: Id) -> Id:
        """Return `org_id`, converted to the type of its database column (integer or string).

        Raise `NotFound` if no organisation has this id.
        """
        return await self._put(organisations.organisation, org_id)

    async def storehouses(self, question: Storehouses) -> list[Storehouse]:
        """Return an organisation's storehouses, or an empty list if the organisation does not exist."""
        return await self._put(storehouses.storehouses, question.org_id)

    async def all_storehouses(self) -> list[Storehouse]:
        """Return the storehouses of all organisations."""
        return await self._put(storehouses.all_storehouses)

    async def storehouse(self, store_house_id: Id) -> Storehouse:
        """Return one storehouse. Raise `NotFound` if it does not exist."""
        return await self._put(storehouses.storehouse, store_house_id)

    async def owners(self) -> dict[Id, Id]:
        """Return a dict from the id of each storehouse to the `org_id` of its organisation."""
        return await self._put(storehouses.owners)

    async def alarms(self, question: QueryAlarms, storehouse: Storehouse) -> list[Alarm]:
        """Return a storehouse's alarms that were open at a given time or were raised later, newest first.

        The time is `data_minute` in `question`. The list contains alarms from the site's own system, and alarms that
        Storewatch judges. Raise `BadRequest` if there are more than 10,000 alarms.
        """
        now = self._clock()
        since = alarms.since_minute(question.data_minute, storehouse, now)
        site_alarms = await self._put(alarms.alarms, storehouse, since, now)
        with self._timed("episodes.since"):
            our_alarms = await self._state.run(
                lambda connection: episodes.since(connection, storehouse.store_house_id, since, alarms.MOST + 1)
            )
        if len(site_alarms) + len(our_alarms) > alarms.MOST:
            raise BadRequest(
                f"more than {alarms.MOST} alarms match; choose a shorter time span",
                "data_minute",
                reason="too_many_alarms",
                most=alarms.MOST,
            )
        return sorted(site_alarms + our_alarms, key=lambda alarm: alarm.raised, reverse=True)

    async def site_alarm_subject(self, alarm_id: Id) -> tuple[Id | None, Id | None] | None:
        """Return the ids of an alarm's storehouse and sensor.

        Return None if the site's own alarm system has no alarm with this `alarm_id`. Each of the two ids is None if the
        alarm's row does not contain it.
        """
        return await self._put(alarms.subject, alarm_id)

    async def episode_storehouse(self, episode_id: int) -> Id | None:
        """Return the id of an alarm's storehouse, or None if Storewatch judges no alarm with this `episode_id`."""
        return await self._state.run(lambda connection: episodes.storehouse_of(connection, episode_id))

    async def sensors(self, storehouse: Storehouse) -> list[Sensor]:
        """Return the sensors of a storehouse, ordered by id."""
        return await self._put(sensors.sensors, storehouse.store_house_id)

    async def recent_alarms(self, since: datetime) -> list[Alarm]:
        """Return the alarms of all storehouses that were open at `since` or were raised later.

        The list contains only alarms from the site's own alarm system.
        """
        return await self._put_patiently(alarms.recent, since, self._clock())

    async def history(self, question: QueryEnvs, storehouse: Storehouse) -> msgspec.Raw:
        """Return the history of a storehouse's sensors, a `History`, as JSON.

        Raise `NotFound` if the requested sensor does not exist, and `BadRequest` if the requested time span is invalid.
        """
        with self._timed("history.history"):
            return await self._patient.run(
                lambda connection: history.encoded(
                    history.history(connection, self.subjects, question, storehouse, self._clock())
                )
            )

    async def sparks(self, wanted: Sequence[Sensor]) -> dict[Key, list[float | None]]:
        """Return a dict from the key of each sensor in `wanted` to the sensor's hourly means of the last 24 hours."""
        return await self._put(history.sparks, wanted, self._clock())

    async def directory(self) -> tuple[list[Storehouse], list[Sensor]]:
        """Return two lists: all storehouses and all sensors."""
        return await self._put_patiently(storehouses.all_storehouses), await self._put_patiently(sensors.sensors)

    async def newest(self) -> list[Reading]:
        """Return the newest reading of each sensor.

        If the query fails and the readings are in a site's own tables, send a second query, which reads only the
        readings of the last day (`SHORT`).
        """
        now = self._clock()
        try:
            return await self._newest(None, now)
        except Unavailable:
            if self.subjects.ours:
                raise
        return await self._newest(now - SHORT, now)

    async def rows_after(self, from_id: int, holes: Spans, most: int) -> list[Row]:
        """Return rows of the reading table: rows with an id of at least `from_id`, and rows with an id in `holes`.

        `holes` are ranges of ids that earlier queries did not find. The result contains at most `most` rows of each of
        these two groups.
        """
        return await self._put(readings.after, from_id, holes, most, self._clock())

    async def rows_between(self, spans: Sequence[tuple[datetime, datetime]], most: int) -> list[Row]:
        """Return at most `most` rows of the reading table, with times that lie in one of `spans`."""
        return await self._put(readings.between, spans, most, self._clock())

    async def highest_row(self) -> int:
        """Return the highest `reading_id`, or -1 if there are no readings."""
        return await self._put(readings.highest)

    async def row_ids(self, low: int, high: int) -> list[int]:
        """Return the ids from `low` to `high` that exist in the reading table."""
        return await self._put(readings.ids_between, low, high)

    async def _newest(self, since: datetime | None, now: datetime) -> list[Reading]:
        with self._timed("readings.newest"):
            return await self._patient.run(lambda c: readings.newest(c, self.subjects, since, now))

    async def _put(
        self, question: Callable[Concatenate[sa.Connection, Subjects, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with self._timed(_name(question)):
            return await self._database.run(lambda connection: question(connection, self.subjects, *args, **kwargs))

    async def _put_patiently(
        self, question: Callable[Concatenate[sa.Connection, Subjects, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Send a query that may return a long list, with the time limits of the database `patient`."""
        with self._timed(_name(question)):
            return await self._patient.run(lambda connection: question(connection, self.subjects, *args, **kwargs))


def _name(question: Callable[..., object]) -> str:
    subject = question.__module__.rpartition(".")[2]
    return f"{subject}.{question.__name__}"
