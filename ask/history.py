"""The history of a storehouse's sensors, for charts: of each bucket of time the lowest, the highest and the mean."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from ask.answers import Curve, History, Id, Point
from ask.buckets import HOUR_S, Frame, begin, finite, frame, rolled_up, seconds
from ask.questions import QueryEnvs
from ask.readings import Key
from ask.rows import bounded, number
from ask.sensors import Sensor, sensors
from ask.storehouses import storehouse
from ask.subjects import Subject, Subjects, identity
from ask.visibility import Visibility
from common.clock import AHEAD
from common.time_zones import LocalSpan, local_spans
from db import tables
from errors import BadRequest, NotFound, Unavailable

LONGEST = timedelta(days=366)
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
MOST_POINTS = 100_000
"""Of all sensors together: where there are many, each has fewer and wider buckets."""
MOST_ROWS = 3 * MOST_POINTS
"""Buckets that cross a change of the clocks come in parts, and so do those with readings not rolled up yet."""
BEHIND = 100_000
"""Readings not rolled up yet: where there are more, reading all is quicker than adding these."""
SPARK_HOURS = 24

TOO_LONG = {1969, 3024, "interrupted"}
"""How MariaDB, MySQL and SQLite say that a question has met its time limit."""
MYSQL_TEXTS = {15, 249, 250, 251, 252, 253, 254}
"""PyMySQL's column types that are text."""
NUMBER = r"^[[:space:]]*[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)(e[-+]?[0-9]+)?[[:space:]]*$"


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is known of the readings in a bucket."""

    min: float
    max: float
    sum: float
    count: int

    @property
    def mean(self) -> float:
        """Six digits of the mean: more of them would be noise."""
        return min(max(float(f"{self.sum / self.count:.6g}"), self.min), self.max)


Buckets = dict[Key, dict[int, Bucket]]
"""By sensor, and by the second at which they begin; those without a good reading are left out."""


def history(
    connection: sa.Connection, subjects: Subjects, question: QueryEnvs, now: datetime, visibility: Visibility
) -> History:
    """Return the storehouse's curves; raises `NotFound`, `BadRequest`, and `Unavailable` where it takes too long."""
    place = storehouse(connection, subjects, question.store_house_id, visibility)
    check_span(question.start, question.end)
    shown = _shown(sensors(connection, subjects, place.store_house_id), question.sensor_id)
    most = min(question.points, MOST_POINTS // max(len(shown), 1))
    span = frame(question.start, question.end, most)
    found = buckets(connection, subjects, shown, span, now)
    curves = [
        Curve(one.sensor_id, one.sensor_name, one.metric, one.unit, points(found.get(one.key, {}))) for one in shown
    ]
    start, end = question.start.astimezone(UTC), question.end.astimezone(UTC)
    return History(place.store_house_id, start, end, span.bucket_s, curves)


def check_span(start: datetime, end: datetime) -> None:
    """Raise `BadRequest` where these are not the start and end of a span of at most 366 days."""
    check_time(start, "start")
    if end <= start:
        raise BadRequest("must be later than start", "end")
    if end - start > LONGEST:
        raise BadRequest(f"must be at most {LONGEST.days} days after start", "end")


def check_time(time: datetime, field: str) -> None:
    """Raise `BadRequest` where no database, or no zone, has this time."""
    if not EARLIEST <= time < LATEST:
        raise BadRequest(f"must be from {EARLIEST:%Y} on, and before {LATEST:%Y}", field)


def points(found: dict[int, Bucket]) -> list[Point]:
    """Return buckets as a browser gets them, in order of time."""
    return [
        (datetime.fromtimestamp(second, UTC), one.min, one.max, one.mean, one.count)
        for second, one in sorted(found.items())
    ]


def sparks(
    connection: sa.Connection, subjects: Subjects, wanted: Sequence[Sensor], now: datetime
) -> dict[Key, list[float | None]]:
    """Return the means of the last 24 hours, the one that is not over among them, of each of these sensors."""
    end_s = int(now.timestamp()) // HOUR_S * HOUR_S + HOUR_S
    span = Frame(end_s - SPARK_HOURS * HOUR_S, end_s, HOUR_S)
    found = buckets(connection, subjects, wanted, span, now)
    hours = range(span.start_s, span.end_s, HOUR_S)
    return {
        key: [of_key[hour].mean if hour in of_key else None for hour in hours]
        for key, of_key in ((one.key, found.get(one.key, {})) for one in wanted)
    }


def _shown(of_place: list[Sensor], sensor_id: Id | None) -> list[Sensor]:
    if sensor_id is None:
        return of_place
    # One of digits also finds an integer.
    found = [one for one in of_place if one.sensor_id == sensor_id or str(one.sensor_id) == sensor_id]
    if not found:
        raise NotFound(f"there is no sensor {sensor_id!r} in this storehouse", "sensor_id")
    return found


def buckets(
    connection: sa.Connection, subjects: Subjects, wanted: Iterable[Sensor], span: Frame, now: datetime
) -> Buckets:
    """Return the buckets of these sensors; readings ahead of `now` are left out.

    Raises `Unavailable` where the database would need too long.
    """
    sensor_ids = {one.sensor_id for one in wanted}
    if not sensor_ids:
        return {}
    span = span._replace(end_s=min(span.end_s, int((now + AHEAD).timestamp())))
    parts = _parts(connection, subjects, sensor_ids, span, now)
    if not parts:
        return {}
    try:
        return _merged(bounded(connection, sa.union_all(*parts), MOST_ROWS), subjects.reading)
    except sa.exc.OperationalError as error:
        if error.orig is None or error.orig.args[0] not in TOO_LONG:
            raise
        raise Unavailable(
            "the database needs too long for so much history: ask for a shorter span; "
            "an index of the readings by sensor and time would help"
        ) from None


def _parts(
    connection: sa.Connection, subjects: Subjects, sensor_ids: Collection[Id], span: Frame, now: datetime
) -> list[sa.Select[Any]]:
    """Return SELECTs that together tell every reading once.

    Their rows: sensor, metric, second, and the four values of a bucket, of a wide table once for each metric.
    """
    reading = subjects.reading
    width_s = rolled_up(span.bucket_s) if subjects.ours else None
    if width_s is not None and _behind(connection) <= BEHIND:
        return [_of_rollups(sensor_ids, span, width_s), _not_rolled_up(connection, reading, sensor_ids, span)]
    time, values = reading.column("time"), _values(connection, subjects)
    parts = []
    for local in _local_spans(reading, span, now):
        # Naive times stand for what is in the table; `start` is that in UTC where it has no zone.
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
    second = seconds(reading.column("time"), connection.dialect) - int(offset.total_seconds())
    sensor_id = _exact(connection, reading.column("sensor_id"), reading.is_text("sensor_id")).label("sensor_id")
    metric = _exact(connection, reading.column("metric"), reading.has("metric")).label("metric")
    groups = [sensor_id, metric, begin(second, span.bucket_s).label("second")]
    found = [one(value) for value in values for one in (sa.func.min, sa.func.max, sa.func.sum, sa.func.count)]
    return sa.select(*groups, *found).select_from(reading.relation).group_by(*groups)


def _exact(connection: sa.Connection, column: sa.ColumnElement[Any], is_text: bool) -> sa.ColumnElement[Any]:
    """To most of MySQL's collations 'A' and 'a' would be one group."""
    if not is_text or connection.dialect.name == "sqlite":
        return column
    return sa.cast(sa.cast(column, mysql.CHAR(charset="utf8mb4")), sa.LargeBinary)


def _values(connection: sa.Connection, subjects: Subjects) -> list[Any]:
    """Return the columns of values as SQL that is a number, or null where `ask.rows.number` sees a fault."""
    reading = subjects.reading
    columns: list[Any] = [reading.relation.c[label] for label in reading.wide.values()]
    columns = columns or [reading.column("value")]
    if subjects.ours:
        return [finite(column) for column in columns]
    if connection.dialect.name == "sqlite":
        # There, each value has a type of its own.
        driver: Any = connection.connection.driver_connection
        driver.create_function("storewatch_number", 1, number, deterministic=True)
        return [sa.func.storewatch_number(column) for column in columns]
    described: Any = connection.execute(sa.select(*columns).limit(0)).cursor
    return [_number(column, about[1]) for column, about in zip(columns, described.description, strict=True)]


def _number(column: sa.ColumnElement[Any], kind: int) -> sa.ColumnElement[Any]:
    value = sa.type_coerce(column, sa.Double) + sa.literal_column("0e0")  # DECIMAL and BIT, too, become a double
    return sa.case((column.regexp_match(NUMBER), value)) if kind in MYSQL_TEXTS else value


def _behind(connection: sa.Connection) -> int:
    """Return about how many readings are not rolled up yet."""
    highest = sa.select(sa.func.max(tables.reading.c.reading_id)).scalar_subquery()
    reached, last = connection.execute(sa.select(_position(), highest)).one()
    return int(last or 0) - int(reached)


def _position() -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.select(tables.rollup_position.c.reading_id).scalar_subquery(), -1)


