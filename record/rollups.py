"""Rollups of our own readings: what a chart of months is drawn from.

Each reading up to the `position`, a `reading_id`, is in them once: those after it are added to what is there, whatever
their times. A row that was committed late, with an id that is passed already, has its buckets computed again. Where old
rows are thinned out, a bucket keeps what it knew of them. Callers hold the lease, in a transaction.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, sqlite

from ask.buckets import ROLLED_UP_S, begin, finite, seconds
from db import tables

MOST = 10_000
"""Rows added at once: 0.1 s, for which SQLite has no other writer."""
RECENT_IDS = 10_000
"""How far below the position a transaction may still have been open when the last holder stopped."""
MOST_SENSORS = 1_000
"""Sensors in one statement."""

NARROWEST_S = ROLLED_UP_S[0]

Bucket = tuple[int, int]
"""`sensor_id`, and the second at which a bucket of `NARROWEST_S` begins."""
Columns = sa.ColumnCollection[str, Any]
Changes = list[tuple[str, sa.ColumnElement[Any]]]
"""By column; MySQL makes one after the other."""


def position(connection: sa.Connection) -> int:
    """Return the id up to which all readings are in the rollups, -1 at first."""
    found = connection.scalar(sa.select(tables.rollup_position.c.reading_id))
    return -1 if found is None else int(found)


def take_over(connection: sa.Connection) -> tuple[int, set[Bucket]]:
    """Return the highest id there is, and where the last holder may have missed something.

    Those buckets are to be computed again before the position moves on: whoever takes over then looks there no more.
    Where the ids have gone back, the table was emptied or restored: the rollups begin anew.
    """
    reading = tables.reading.c
    reached = position(connection)
    highest = connection.scalar(sa.select(sa.func.max(reading.reading_id)))
    highest = -1 if highest is None else int(highest)
    if highest < reached:
        connection.execute(sa.delete(tables.rollup))
        reached = _move(connection, -1)
    start = begin(seconds(reading.time, connection.dialect), NARROWEST_S)
    recent = reading.reading_id.between(reached - RECENT_IDS, reached)
    found = connection.execute(sa.select(reading.sensor_id, start).where(recent).distinct())
    return highest, {(int(sensor_id), int(second)) for sensor_id, second in found}


def forward(connection: sa.Connection, until: int) -> int:
    """Add the next readings after the position, `MOST` of them and none after `until`; return the new position."""
    reading = tables.reading.c
    reached = position(connection)
    ids = sa.select(reading.reading_id).where(reading.reading_id > reached, reading.reading_id <= until)
    portion = ids.order_by(reading.reading_id).limit(MOST).subquery()
    last = connection.scalar(sa.select(sa.func.max(portion.c.reading_id)))
    if last is None:
        return max(reached, until)
    for bucket_s in ROLLED_UP_S:
        new = _of_readings(connection, bucket_s).where(reading.reading_id > reached, reading.reading_id <= last)
        _write(connection, new, _added)
    return _move(connection, int(last))


def again(connection: sa.Connection, buckets: Iterable[Bucket]) -> None:
    """Compute these buckets again, and the wider ones around them, from the readings up to the position."""
    reading, rollup = tables.reading.c, tables.rollup.c
    wanted = list(buckets)
    reached = position(connection)
    for start, end, sensor_ids in _by_start(wanted, NARROWEST_S):
        rows = _of_readings(connection, NARROWEST_S).where(
            reading.sensor_id.in_(sensor_ids),
            reading.time >= datetime.fromtimestamp(start, UTC),
            reading.time < datetime.fromtimestamp(end, UTC),
            reading.reading_id <= reached,
        )
        _write(connection, rows, _anew)
    for narrow_s, bucket_s in pairwise(ROLLED_UP_S):
        for start, end, sensor_ids in _by_start(wanted, bucket_s):
            rows = _of_rollups(bucket_s).where(
                rollup.bucket_s == narrow_s,
                rollup.sensor_id.in_(sensor_ids),
                rollup.start >= start,
                rollup.start < end,
            )
            _write(connection, rows, _anew)


def _by_start(buckets: Iterable[Bucket], bucket_s: int) -> Iterator[tuple[int, int, list[int]]]:
    """Give the start and end of each wider bucket, with its sensors."""
    sensor_ids: dict[int, set[int]] = defaultdict(set)
    for sensor_id, second in buckets:
        sensor_ids[second - second % bucket_s].add(sensor_id)
    for start, found in sorted(sensor_ids.items()):
        ordered = sorted(found)
        for first in range(0, len(ordered), MOST_SENSORS):
            yield start, start + bucket_s, ordered[first : first + MOST_SENSORS]


def _of_readings(connection: sa.Connection, bucket_s: int) -> sa.Select[Any]:
    reading = tables.reading.c
    start = begin(seconds(reading.time, connection.dialect), bucket_s).label("start")
    value = finite(reading.value)
    found = [sa.func.min(value), sa.func.max(value), sa.func.sum(value), sa.func.count(value)]
    return (
        sa.select(sa.literal(bucket_s), reading.sensor_id, start, *found)
        .group_by(reading.sensor_id, start)
        .having(sa.func.count(value) > 0)
    )


def _of_rollups(bucket_s: int) -> sa.Select[Any]:
    rollup = tables.rollup.c
    start = begin(rollup.start, bucket_s).label("begin")
    found = [sa.func.min(rollup.min), sa.func.max(rollup.max), sa.func.sum(rollup.sum), sa.func.sum(rollup.count)]
    return sa.select(sa.literal(bucket_s), rollup.sensor_id, start, *found).group_by(rollup.sensor_id, start)


def _write(
    connection: sa.Connection, rows: sa.Select[Any], changes: Callable[[Columns, "_Pick", "_Pick"], Changes]
) -> None:
    """Write rollups down; where there is one already, make the `changes` of it."""
    table = tables.rollup
    if connection.dialect.name == "sqlite":
        into = sqlite.insert(table).from_select(table.c.keys(), rows)
        told = changes(into.excluded, sa.func.min, sa.func.max)
        connection.execute(into.on_conflict_do_update(index_elements=list(table.primary_key), set_=dict(told)))
    else:
        onto = mysql.insert(table).from_select(table.c.keys(), rows)
        connection.execute(onto.on_duplicate_key_update(changes(onto.inserted, sa.func.least, sa.func.greatest)))


_Pick = Callable[[Any, Any], sa.ColumnElement[Any]]


def _added(new: Columns, least: _Pick, greatest: _Pick) -> Changes:
    old = tables.rollup.c
    return [
        ("min", least(old.min, new.min)),
        ("max", greatest(old.max, new.max)),
        ("sum", old.sum + new.sum),
        ("count", old.count + new.count),
    ]


def _anew(new: Columns, least: _Pick, greatest: _Pick) -> Changes:
    # Where there are fewer readings than there were, some have been thinned out: what they told is kept.
    old = tables.rollup.c
    thinned = new.count < old.count
    return [
        ("min", sa.case((thinned, least(old.min, new.min)), else_=new.min)),
        ("max", sa.case((thinned, greatest(old.max, new.max)), else_=new.max)),
        ("sum", sa.case((thinned, old.sum), else_=new.sum)),
        ("count", sa.case((thinned, old.count), else_=new.count)),  # the last, for the others look at it
    ]


def _move(connection: sa.Connection, reading_id: int) -> int:
    table = tables.rollup_position
    moved = connection.execute(sa.update(table).values(reading_id=reading_id))
    if not moved.rowcount and connection.scalar(sa.select(table.c.reading_id)) is None:
        connection.execute(sa.insert(table).values(position_id=1, reading_id=reading_id))
    return reading_id
