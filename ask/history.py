"""Queries of the history of a storehouse's sensors, for charts.

The history consists of the minimum, maximum and mean of a sensor's readings in each bucket (time span).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from ask.answers import Curve, History, Id, Point, Storehouse
from ask.buckets import HOUR_S, Frame, bucket_start, frame, rolled_up
from ask.ids import identity, metric_key
from ask.questions import QueryEnvs
from ask.readings import Key
from ask.rows import fetch_at_most, number
from ask.sensors import Sensor, no_sensor, sensors
from ask.subjects import Subject, Subjects
from common.clock import AHEAD
from common.time_zones import LocalSpan, local_spans
from db import tables
from db.dialects import Dialect, dialect_of
from db.plausible import plausible
from errors import BadRequest, Unavailable

LONGEST = timedelta(days=366)
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
MOST_POINTS = 100_000
"""Maximum number of points in an answer, for all sensors together. In a storehouse with many sensors, each sensor
therefore gets fewer and wider buckets (time spans)."""
MOST_ROWS = 3 * MOST_POINTS
"""Maximum number of rows that a history query may return. A query can return several rows for one bucket (time span) if
the clocks change in the bucket, or if some of the bucket's readings are not in the rollups yet."""
BEHIND = 100_000
"""A history query uses the rollups if they lack at most this number of readings. If they lack more, a query of all
readings is faster than a query of the rollups and of the readings that they lack."""
SPARK_HOURS = 24


@dataclass(frozen=True, slots=True)
class Bucket:
    """The minimum, maximum, sum and count of a sensor's good readings in a bucket (time span)."""

    min: float
    max: float
    sum: float
    count: int

    @property
    def mean(self) -> float:
        """The mean of the readings, rounded to six significant digits, because further digits have no meaning."""
        return min(max(float(f"{self.sum / self.count:.6g}"), self.min), self.max)


Buckets = dict[Key, dict[int, Bucket]]
"""A dict from the key of each sensor to its buckets (time spans). The buckets of a sensor are a dict from the start of
a bucket, in seconds since 1970, to the aggregated readings. Buckets without a good reading are left out."""


