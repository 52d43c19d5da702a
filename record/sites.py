"""Organisations, storehouses and sensors, made where they do not exist yet."""

from typing import Any

import sqlalchemy as sa

from db import tables


def organisation(connection: sa.Connection, org_name: str) -> int:
    """Return the `org_id` of the organisation of this name."""
    return _find_or_make(connection, tables.organisation, {"org_name": org_name}, {})


def storehouse(connection: sa.Connection, org_id: int, store_house_name: str, time_zone: str) -> int:
    """Return the `store_house_id` of the organisation's storehouse of this name; `time_zone` (IANA) counts if new."""
    key = {"org_id": org_id, "store_house_name": store_house_name}
    return _find_or_make(connection, tables.storehouse, key, {"time_zone": time_zone})


def sensor(
    connection: sa.Connection,
    store_house_id: int,
    sensor_name: str,
    metric: str,
    *,
    unit: str | None = None,
    interval_s: float | None = None,
    position: tuple[float, float] | None = None,
) -> int:
    """Return the `sensor_id` of the storehouse's sensor of this name and metric; the rest counts if it is new.

    `interval_s`: seconds between readings, None if it reports changes only. `position`: x from the left and y from
    the top of the floor plan, each 0 to 1.
    """
    x, y = position or (None, None)
    key = {"store_house_id": store_house_id, "sensor_name": sensor_name, "metric": metric}
    rest = {"unit": unit, "interval_s": interval_s, "position_x": x, "position_y": y}
    return _find_or_make(connection, tables.sensor, key, rest)


def _find_or_make(connection: sa.Connection, table: sa.Table, key: dict[str, Any], rest: dict[str, Any]) -> int:
    identity = next(iter(table.primary_key))
    wanted = sa.and_(*(table.c[name] == value for name, value in key.items()))
    found: int | None = connection.scalar(sa.select(identity).where(wanted))
    if found is not None:
        return found
    made = connection.execute(table.insert().values(key | rest)).inserted_primary_key
    assert made is not None  # noqa: S101 - one row was inserted, so there is one key
    return int(made[0])
