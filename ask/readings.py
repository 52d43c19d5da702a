"""Queries of readings: the newest reading of each sensor, new rows, and the readings of a time span."""

import logging
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa

from ask.answers import Id
from ask.ids import identity, metric_key
from ask.rows import number
from ask.subjects import Subject, Subjects
from common.clock import AHEAD

log = logging.getLogger(__name__)

Key = tuple[Id, str | None]
"""The key of a sensor's readings: the `sensor_id` and the metric. The metric is None if each sensor id has only one
metric."""

GREATEST_ID = 2**63 - 1
"""Rows with a greater `reading_id` are ignored. In SQLite, this includes each id that is a text."""


class Reading(NamedTuple):
    """A reading of a sensor. `value` is None for a fault. `metric` is None if each sensor id has only one metric.

    If two readings have the same time, the reading with the higher `rank` is newer. If each new row of the reading
    table gets a higher id than all earlier rows, `rank` is the id of the row. Otherwise the table does not show which
    row was written first, and `rank` is always 0.
    """

    sensor_id: Id
    metric: str | None
    time: datetime
    value: float | None
    rank: int = 0

    @property
    def key(self) -> Key:
        """The key of the reading's sensor: the `sensor_id` and the metric."""
        return self.sensor_id, self.metric


class Row(NamedTuple):
    """A row of the reading table. `content` contains the stored values. `readings` contains the readings in the row.

    `reading_id` is None if new rows do not get higher ids. `wall` is the stored time. `time` is the instant to which
    the query converted the stored time. In the hour that is repeated at the end of daylight saving time, a later query
    may convert the same stored time to another instant.
    """

    reading_id: int | None
    wall: datetime | None
    time: datetime | None
    content: tuple[Any, ...]
    readings: tuple[Reading, ...]


Spans = Sequence[tuple[int, int]]
Rows = Sequence[Row]


def after(
    connection: sa.Connection, subjects: Subjects, from_id: int, holes: Spans, most: int, now: datetime
) -> list[Row]:
    """Return rows of the reading table: rows with an id of at least `from_id`, and rows with an id in `holes`.

    `holes` are ranges of ids, with both ends included. The result contains at most `most` rows of each of these two
    groups, ordered by id. The statement is a UNION, because SQLite would scan the whole table for an OR.
    """
    reading = subjects.reading
    reading_id = reading.column("reading_id")
    parts = [_part(reading, sa.and_(reading_id >= from_id, reading_id <= GREATEST_ID), most)]
    if holes:
        parts.append(_part(reading, _in_spans(reading_id, holes), most))
    rows = _rows(reading, connection.execute(sa.union_all(*parts)), now)
    return sorted((row for row in rows if row.reading_id is not None), key=lambda row: row.reading_id or 0)


def _part(reading: Subject, wanted: sa.ColumnElement[bool], most: int) -> sa.Select[Any]:
    statement = _select(reading).where(wanted).order_by(reading.column("reading_id")).limit(most)
    return sa.select(statement.subquery())


def _in_spans(reading_id: sa.ColumnElement[Any], spans: Spans) -> sa.ColumnElement[bool]:
    single = [low for low, high in spans if low == high]
    wide = [reading_id.between(low, high) for low, high in spans if low != high]
    return sa.or_(reading_id.in_(single), *wide)


def highest(connection: sa.Connection, subjects: Subjects) -> int:
    """Return the highest `reading_id`, or -1 if there are no readings."""
    column = subjects.reading.column("reading_id")
    reading_id = connection.scalar(sa.select(sa.func.max(column)).where(column <= GREATEST_ID))
    return -1 if reading_id is None else int(reading_id)


def ids_between(connection: sa.Connection, subjects: Subjects, low: int, high: int) -> list[int]:
    """Return the ids from `low` to `high`, both included, that exist in the reading table."""
    reading_id = subjects.reading.column("reading_id")
    return [int(each) for each in connection.scalars(sa.select(reading_id).where(reading_id.between(low, high)))]


def between(
    connection: sa.Connection,
    subjects: Subjects,
    spans: Sequence[tuple[datetime, datetime]],
    most: int,
    now: datetime,
) -> list[Row]:
    """Return at most `most` rows whose stored times are in the time spans `spans`, ordered by time.

    Both ends of a time span are included. A row that is in several time spans is returned once. Use this function for
    tables in which new rows do not get higher ids.
    """
    reading = subjects.reading
    time = reading.column("time")
    wanted = sa.or_(*(time.between(start, end) for start, end in spans))
    rows = connection.execute(_select(reading).where(wanted).order_by(time).limit(most)).all()
    return list(_rows(reading, rows, now))


def of_sensor(
    connection: sa.Connection, subjects: Subjects, key: Key, spans: Sequence[tuple[datetime, datetime]], now: datetime
) -> list[Reading]:
    """Return a sensor's readings in the time spans `spans`.

    Leave out readings with a time more than 60 s after `now`. `spans` must be in chronological order. The end of each
    time span is not included.
    """
    reading = subjects.reading
    time = reading.column("time")
    walls = [reading.wall_span(*span) for span in spans]
    wanted = sa.or_(sa.false(), *(sa.and_(time >= start, time < end) for start, end in walls))
    statement = _select(reading).where(reading.equals("sensor_id", key[0]), wanted)
    starts = [start for start, _ in spans]
    in_spans = []
    for row in _rows(reading, connection.execute(statement).all(), now):
        for each in row.readings:
            # Near a clock change, the span of local times in the query also includes instants outside `spans`.
            index = bisect_right(starts, each.time) - 1
            if each.key == key and index >= 0 and each.time < spans[index][1] and each.time <= now + AHEAD:
                in_spans.append(each)
    return in_spans


