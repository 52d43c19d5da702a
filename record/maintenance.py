"""Times in which nobody is to be disturbed."""

from datetime import datetime

import sqlalchemy as sa

from ask.answers import Id, Maintenance
from ask.journal import key
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
    """Write one down, of a sensor or of the whole storehouse; its times are to the millisecond."""
    start, end = (time.replace(microsecond=time.microsecond // 1000 * 1000) for time in (start, end))
    made = connection.execute(
        sa.insert(tables.maintenance).values(
            store_house_key=key(store_house_id),
            sensor_key=None if sensor_id is None else key(sensor_id),
            start=start,
            end=end,
            reason=reason,
            by=by,
            written=now,
        )
    ).inserted_primary_key
    assert made is not None  # noqa: S101 - one row was inserted, so there is one key
    return Maintenance(int(made[0]), store_house_id, sensor_id, start, end, reason, by)


def remove(connection: sa.Connection, maintenance_id: int) -> None:
    """Take one away; another must be written down with it, or the judge would not learn of that."""
    maintenance = tables.maintenance
    connection.execute(sa.delete(maintenance).where(maintenance.c.maintenance_id == maintenance_id))
