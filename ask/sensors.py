"""Queries of sensors: their names, metrics, units, intervals and positions."""

from collections.abc import Collection
from typing import Any, NamedTuple

import sqlalchemy as sa

from ask.answers import Id
from ask.ids import identity, metric_key
from ask.readings import Key
from ask.rows import fetch_at_most, number, text
from ask.subjects import Subjects
from common.metric_registry import unit_of
from errors import NotFound

MOST = 200_000
"""Maximum number of sensors of one storehouse. The list of the sensors of all storehouses has no maximum."""
BATCH = 1_000
"""Maximum number of ids in one statement. SQLite allows 32,766 parameters, and MariaDB 16 MB."""
LONGEST_S = 366 * 86_400
"""Longest valid interval between a sensor's readings, in seconds. If the database contains a longer interval, it is
ignored."""


class Sensor(NamedTuple):
    """A sensor of one metric. A device that measures several metrics counts as several sensors.

    `interval_s` is the number of seconds between readings, or None if the sensor reports only changes. `key` is the key
    of the sensor's readings.
    """

    sensor_id: Id
    store_house_id: Id
    sensor_name: str
    metric: str
    unit: str
    interval_s: float | None
    key: Key
    position: tuple[float, float] | None = None
    """The sensor's position on the floor plan: x from the left and y from the top, each from 0 to 1."""


def sensors(connection: sa.Connection, subjects: Subjects, store_house_id: Id | None = None) -> list[Sensor]:
    """Return the sensors of one storehouse, or by default of all storehouses, ordered by id."""
    sensor = subjects.sensor
    here = sa.true() if store_house_id is None else sensor.equals("store_house_id", store_house_id)
    return _select(connection, subjects, here, None if store_house_id is None else MOST)


def sensors_of_ids(connection: sa.Connection, subjects: Subjects, sensor_ids: Collection[Id]) -> list[Sensor]:
    """Return the sensors with these ids."""
    ids = list(sensor_ids)
    batches = (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))
    wanted = (subjects.sensor.among("sensor_id", batch) for batch in batches)
    return [sensor for condition in wanted for sensor in _select(connection, subjects, condition, None)]


def no_sensor(sensor_id: Id) -> NotFound:
    """Return the error for a sensor that the requested storehouse does not have."""
    return NotFound(f"there is no sensor {sensor_id!r} in this storehouse", "sensor_id", reason="unknown_sensor")


def _select(
    connection: sa.Connection, subjects: Subjects, wanted: sa.ColumnElement[bool], most: int | None
) -> list[Sensor]:
    sensor = subjects.sensor
    names = ("sensor_id", "store_house_id", "sensor_name", "metric", "unit", "interval_s", "position_x", "position_y")
    statement = sensor.select(*names).where(wanted)
    rows = fetch_at_most(connection, statement.order_by(sensor.column("sensor_id")), most)
    return [sensor for row in rows if None not in row[:2] for sensor in _sensors(subjects, row)]


def _sensors(subjects: Subjects, row: Any) -> list[Sensor]:
    sensor_id, store_house_id, name, metric, unit, interval_s, x, y = row
    # Each metric of a wide reading table is a separate sensor, unless the site's sensor table names a metric.
    metrics = [metric] if metric is not None or not subjects.reading.wide else list(subjects.reading.wide)
    apart = bool(subjects.reading.wide) or subjects.reading.has("metric")
    return [
        Sensor(
            identity(sensor_id),
            identity(store_house_id, "store_house_id"),
            text(name) or "",
            text(each) or "",
            (text(unit) if len(metrics) == 1 else None) or unit_of(str(each)),
            _interval(interval_s),
            (identity(sensor_id), metric_key(str(each)) if apart else None),
            _position(x, y),
        )
        for each in metrics
    ]


def _position(x: Any, y: Any) -> tuple[float, float] | None:
    left, top = number(x), number(y)
    return None if left is None or top is None else (left, top)


def _interval(value: Any) -> float | None:
    seconds = number(value)
    return seconds if seconds and 0 < seconds <= LONGEST_S else None
