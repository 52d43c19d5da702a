"""Readings that came in by our own doors."""

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from db import tables

Row = tuple[int, datetime, float | None]
"""`sensor_id`, time (aware), value (None: a fault)."""


def add(connection: sa.Connection, rows: Sequence[Row]) -> None:
    """Write the readings down, all of them."""
    if rows:
        values = [{"sensor_id": sensor_id, "time": time, "value": value} for sensor_id, time, value in rows]
        connection.execute(sa.insert(tables.reading), values)


def add_missing(connection: sa.Connection, rows: Sequence[Row]) -> int:
    """Write down those readings whose sensor has none at that time yet; return how many that were."""
    new = missing(connection, rows)
    add(connection, new)
    return len(new)


def missing(connection: sa.Connection, rows: Sequence[Row]) -> list[Row]:
    """Return those readings whose sensor has none at that time yet, each time of a sensor once.

    Some thousand rows at a time: each time is a parameter, of which a statement may have 30,000.
    """
    known = _known(connection, rows)
    new = []
    for row in rows:
        if row[:2] not in known:
            known.add(row[:2])
            new.append(row)
    return new


def _known(connection: sa.Connection, rows: Sequence[Row]) -> set[tuple[int, datetime]]:
    if not rows:
        return set()
    reading = tables.reading.c
    sensor_ids = sorted({sensor_id for sensor_id, _, _ in rows})
    # One by one, not from the first to the last: rows in no order would have the database read all between, each time.
    times = sorted({time for _, time, _ in rows})
    found = connection.execute(
        sa.select(reading.sensor_id, reading.time).where(reading.sensor_id.in_(sensor_ids), reading.time.in_(times))
    )
    return {(sensor_id, time) for sensor_id, time in found}


BulkRow = tuple[int, str, float | None]
"""A `Row` whose time is the `text` of it."""


def text(time: datetime) -> str:
    """Return the form in which a time goes into `add_bulk`."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def add_bulk(connection: sa.Connection, rows: Sequence[BulkRow]) -> None:
    """Write very many readings down, as tuples and past the column types.

    Into SQLite 540,000 rows a second; `add`, with its dicts and their conversion, 180,000.
    """
    if rows:
        mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
        values = f"({mark}, {mark}, {mark})"
        statement = f"INSERT INTO reading (sensor_id, time, value) VALUES {values}"  # noqa: S608 - marks alone
        connection.exec_driver_sql(statement, list(rows))