def _of_rollups(sensor_ids: Collection[Id], span: Frame, width_s: int) -> sa.Select[Any]:
    rollup = tables.rollup.c
    second = begin(rollup.start, span.bucket_s).label("second")
    count = sa.cast(sa.func.sum(rollup.count), sa.BigInteger)  # the sum of whole numbers is a DECIMAL
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
    own = reading.relation.c
    start, end = (datetime.fromtimestamp(second, UTC) for second in (span.start_s, span.end_s))
    # The position is asked for in the same statement: between two, it might move. Those few rows are to be found by
    # their ids; the sum keeps the database from reading all of a sensor's instead.
    few = own.reading_id > _position(), (own.sensor_id + 0).in_(sensor_ids), own.time >= start, own.time < end
    return _of_readings(connection, reading, [finite(own.value)], span, timedelta()).where(*few)


def _merged(rows: Iterable[Any], reading: Subject) -> Buckets:
    metrics = list(reading.wide)
    found: Buckets = defaultdict(dict)
    for sensor_id, metric, second, *values in rows:
        for index in range(0, len(values), 4):
            low, high, total, count = values[index : index + 4]
            if not count:
                continue
            of_key = found[_id(sensor_id), metrics[index // 4] if metrics else _text(metric)]
            one, other = Bucket(float(low), float(high), float(total), int(count)), of_key.get(second)
            of_key[second] = one if other is None else _sum(one, other)
    return found


def _sum(one: Bucket, other: Bucket) -> Bucket:
    return Bucket(min(one.min, other.min), max(one.max, other.max), one.sum + other.sum, one.count + other.count)


def _id(value: Any) -> Id:
    return value.decode() if isinstance(value, bytes) else identity(value)


def _text(value: Any) -> str | None:
    return None if value is None else value.decode() if isinstance(value, bytes) else str(value)
