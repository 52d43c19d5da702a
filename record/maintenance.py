"""Writes maintenance: time spans in which alarms are muted."""

from datetime import datetime

import sqlalchemy as sa

from ask.answers import Id, Maintenance
from ask.journal import key
from ask.maintenance import long_ids
from db import tables


def add(
    connection: sa.Connection,
    store_house_id: Id,
    sensor_id: Id | None,
    start: datetime,
    end: datetime,
    reason: str,
    by: str,
    now: datetime,
) -> Maintenance:
    """Write maintenance of a sensor or of a whole storehouse. Truncate its times to milliseconds."""
    start, end = (time.replace(microsecond=time.microsecond // 1000 * 1000) for time in (start, end))
    primary_key = connection.execute(
        sa.insert(tables.maintenance).values(
            store_house_key=key(store_house_id),
            sensor_key=None if sensor_id is None else key(sensor_id),
            start=start,
            end=end,
            reason=reason,
            by=by,
            written=now,
            ids=long_ids(store_house_id, sensor_id),
        )
    ).inserted_primary_key
    assert primary_key is not None  # noqa: S101 - one row was inserted, so there is one key
    return Maintenance(int(primary_key[0]), store_house_id, sensor_id, start, end, reason, by)


def remove(connection: sa.Connection, maintenance_id: int) -> None:
    """Delete the maintenance with this id.

    The caller must write new maintenance in the same transaction. Otherwise the judge, which evaluates the alarm rules,
    does not detect the change.
    """
    maintenance = tables.maintenance
    connection.execute(sa.delete(maintenance).where(maintenance.c.maintenance_id == maintenance_id))