def history(
    connection: sa.Connection, subjects: Subjects, question: QueryEnvs, storehouse: Storehouse, now: datetime
) -> History:
    """Return the curves of a storehouse's sensors.

    Raise `NotFound` if the requested sensor does not exist, `BadRequest` if the requested time span is invalid, and
    `Unavailable` if the query exceeds its time limit.
    """
    check_span(question.start, question.end)
    shown = _shown(sensors(connection, subjects, storehouse.store_house_id), question.sensor_id)
    most = min(question.points, MOST_POINTS // max(len(shown), 1))
    span = frame(question.start, question.end, most)
    by_sensor = buckets(connection, subjects, shown, span, now)
    curves = [
        Curve(sensor.sensor_id, sensor.sensor_name, sensor.metric, sensor.unit, points(by_sensor.get(sensor.key, {})))
        for sensor in shown
    ]
    start, end = question.start.astimezone(UTC), question.end.astimezone(UTC)
    return History(storehouse.store_house_id, start, end, span.bucket_s, curves)


def encoded(answer: History) -> msgspec.Raw:
    """Return an answer as JSON. Call this in a worker thread.

    In the event loop, the encoding of 100,000 points would delay the pushes by 0.1 s. msgspec does not let other
    threads run while it encodes, so each curve is encoded separately.
    """
    curves: Any = [msgspec.Raw(msgspec.json.encode(curve)) for curve in answer.sensors]
    return msgspec.Raw(msgspec.json.encode(msgspec.structs.replace(answer, sensors=curves)))


def check_span(start: datetime, end: datetime) -> None:
    """Raise `BadRequest` if the time span from `start` to `end` is invalid.

    `start` must be in 1970 or later, and before the year 9000. `end` must be after `start`, by at most 366 days.
    """
    check_time(start, "start")
    if end <= start:
        raise BadRequest("must be later than start", "end", reason="end_before_start")
    if end - start > LONGEST:
        raise BadRequest(
            f"must be at most {LONGEST.days} days after start", "end", reason="span_too_long", most_days=LONGEST.days
        )


def check_time(time: datetime, field: str) -> None:
    """Raise `BadRequest` if `time` is before 1970, or in the year 9000 or later.

    Some databases or time zones cannot represent such times.
    """
    if not EARLIEST <= time < LATEST:
        raise BadRequest(
            f"must be in {EARLIEST:%Y} or later, and before {LATEST:%Y}", field, reason="time_out_of_range"
        )


def points(of_sensor: dict[int, Bucket]) -> list[Point]:
    """Convert a sensor's buckets (time spans) to the points of an answer, in chronological order."""
    return [
        (datetime.fromtimestamp(second, UTC), bucket.min, bucket.max, bucket.mean, bucket.count)
        for second, bucket in sorted(of_sensor.items())
    ]


def sparks(
    connection: sa.Connection, subjects: Subjects, wanted: Sequence[Sensor], now: datetime
) -> dict[Key, list[float | None]]:
    """Return a dict from the key of each sensor to its hourly means of the last 24 hours.

    The current hour is included. The mean of an hour without good readings is None.
    """
    end_s = int(now.timestamp()) // HOUR_S * HOUR_S + HOUR_S
    span = Frame(end_s - SPARK_HOURS * HOUR_S, end_s, HOUR_S)
    by_sensor = buckets(connection, subjects, wanted, span, now)
    hours = range(span.start_s, span.end_s, HOUR_S)
    return {
        key: [of_key[hour].mean if hour in of_key else None for hour in hours]
        for key, of_key in ((sensor.key, by_sensor.get(sensor.key, {})) for sensor in wanted)
    }


def _shown(in_storehouse: list[Sensor], sensor_id: Id | None) -> list[Sensor]:
    if sensor_id is None:
        return in_storehouse
    # A string of digits also matches an integer id.
    shown = [each for each in in_storehouse if each.sensor_id == sensor_id or str(each.sensor_id) == sensor_id]
    if not shown:
        raise no_sensor(sensor_id)
    return shown


def buckets(
    connection: sa.Connection, subjects: Subjects, wanted: Iterable[Sensor], span: Frame, now: datetime
) -> Buckets:
    """Return the readings of the sensors `wanted`, aggregated in the buckets (time spans) of `span`.

    Leave out readings with a time more than 60 s after `now`. Raise `Unavailable` if the query exceeds its time limit.
    """
    sensor_ids = {sensor.sensor_id for sensor in wanted}
    if not sensor_ids:
        return {}
    span = span._replace(end_s=min(span.end_s, int((now + AHEAD).timestamp())))
    parts = _parts(connection, subjects, sensor_ids, span, now)
    if not parts:
        return {}
    try:
        return _merged(fetch_at_most(connection, sa.union_all(*parts), MOST_ROWS), subjects.reading)
    except sa.exc.OperationalError as error:
        if not dialect_of(connection).is_time_limit(error):
            raise
        raise Unavailable(
            "the history query exceeded its time limit; choose a shorter span, "
            "or add an index of the readings by sensor and time",
            reason="query_too_slow",
        ) from None


def _parts(
    connection: sa.Connection, subjects: Subjects, sensor_ids: Collection[Id], span: Frame, now: datetime
) -> list[sa.Select[Any]]:
    """Return SELECT statements that together aggregate every reading exactly once.

    The columns of a result row are the sensor, the metric, the start of the bucket (time span), and the minimum,
    maximum, sum and count of the readings. If the reading table has a column for each metric, a result row has a
    minimum, a maximum, a sum and a count for each of these metrics.
    """
    reading = subjects.reading
    width_s = rolled_up(span.bucket_s) if subjects.ours else None
    if width_s is not None and _behind(connection) <= BEHIND:
        return [_of_rollups(sensor_ids, span, width_s), _not_rolled_up(connection, reading, sensor_ids, span)]
    time, values = reading.column("time"), _values(connection, subjects)
    parts = []
    for local in _local_spans(reading, span, now):
        # `local.start` is naive, like the times in the table. If the table has no time zone, it is aware and in UTC.
        here = [reading.among("sensor_id", sensor_ids), time >= local.start, time < local.end]
        parts.append(_of_readings(connection, reading, values, span, local.offset).where(*here))
    return parts


def _local_spans(reading: Subject, span: Frame, now: datetime) -> list[LocalSpan]:
    start, end = (datetime.fromtimestamp(second, UTC) for second in (span.start_s, span.end_s))
    if start >= end:
        return []
    if reading.tz is None:
        return [LocalSpan(start, end, timedelta())]
    return local_spans(start, end, reading.tz, now)


def _of_readings(
    connection: sa.Connection, reading: Subject, values: list[Any], span: Frame, offset: timedelta
) -> sa.Select[Any]:
    dialect = dialect_of(connection)
    second = dialect.seconds_since_1970(reading.column("time")) - int(offset.total_seconds())
    sensor_id = _grouped(dialect, reading.column("sensor_id"), reading.is_text("sensor_id")).label("sensor_id")
    metric = _grouped(dialect, reading.column("metric"), reading.has("metric")).label("metric")
    groups = [sensor_id, metric, bucket_start(second, span.bucket_s).label("second")]
    aggregates = [
        aggregate(value) for value in values for aggregate in (sa.func.min, sa.func.max, sa.func.sum, sa.func.count)
    ]
    return sa.select(*groups, *aggregates).select_from(reading.relation).group_by(*groups)


def _grouped(dialect: Dialect, column: sa.ColumnElement[Any], is_text: bool) -> sa.ColumnElement[Any]:
    return dialect.grouped_text(column) if is_text else column


def _values(connection: sa.Connection, subjects: Subjects) -> list[Any]:
    """Return a numeric SQL expression for each value column of the reading table.

    The expression is null for a fault: a value for which `ask.rows.number` returns None.
    """
    reading = subjects.reading
    columns: list[Any] = [reading.relation.c[label] for label in reading.wide.values()]
    columns = columns or [reading.column("value")]
    if subjects.ours:
        return [plausible(column) for column in columns]
    return dialect_of(connection).numbers(connection, columns, number)


def _behind(connection: sa.Connection) -> int:
    """Return the approximate number of readings that the rollups do not include yet."""
    highest = sa.select(sa.func.max(tables.reading.c.reading_id)).scalar_subquery()
    reached, last = connection.execute(sa.select(_position(), highest)).one()
    return int(last or 0) - int(reached)


def _position() -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.select(tables.rollup_position.c.reading_id).scalar_subquery(), -1)


