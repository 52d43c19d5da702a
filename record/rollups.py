"""Rollups of the readings in Storewatch's own tables, for charts of weeks and months.

A rollup contains the minimum, maximum, sum and count of a sensor's readings in a bucket (time span). The `position` is
a `reading_id`: the rollups include each reading up to this id once. `add_next` adds the readings after the position. If
a reading with an id below the position is committed late, its buckets must be recomputed. If old readings were deleted,
the rollups still include them. The caller's transaction must hold the lease.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from ask.buckets import ROLLED_UP_S, bucket_start
from ask.history import EARLIEST, LATEST
from common.metric_registry import GREATEST
from db import tables
from db.dialects import Changes, Columns, Pick, dialect_of
from db.plausible import plausible

MOST = 10_000
"""Maximum number of readings that `add_next` adds at once. This takes 0.1 s, in which SQLite allows no other writer."""
RECENT_IDS = 10_000
"""Number of ids that a process checks after it has taken over the lease. These are the ids just below the position,
which is the id of the last reading in the rollups. Some of these readings may have been uncommitted when the previous
holder of the lease stopped."""
MOST_SENSORS = 1_000
"""Maximum number of sensors in one statement."""

NARROWEST_S = ROLLED_UP_S[0]

Bucket = tuple[int, int]
"""A bucket (time span) of a sensor: the `sensor_id`, and the start of the bucket in seconds since 1970. It is
`NARROWEST_S` seconds wide."""


def position(connection: sa.Connection) -> int:
    """Return the id of the last reading that the rollups include, or -1 if there are no rollups yet."""
    reading_id = connection.scalar(sa.select(tables.rollup_position.c.reading_id))
    return -1 if reading_id is None else int(reading_id)


def take_over(connection: sa.Connection) -> tuple[int, set[Bucket]]:
    """Return the highest `reading_id`, and the buckets that must be recomputed after a takeover of the lease.

    In these buckets (time spans), the previous holder of the lease may have missed readings. The caller must recompute
    them before it calls `add_next`, because later holders do not check them again. If the highest id is below the
    position (the id of the last reading in the rollups), the reading table was emptied or restored. In that case, this
    function deletes all rollups and sets the position to -1.
    """
    reading = tables.reading.c
    reached = position(connection)
    highest = connection.scalar(sa.select(sa.func.max(reading.reading_id)))
    highest = -1 if highest is None else int(highest)
    if highest < reached:
        connection.execute(sa.delete(tables.rollup))
        reached = _move(connection, -1)
    start = bucket_start(dialect_of(connection).seconds_since_1970(reading.time), NARROWEST_S)
    recent = reading.reading_id.between(reached - RECENT_IDS, reached)
    buckets = sa.select(reading.sensor_id, start).where(recent, start.is_not(None), *_can_be_rolled_up()).distinct()
    rows = connection.execute(buckets)
    return highest, {(int(sensor_id), int(second)) for sensor_id, second in rows}


def add_next(connection: sa.Connection, until: int) -> int:
    """Add the next readings to the rollups: at most `MOST` readings, with ids up to `until`.

    Return the new position, which is the id up to which the rollups include all readings.
    """
    reading = tables.reading.c
    reached = position(connection)
    ids = sa.select(reading.reading_id).where(reading.reading_id > reached, reading.reading_id <= until)
    batch = ids.order_by(reading.reading_id).limit(MOST).subquery()
    last = connection.scalar(sa.select(sa.func.max(batch.c.reading_id)))
    if last is None:
        return max(reached, until)
    for bucket_s in ROLLED_UP_S:
        new = _of_readings(connection, bucket_s).where(reading.reading_id > reached, reading.reading_id <= last)
        _upsert(connection, new.where(*_can_be_rolled_up()), _added)
    return _move(connection, int(last))


def recompute(connection: sa.Connection, buckets: Iterable[Bucket]) -> None:
    """Recompute the given buckets (time spans) and the wider buckets that contain them.

    Use the readings up to the position, which is the id of the last reading in the rollups.
    """
    reading, rollup = tables.reading.c, tables.rollup.c
    wanted = list(buckets)
    reached = position(connection)
    for start, end, sensor_ids in _by_start(wanted, NARROWEST_S):
        # Do not add other limits on the time. SQLite uses only the first ones to search its index, and would read all
        # readings of the sensors: with a year of readings, one statement would take 270 ms instead of 0.3 ms.
        rows = _of_readings(connection, NARROWEST_S).where(
            reading.sensor_id.in_(sensor_ids),
            reading.time >= datetime.fromtimestamp(start, UTC),
            reading.time < datetime.fromtimestamp(end, UTC),
            reading.reading_id <= reached,
        )
        _upsert(connection, rows, _recomputed)
    for narrow_s, bucket_s in pairwise(ROLLED_UP_S):
        for start, end, sensor_ids in _by_start(wanted, bucket_s):
            rows = _of_rollups(bucket_s).where(
                rollup.bucket_s == narrow_s,
                rollup.sensor_id.in_(sensor_ids),
                rollup.start >= start,
                rollup.start < end,
            )
            _upsert(connection, rows, _recomputed)


def _by_start(buckets: Iterable[Bucket], bucket_s: int) -> Iterator[tuple[int, int, list[int]]]:
    """Yield the start, the end and the sensor ids of the buckets (time spans) of width `bucket_s`.

    Yield only buckets that contain at least one of `buckets`.
    """
    sensor_ids: dict[int, set[int]] = defaultdict(set)
    for sensor_id, second in buckets:
        sensor_ids[second - second % bucket_s].add(sensor_id)
    for start, in_bucket in sorted(sensor_ids.items()):
        ordered = sorted(in_bucket)
        for first in range(0, len(ordered), MOST_SENSORS):
            yield start, start + bucket_s, ordered[first : first + MOST_SENSORS]


def _of_readings(connection: sa.Connection, bucket_s: int) -> sa.Select[Any]:
    reading = tables.reading.c
    start = bucket_start(dialect_of(connection).seconds_since_1970(reading.time), bucket_s).label("start")
    value = plausible(reading.value)
    aggregates = [sa.func.min(value), sa.func.max(value), sa.func.sum(value), sa.func.count(value)]
    return (
        sa.select(sa.literal(bucket_s), reading.sensor_id, start, *aggregates)
        .where(start.is_not(None))  # in SQLite, a column can contain a text that is no time
        .group_by(reading.sensor_id, start)
        .having(sa.func.count(value) > 0)
    )


def can_be_rolled_up(time: datetime) -> bool:
    """Return whether the rollups include readings with this time. They include all times that a chart can show."""
    return EARLIEST <= time < LATEST


def _can_be_rolled_up() -> list[sa.ColumnElement[bool]]:
    time = tables.reading.c.time
    return [time >= EARLIEST, time < LATEST]


def _of_rollups(bucket_s: int) -> sa.Select[Any]:
    rollup = tables.rollup.c
    start = bucket_start(rollup.start, bucket_s).label("begin")
    aggregates = [sa.func.min(rollup.min), sa.func.max(rollup.max), sa.func.sum(rollup.sum), sa.func.sum(rollup.count)]
    return (
        sa.select(sa.literal(bucket_s), rollup.sensor_id, start, *aggregates)
        .where(rollup.min >= -GREATEST, rollup.max <= GREATEST)  # earlier versions stored any number
        .group_by(rollup.sensor_id, start)
    )


def _upsert(connection: sa.Connection, rows: sa.Select[Any], changes: Callable[[Columns, Pick, Pick], Changes]) -> None:
    """Insert the rollups that the query `rows` returns. If a rollup already exists, apply `changes` to it instead."""
    connection.execute(dialect_of(connection).upsert(tables.rollup, rows, changes))


def _added(new: Columns, least: Pick, greatest: Pick) -> Changes:
    old = tables.rollup.c
    return [
        ("min", least(old.min, new.min)),
        ("max", greatest(old.max, new.max)),
        ("sum", old.sum + new.sum),
        ("count", old.count + new.count),
    ]


def _recomputed(new: Columns, least: Pick, greatest: Pick) -> Changes:
    # If the count is lower than before, old readings were deleted. The rollup must still include them.
    old = tables.rollup.c
    thinned = new.count < old.count
    return [
        ("min", sa.case((thinned, least(old.min, new.min)), else_=new.min)),
        ("max", sa.case((thinned, greatest(old.max, new.max)), else_=new.max)),
        ("sum", sa.case((thinned, old.sum), else_=new.sum)),
        # The count must be last: the other columns read it, and MySQL sets the columns in this order.
        ("count", sa.case((thinned, old.count), else_=new.count)),
    ]


def _move(connection: sa.Connection, reading_id: int) -> int:
    table = tables.rollup_position
    updated = connection.execute(sa.update(table).values(reading_id=reading_id))
    if not updated.rowcount and connection.scalar(sa.select(table.c.reading_id)) is None:
        connection.execute(sa.insert(table).values(position_id=1, reading_id=reading_id))
    return reading_id
