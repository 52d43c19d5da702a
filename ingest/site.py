"""Where readings go: the storehouse and its sensors, made where they do not exist yet."""

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
    """What the operator asks for; None: as it stands in the database, or else the usual."""

    org_name: str
    store_house_name: str
    time_zone: str | None = None
    metric: str = "temperature"
    unit: str | None = None


@dataclass(frozen=True)
class Site:
    """What there is; `sensor_ids` in the order of the columns."""

    store_house_id: int
    time_zone: ZoneInfo
    sensor_ids: list[int]


def settle(
    connection: sa.Connection, wanted: Destination, sensor_names: Sequence[str], interval_s: float | None
) -> Site:
    """Find or make the storehouse and its sensors.

    Raises `UsageError` where what is there contradicts what is wanted.
    """
    org_id = sites.organisation(connection, wanted.org_name)
    store_house_id = sites.storehouse(connection, org_id, wanted.store_house_name, wanted.time_zone or "UTC")
    time_zone = _time_zone(connection, store_house_id, wanted)
    sensor_ids = [_sensor(connection, store_house_id, name, wanted, interval_s) for name in sensor_names]
    _check_distinct(sensor_names, sensor_ids)
    return Site(store_house_id, time_zone, sensor_ids)


def _time_zone(connection: sa.Connection, store_house_id: int, wanted: Destination) -> ZoneInfo:
    storehouse = tables.storehouse.c
    name = connection.scalar(sa.select(storehouse.time_zone).where(storehouse.store_house_id == store_house_id))
    if wanted.time_zone not in (None, name):
        # Read in another zone, a file that is imported twice would go in twice, some hours apart.
        raise UsageError(
            f"--time-zone: the storehouse {wanted.store_house_name!r} is in {name}, not {wanted.time_zone}; leave "
            "it out, or name another storehouse. Times of another zone can go in with UTC offsets in the file"
        )
    return time_zones.zone(str(name))


def _sensor(
    connection: sa.Connection, store_house_id: int, name: str, wanted: Destination, interval_s: float | None
) -> int:
    usual = "°C" if wanted.metric == "temperature" else None
    sensor_id = sites.sensor(
        connection, store_house_id, name, wanted.metric, unit=wanted.unit or usual, interval_s=interval_s
    )
    unit = connection.scalar(sa.select(tables.sensor.c.unit).where(tables.sensor.c.sensor_id == sensor_id))
    if wanted.unit not in (None, unit):
        raise UsageError(f"--unit: the sensor {name!r} is there already, in {unit or 'its usual unit'}; leave it out")
    return sensor_id


def _check_distinct(names: Sequence[str], sensor_ids: Sequence[int]) -> None:
    # Some databases hold Freezer and freezer for one name.
    first: dict[int, str] = {}
    for name, sensor_id in zip(names, sensor_ids, strict=True):
        if first.setdefault(sensor_id, name) != name:
            raise UsageError(
                f"the database takes the columns {first[sensor_id]!r} and {name!r} for one sensor; rename one"
            )
