"""Writes the readings that devices send to us."""

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from db import tables
from db.dialects import dialect_of

Row = tuple[int, datetime, float | None]
"""`sensor_id`, time (aware), value (None: a fault)."""


def add(connection: sa.Connection, rows: Sequence[Row]) -> None:
    """Insert all these readings."""
    if rows:
        values = [{"sensor_id": sensor_id, "time": time, "value": value} for sensor_id, time, value in rows]
        connection.execute(sa.insert(tables.reading), values)


def add_missing(connection: sa.Connection, rows: Sequence[Row]) -> int:
    """Insert the readings whose sensor has none at that time yet; return how many there were."""
    new = missing(connection, rows)
    add(connection, new)
    return len(new)


def missing(connection: sa.Connection, rows: Sequence[Row]) -> list[Row]:
    """Return the readings whose sensor has none at that time yet, each time of a sensor once.

    Pass some thousand rows at most: each time is a parameter, and a statement may have 30,000 of them.
    """
    stored = _stored(connection, rows)
    new = []
    for row in rows:
        if row[:2] not in stored:
            stored.add(row[:2])
            new.append(row)
    return new


def _stored(connection: sa.Connection, rows: Sequence[Row]) -> set[tuple[int, datetime]]:
    if not rows:
        return set()
    reading = tables.reading.c
    sensor_ids = sorted({sensor_id for sensor_id, _, _ in rows})
    # Each time, not the span from the first to the last: for unordered rows the database would read all in between.
    times = sorted({time for _, time, _ in rows})
    stored = connection.execute(
        sa.select(reading.sensor_id, reading.time).where(reading.sensor_id.in_(sensor_ids), reading.time.in_(times))
    )
    return {(sensor_id, time) for sensor_id, time in stored}


BulkRow = tuple[int, str, float | None]
"""A `Row` whose time is a text (see `text`)."""


def text(time: datetime) -> str:
    """Return a time in the form that `add_bulk` needs."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def add_bulk(connection: sa.Connection, rows: Sequence[BulkRow]) -> None:
    """Insert very many readings: as tuples, without the conversions of the column types.

    Into SQLite 540,000 rows a second; `add`, with its dicts and their conversion, 180,000.
    """
    if rows:
        mark = dialect_of(connection).placeholder
        values = f"({mark}, {mark}, {mark})"
        statement = f"INSERT INTO reading (sensor_id, time, value) VALUES {values}"  # noqa: S608 - placeholders alone
        connection.exec_driver_sql(statement, list(rows))
