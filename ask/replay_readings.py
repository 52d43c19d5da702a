"""Past readings for the preview of rules: the extremes of hours, or every reading of spans."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa

from ask.buckets import HOUR_S, bucket_start, finite
from ask.readings import Key, of_sensor
from ask.sensors import Sensor
from ask.subjects import Subjects
from common.clock import AHEAD
from db.dialects import dialect_of
from errors import BadRequest, Unavailable

MOST = 12_000_000
"""Readings in all: a year of 20 sensors, one each minute, has 10.5 million."""
SPANS = 500
"""Spans in one statement."""

Measured = tuple[float, float | None, int]
"""The time in seconds since 1970, the value (None: a fault), and the rank of the reading."""
Span = tuple[float, float]
"""Start and end, in seconds since 1970; the end is excluded."""


class Hour(NamedTuple):
    """An hour with a good reading in every slot: the lowest and highest value, and the time of the last reading."""

    low: float
    high: float
    last: float


class ReplayReadings:
    """The readings of a database as they are at `now`."""

    def __init__(self, connection: sa.Connection, subjects: Subjects, now: datetime) -> None:
        self._connection = connection
        self._subjects = subjects
        self._now = now
        self.count = 0
        """Readings fetched so far."""

    def hours(self, sensors: Sequence[Sensor], slot_s: int, start: int, end: float) -> dict[Key, dict[int, Hour]]:
        """Return, by their start, the hours from `start` to `end` that have a good reading in every slot of `slot_s`.

        A site's own tables give none: in SQL, their values may not be numbers.
        """
        if not self._subjects.ours:
            return {}
        reading = self._subjects.reading.relation.c
        dialect = dialect_of(self._connection)
        second, value = dialect.seconds_since_1970(reading.time), finite(reading.value)
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
        """Return all readings of a sensor in these spans, which follow each other, in the order of their times."""
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
        """Have the database put the readings of an hour into one row."""
        reading = self._subjects.reading.relation.c
        dialect = dialect_of(self._connection)
        packed_readings = dialect.packed_readings(self._connection, reading.time, reading.value, reading.reading_id)
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
                raise Unavailable("there are more readings in an hour than the database puts together")
            for rank, each in enumerate(readings):
                microsecond, value = each.split(" ")
                yield int(microsecond) / 1e6, float(value) if value else None, rank

    def _add_count(self, count: int) -> None:
        self.count += count
        if self.count > MOST:
            raise BadRequest(f"that is more than {MOST:,} readings; try a shorter span", "end")


def _instant(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)
