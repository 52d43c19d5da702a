"""What a sensor has measured, for whoever judges it again: hours in which nothing may have been, and every reading."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa

from ask.buckets import HOUR_S, begin, finite, seconds
from ask.readings import Key, of_sensor
from ask.sensors import Sensor
from ask.subjects import Subjects
from common.clock import AHEAD
from errors import BadRequest, Unavailable

MOST = 12_000_000
"""Readings in all: a year of 20 sensors, one each minute, has 10.5 million."""
LONGEST_ROW = 16_000_000
"""Bytes; by default MySQL cuts off after 1024."""
SPANS = 500
"""Spans in one statement."""

Measured = tuple[float, float | None, int]
"""The time in seconds since 1970, the value (None: a fault), and the rank of the reading."""
Span = tuple[float, float]
"""From a time up to another, in seconds since 1970."""


class Hour(NamedTuple):
    """An hour in which no slot is without a good reading: the lowest and the highest, and the time of the last."""

    low: float
    high: float
    last: float


class ReplayReadings:
    """The readings there are at `now`."""

    def __init__(self, connection: sa.Connection, subjects: Subjects, now: datetime) -> None:
        self._connection = connection
        self._subjects = subjects
        self._now = now
        self.count = 0
        """Readings that were looked at."""

    def hours(self, sensors: Sequence[Sensor], slot_s: int, start: int, end: float) -> dict[Key, dict[int, Hour]]:
        """Return the hours from `start` on that are over by `end` and have a reading in each slot, by when they begin.

        None are found in a site's own tables: whatever their values are, SQL cannot tell.
        """
        if not self._subjects.ours:
            return {}
        reading = self._subjects.reading.relation.c
        dialect = self._connection.dialect
        second, value = seconds(reading.time, dialect), finite(reading.value)
        hour = begin(second, HOUR_S).label("hour")
        slot = second.op("DIV" if dialect.name == "mysql" else "/")(slot_s)
        good = sa.case((value.is_not(None), slot))
        until = min(end, self._now.timestamp())
        statement = (
            sa.select(reading.sensor_id, hour, sa.func.min(value), sa.func.max(value), sa.func.max(reading.time))
            .add_columns(sa.func.count(sa.distinct(good)), sa.func.count())
            .where(reading.sensor_id.in_({one.sensor_id for one in sensors}))
            .where(reading.time >= _instant(start), reading.time < _instant(until // HOUR_S * HOUR_S))
            .group_by(reading.sensor_id, hour)
        )
        found: dict[Key, dict[int, Hour]] = {one.key: {} for one in sensors}
        for sensor_id, at, low, high, last, slots, count in self._connection.execute(statement):
            self._counted(count)
            if slots * slot_s == HOUR_S:
                found[sensor_id, None][at] = Hour(low, high, last.timestamp())
        return found

    def readings(self, sensor: Sensor, spans: Sequence[Span]) -> Iterator[Measured]:
        """Return all readings of a sensor in these spans, which follow each other, in the order of their times."""
        read = self._packed if self._subjects.ours and self._connection.dialect.name == "mysql" else self._plain
        for first in range(0, len(spans), SPANS):
            yield from read(
                sensor.key, [(_instant(start), _instant(end)) for start, end in spans[first : first + SPANS]]
            )

    def _plain(self, key: Key, spans: Sequence[tuple[datetime, datetime]]) -> Iterable[Measured]:
        found = of_sensor(self._connection, self._subjects, key, spans, self._now)
        if not self._subjects.ours:
            self._counted(len(found))
        return sorted(((one.time.timestamp(), one.value, one.rank) for one in found), key=lambda each: each[::2])

    def _packed(self, key: Key, spans: Sequence[tuple[datetime, datetime]]) -> Iterator[Measured]:
        """Have MySQL put the readings of an hour into one row: PyMySQL takes 6 us for a row, this 0.3 us a reading."""
        reading = self._subjects.reading.relation.c
        time = sa.func.timestampdiff(sa.text("MICROSECOND"), "1970-01-01", reading.time)
        each = sa.func.aggregate_strings(sa.func.concat(time, " ", sa.func.coalesce(reading.value, "")), ",")
        hour = begin(seconds(reading.time, self._connection.dialect), HOUR_S).label("hour")
        statement = (
            sa.select(hour, sa.func.count(), each.aggregate_order_by(reading.time, reading.reading_id))
            .where(reading.sensor_id == key[0], reading.time <= self._now + AHEAD)
            .where(sa.or_(sa.false(), *(sa.and_(reading.time >= start, reading.time < end) for start, end in spans)))
            .group_by(hour)
        )
        self._connection.exec_driver_sql(f"SET SESSION group_concat_max_len = {LONGEST_ROW}")
        for _, count, packed in sorted(self._connection.execute(statement)):
            found = packed.split(",")
            if len(found) != count:
                raise Unavailable("there are more readings in an hour than the database puts together")
            for rank, one in enumerate(found):
                microsecond, value = one.split(" ")
                yield int(microsecond) / 1e6, float(value) if value else None, rank

    def _counted(self, count: int) -> None:
        self.count += count
        if self.count > MOST:
            raise BadRequest(f"that is more than {MOST:,} readings; try a shorter span", "end")


def _instant(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)