def _of_rollups(sensor_ids: Collection[Id], span: Frame, width_s: int) -> sa.Select[Any]:
    rollup = tables.rollup.c
    second = bucket_start(rollup.start, span.bucket_s).label("second")
    count = sa.cast(sa.func.sum(rollup.count), sa.BigInteger)  # in MySQL, SUM of integers is a DECIMAL
    values = sa.func.min(rollup.min), sa.func.max(rollup.max), sa.func.sum(rollup.sum), count
    return (
        sa.select(rollup.sensor_id, sa.null().label("metric"), second, *values)
        .where(rollup.bucket_s == width_s, rollup.sensor_id.in_(sensor_ids))
        .where(rollup.start >= span.start_s, rollup.start < span.end_s)
        .group_by(rollup.sensor_id, second)
    )


def _not_rolled_up(
    connection: sa.Connection, reading: Subject, sensor_ids: Collection[Id], span: Frame
) -> sa.Select[Any]:
    columns = reading.relation.c
    start, end = (datetime.fromtimestamp(second, UTC) for second in (span.start_s, span.end_s))
    # The same statement reads the position, because another process may move it between two statements. `+ 0` stops the
    # database from using the index on `sensor_id`. With that index, it would read all readings of a sensor.
    few = (
        columns.reading_id > _position(),
        (columns.sensor_id + 0).in_(sensor_ids),
        columns.time >= start,
        columns.time < end,
    )
    return _of_readings(connection, reading, [plausible(columns.value)], span, timedelta()).where(*few)


def _merged(rows: Iterable[Any], reading: Subject) -> Buckets:
    metrics = list(reading.wide)
    merged: Buckets = defaultdict(dict)
    for sensor_id, metric, second, *values in rows:
        for index in range(0, len(values), 4):
            low, high, total, count = values[index : index + 4]
            if not count:
                continue
            of_key = merged[_id(sensor_id), metrics[index // 4] if metrics else metric_key(_decoded(metric))]
            part, earlier = Bucket(float(low), float(high), float(total), int(count)), of_key.get(second)
            of_key[second] = part if earlier is None else _sum(part, earlier)
    return merged


def _sum(a: Bucket, b: Bucket) -> Bucket:
    return Bucket(min(a.min, b.min), max(a.max, b.max), a.sum + b.sum, a.count + b.count)


def _id(value: Any) -> Id:
    return identity(_decoded(value))


def _decoded(value: Any) -> Any:
    # As in `db.dialects`, an invalid text must not make the query fail.
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
