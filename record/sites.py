"""Creates organisations, storehouses and sensors that do not exist yet."""

from typing import Any

import sqlalchemy as sa

from db import tables


def ensure_organisation(connection: sa.Connection, org_name: str) -> int:
    """Return the `org_id` of the organisation with this name. Create the organisation if it does not exist."""
    return _find_or_create(connection, tables.organisation, {"org_name": org_name}, {})


def ensure_storehouse(connection: sa.Connection, org_id: int, store_house_name: str, time_zone: str) -> int:
    """Return the `store_house_id` of a storehouse. If it does not exist, create it with `time_zone` (IANA name)."""
    key = {"org_id": org_id, "store_house_name": store_house_name}
    return _find_or_create(connection, tables.storehouse, key, {"time_zone": time_zone})


def ensure_sensor(
    connection: sa.Connection,
    store_house_id: int,
    sensor_name: str,
    metric: str,
    *,
    unit: str | None = None,
    interval_s: float | None = None,
    position: tuple[float, float] | None = None,
) -> int:
    """Return the `sensor_id` of the sensor with this name and metric. Create the sensor if it does not exist.

    `interval_s` is the number of seconds between readings, or None if the sensor reports only changes. `position` is
    the position on the floor plan: x from the left and y from the top, each from 0 to 1.
    """
    x, y = position or (None, None)
    key = {"store_house_id": store_house_id, "sensor_name": sensor_name, "metric": metric}
    rest = {"unit": unit, "interval_s": interval_s, "position_x": x, "position_y": y}
    return _find_or_create(connection, tables.sensor, key, rest)


def _find_or_create(connection: sa.Connection, table: sa.Table, key: dict[str, Any], rest: dict[str, Any]) -> int:
    identity = next(iter(table.primary_key))
    wanted = sa.and_(*(table.c[name] == value for name, value in key.items()))
    existing: int | None = connection.scalar(sa.select(identity).where(wanted))
    if existing is not None:
        return existing
    primary_key = connection.execute(table.insert().values(key | rest)).inserted_primary_key
    assert primary_key is not None  # noqa: S101 - one row was inserted, so there is one key
    return int(primary_key[0])