def newest(connection: sa.Connection, subjects: Subjects, since: datetime | None, now: datetime) -> list[Reading]:
    """Return the newest reading of each sensor. Leave out readings with a time more than 60 s after `now`.

    In a site's own tables, also leave out readings before `since`. If `since` is None, include readings of any age.
    """
    if subjects.ours:
        return _newest_of_ours(connection, subjects, now)
    reading = subjects.reading
    values: list[Any] = [reading.column(label) for label in reading.wide.values()] or [None]
    return [newest for value in values for newest in _newest_of_site(connection, reading, value, since, now)]


def _newest_of_ours(connection: sa.Connection, subjects: Subjects, now: datetime) -> list[Reading]:
    # This needs one index look-up for each sensor, however long the history is. GROUP BY would read all readings.
    sensor, reading = subjects.sensor.relation.c, subjects.reading.relation.c
    last = (
        sa.select(reading.reading_id)
        .where(reading.sensor_id == sensor.sensor_id, reading.time <= now + AHEAD)
        .order_by(reading.time.desc(), reading.reading_id.desc())
        .limit(1)
        .correlate(subjects.sensor.relation)
        .scalar_subquery()
    )
    ids = sa.select(last.label("reading_id")).select_from(subjects.sensor.relation).subquery()
    statement = _select(subjects.reading).join(ids, ids.c.reading_id == reading.reading_id)
    rows = _rows(subjects.reading, connection.execute(statement).all(), now)
    return [each for row in rows for each in row.readings]


def _newest_of_site(
    connection: sa.Connection, reading: Subject, value: Any, since: datetime | None, now: datetime
) -> Iterable[Reading]:
    # The indexes of a site's tables are unknown, and GROUP BY needs no index.
    keys = [reading.column(name) for name in ("sensor_id", "metric") if reading.has(name)]
    time = reading.column("time")
    wanted = [time <= now + AHEAD]
    if since is not None:
        wanted.append(time >= since)
    if value is not None:
        wanted.append(value.is_not(None))
    last = sa.select(*keys, sa.func.max(time).label("time")).where(*wanted).group_by(*keys).subquery()
    same = [time == last.c.time, *(key == last.c[key.name] for key in keys)]
    statement = _select(reading, value).join(last, sa.and_(*same))
    by_key: dict[Key, Reading] = {}
    for row in _rows(reading, connection.execute(statement).all(), now):
        for each in row.readings:
            if each.key not in by_key or each.rank >= by_key[each.key].rank:
                by_key[each.key] = each
    return list(by_key.values())


def _select(reading: Subject, value: Any = None) -> sa.Select[Any]:
    """Return a SELECT statement with the columns that `_rows` needs: id, sensor, metric, time and values.

    If `value` is given, it is one of the value columns. All other value columns are then null.
    """
    values: list[Any] = [reading.relation.c[label] for label in reading.wide.values()] or [reading.column("value")]
    if value is not None:
        values = [each if each is value else sa.null().label(each.name) for each in values]
    reading_id = reading.column("reading_id") if reading.grows else sa.null().label("reading_id")
    others = (reading.column(name) for name in ("sensor_id", "metric", "time"))
    return sa.select(reading_id, *others, *values).select_from(reading.relation)


def _rows(reading: Subject, rows: Iterable[Any], now: datetime) -> Iterable[Row]:
    parse = _parse_wide if reading.wide else _parse_long
    metrics = list(reading.wide)
    for row_id, sensor_id, metric, raw, *values in rows:
        reading_id = _reading_id(row_id)
        time = reading.instant(raw, now)
        if time is None or sensor_id is None:
            # Debug level, because the same row may be read each second; `--check` counts such rows.
            log.debug("ignored reading %s of sensor %s at %s: no sensor or no time", reading_id, sensor_id, raw)
            readings: tuple[Reading, ...] = ()
        else:
            readings = parse(identity(sensor_id), metric, metrics, time, values, reading_id or 0)
        yield Row(reading_id, raw, time, (sensor_id, metric, raw, *values), readings)


def _reading_id(value: Any) -> int | None:
    """Return the id of a row, or None if it is no integer. In SQLite, a column can contain values of any type."""
    is_integer = isinstance(value, int | Decimal) and value == int(value) and value <= GREATEST_ID
    return int(value) if is_integer else None


def _parse_long(
    sensor_id: Id, metric: Any, metrics: list[str], time: datetime, values: list[Any], rank: int
) -> tuple[Reading, ...]:
    return (Reading(sensor_id, metric_key(metric), time, number(values[0]), rank),)


def _parse_wide(
    sensor_id: Id, metric: Any, metrics: list[str], time: datetime, values: list[Any], rank: int
) -> tuple[Reading, ...]:
    # In a wide row, a null column means that the metric was not measured at that time.
    return tuple(
        Reading(sensor_id, each, time, number(value), rank)
        for each, value in zip(metrics, values, strict=True)
        if value is not None
    )
