"""Fetches past readings for the preview of rules.

It can fetch the lowest and the highest value of each hour, or all readings of a time span.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa

from ask.buckets import HOUR_S, bucket_start
from ask.readings import Key, of_sensor
from ask.sensors import Sensor
from ask.subjects import Subjects
from common.clock import AHEAD
from db.dialects import dialect_of
from db.plausible import plausible
from errors import BadRequest, Unavailable

MOST = 12_000_000
"""Maximum number of readings in a preview. 20 sensors that report each minute produce 10.5 million in a year."""
SPANS = 500
"""Maximum number of time spans in one statement."""

Measured = tuple[float, float | None, int]
"""A reading: its time in seconds since 1970, its value (None for a fault), and its rank. If two readings have the same
time, the reading with the higher rank is newer."""
Span = tuple[float, float]
"""A time span: its start and end, in seconds since 1970. The end is not included."""


class Hour(NamedTuple):
    """The lowest and highest value of a sensor in an hour, and the time of the last reading in the hour."""

    low: float
    high: float
    last: float


class ReplayReadings:
    """Fetches past readings from the sensor database. Readings with a time more than 60 s after `now` are left out."""

    def __init__(self, connection: sa.Connection, subjects: Subjects, now: datetime) -> None:
        self._connection = connection
        self._subjects = subjects
        self._now = now
        self.count = 0
        """Number of readings used so far. It may not exceed `MOST`."""

    def hours(self, sensors: Sequence[Sensor], slot_s: int, start: int, end: float) -> dict[Key, dict[int, Hour]]:
        """Return the hours from `start` to `end` in which every slot of `slot_s` seconds has a good reading.

        The result maps the key of each sensor to a dict from the start of an hour (in seconds since 1970) to the
        `Hour`. The result is empty for a site's own tables, because these tables do not always store values as numbers.
        """
        if not self._subjects.ours:
            return {}
        reading = self._subjects.reading.relation.c
        dialect = dialect_of(self._connection)
        second, value = dialect.seconds_since_1970(reading.time), plausible(reading.value)
        hour = bucket_start(second, HOUR_S).label("hour")
        good = sa.case((value.is_not(None), dialect.divide(second, slot_s)))
        until = min(end, self._now.timestamp())
        statement = (
            sa.select(reading.sensor_id, hour, sa.func.min(value), sa.func.max(value), sa.func.max(reading.time))
            .add_columns(sa.func.count(sa.distinct(good)), sa.func.count())
            .where(reading.sensor_id.in_({sensor.sensor_id for sensor in sensors}))
            .where(reading.time >= _instant(start), reading.time < _instant(until // HOUR_S * HOUR_S))
            .group_by(reading.sensor_id, hour)
        )
        hours: dict[Key, dict[int, Hour]] = {sensor.key: {} for sensor in sensors}
        for sensor_id, start_s, low, high, last, slots, count in self._connection.execute(statement):
            self._add_count(count)
            if slots * slot_s == HOUR_S:
                hours[sensor_id, None][start_s] = Hour(low, high, last.timestamp())
        return hours

    def readings(self, sensor: Sensor, spans: Sequence[Span]) -> Iterator[Measured]:
        """Return all readings of a sensor in the time spans `spans`, in chronological order.

        `spans` must also be in chronological order.
        """
        fetch = self._packed if self._subjects.ours and dialect_of(self._connection).packs_readings else self._plain
        for first in range(0, len(spans), SPANS):
            yield from fetch(
                sensor.key, [(_instant(start), _instant(end)) for start, end in spans[first : first + SPANS]]
            )

    def _plain(self, key: Key, spans: Sequence[tuple[datetime, datetime]]) -> Iterable[Measured]:
        readings = of_sensor(self._connection, self._subjects, key, spans, self._now)
        if not self._subjects.ours:
            self._add_count(len(readings))
        measured = ((reading.time.timestamp(), reading.value, reading.rank) for reading in readings)
        return sorted(measured, key=lambda each: each[::2])

    def _packed(self, key: Key, spans: Sequence[tuple[datetime, datetime]]) -> Iterator[Measured]:
        """Yield the readings of a sensor. The query returns one row for each hour, with the readings in one text."""
        reading = self._subjects.reading.relation.c
        dialect = dialect_of(self._connection)
        packed_readings = dialect.packed_readings(
            self._connection, reading.time, plausible(reading.value), reading.reading_id
        )
        hour = bucket_start(dialect.seconds_since_1970(reading.time), HOUR_S).label("hour")
        statement = (
            sa.select(hour, sa.func.count(), packed_readings)
            .where(reading.sensor_id == key[0], reading.time <= self._now + AHEAD)
            .where(sa.or_(sa.false(), *(sa.and_(reading.time >= start, reading.time < end) for start, end in spans)))
            .group_by(hour)
        )
        for _, count, packed in sorted(self._connection.execute(statement)):
            readings = packed.split(",")
            if len(readings) != count:
                raise Unavailable(
                    "the database cut off the packed readings of an hour; choose a span without that hour",
                    reason="too_many_readings_per_hour",
                )
            for rank, each in enumerate(readings):
                microsecond, value = each.split(" ")
                yield int(microsecond) / 1e6, float(value) if value else None, rank

    def _add_count(self, count: int) -> None:
        self.count += count
        if self.count > MOST:
            raise BadRequest(
                f"the preview needs more than {MOST:,} readings; choose a shorter span",
                "end",
                reason="too_many_readings",
                most=MOST,
            )


def _instant(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)
