"""The storehouse and the sensors to which imported readings belong.

If the storehouse or a sensor does not exist, it is created.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from common import time_zones
from db import tables
from errors import UsageError
from record import sites


@dataclass(frozen=True)
class Destination:
    """The storehouse, the metric and the unit that the command line names.

    If `time_zone` is None, an existing storehouse keeps its time zone, and a new storehouse gets UTC. If `unit` is
    None, an existing sensor keeps its unit, and a new sensor gets the usual unit of the metric.
    """

    org_name: str
    store_house_name: str
    time_zone: str | None = None
    metric: str = "temperature"
    unit: str | None = None


@dataclass(frozen=True)
class Site:
    """The storehouse and its sensors in the database. `sensor_ids` are in the order of the file's columns."""

    store_house_id: int
    time_zone: ZoneInfo
    sensor_ids: list[int]


def find_or_create_site(
    connection: sa.Connection, destination: Destination, sensor_names: Sequence[str], interval_s: float | None
) -> Site:
    """Find the storehouse and its sensors, or create them.

    Raise `UsageError` if an existing storehouse has a different time zone from `destination`, if an existing sensor has
    a different unit, or if the database treats two sensor names as the same name.
    """
    org_id = sites.ensure_organisation(connection, destination.org_name)
    store_house_id = sites.ensure_storehouse(
        connection, org_id, destination.store_house_name, destination.time_zone or "UTC"
    )
    time_zone = _time_zone(connection, store_house_id, destination)
    sensor_ids = [_sensor(connection, store_house_id, name, destination, interval_s) for name in sensor_names]
    _check_distinct(sensor_names, sensor_ids)
    return Site(store_house_id, time_zone, sensor_ids)


def _time_zone(connection: sa.Connection, store_house_id: int, destination: Destination) -> ZoneInfo:
    storehouse = tables.storehouse.c
    name = connection.scalar(sa.select(storehouse.time_zone).where(storehouse.store_house_id == store_house_id))
    if destination.time_zone not in (None, name):
        # If a file were imported again with another time zone, its readings would be stored twice, some hours apart.
        raise UsageError(
            f"--time-zone: the storehouse {destination.store_house_name!r} is in {name}, not {destination.time_zone}; "
            "leave out --time-zone or name another storehouse. For times of another zone, write UTC offsets in the file"
        )
    return time_zones.zone(str(name))


def _sensor(
    connection: sa.Connection, store_house_id: int, name: str, destination: Destination, interval_s: float | None
) -> int:
    default_unit = "°C" if destination.metric == "temperature" else None
    sensor_id = sites.ensure_sensor(
        connection,
        store_house_id,
        name,
        destination.metric,
        unit=destination.unit or default_unit,
        interval_s=interval_s,
    )
    unit = connection.scalar(sa.select(tables.sensor.c.unit).where(tables.sensor.c.sensor_id == sensor_id))
    if destination.unit not in (None, unit):
        raise UsageError(f"--unit: the sensor {name!r} already exists, in {unit or 'its usual unit'}; leave out --unit")
    return sensor_id


def _check_distinct(names: Sequence[str], sensor_ids: Sequence[int]) -> None:
    # Some databases ignore case when they compare names, so Freezer and freezer are one sensor.
    first: dict[int, str] = {}
    for name, sensor_id in zip(names, sensor_ids, strict=True):
        if first.setdefault(sensor_id, name) != name:
            raise UsageError(
                f"the database treats the columns {first[sensor_id]!r} and {name!r} as one sensor; rename one of them"
            )
