"""Queries of maintenance: time spans in which alarms are muted. The table is in the `state` database."""

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from ask.answers import Id, Maintenance
from ask.journal import is_complete, key
from db import tables
from errors import NotFound


def version(connection: sa.Connection) -> int:
    """Return the version number of the saved maintenance. It grows each time a user saves maintenance."""
    return connection.scalar(sa.select(sa.func.max(tables.maintenance.c.maintenance_id))) or 0


def after(connection: sa.Connection, time: datetime, store_house_id: Id | None = None) -> list[Maintenance]:
    """Return the maintenance that ends after `time`, ordered by start.

    Maintenance is a time span in which alarms are muted. If `store_house_id` is None, return the maintenance of all
    storehouses.
    """
    columns = tables.maintenance.c
    statement = sa.select(tables.maintenance).where(columns.end > time)
    if store_house_id is not None:
        statement = statement.where(columns.store_house_key == key(store_house_id))
    return [_maintenance(row) for row in connection.execute(statement.order_by(columns.start))]


def get(connection: sa.Connection, maintenance_id: int, store_house_id: Id) -> Maintenance:
    """Return the maintenance with this id. Raise `NotFound` if the storehouse has no such maintenance."""
    columns = tables.maintenance.c
    conditions = columns.maintenance_id == maintenance_id, columns.store_house_key == key(store_house_id)
    row = connection.execute(sa.select(tables.maintenance).where(*conditions)).first()
    if row is None:
        raise NotFound(
            f"this storehouse has no maintenance {maintenance_id}", "maintenance_id", reason="unknown_maintenance"
        )
    return _maintenance(row)


def long_ids(store_house_id: Id, sensor_id: Id | None) -> str | None:
    """Return the value of the column `ids`: the ids, if the key columns do not contain them completely."""
    ids = [store_house_id, sensor_id]
    return None if all(each is None or is_complete(each) for each in ids) else msgspec.json.encode(ids).decode()


def _maintenance(row: sa.Row[Any]) -> Maintenance:
    if row.ids is not None:
        store_house_id, sensor_id = msgspec.json.decode(row.ids)
    else:
        store_house_id = msgspec.json.decode(row.store_house_key)
        sensor_id = None if row.sensor_key is None else msgspec.json.decode(row.sensor_key)
    return Maintenance(
        maintenance_id=row.maintenance_id,
        store_house_id=store_house_id,
        sensor_id=sensor_id,
        start=row.start,
        end=row.end,
        reason=row.reason,
        by=row.by,
    )
