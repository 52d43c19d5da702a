"""Queries of the alarms from the site's own alarm system."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ask.answers import Alarm, Id, Storehouse
from ask.ids import identity
from ask.rows import flag, number, text
from ask.sensors import Sensor, sensors, sensors_of_ids
from ask.subjects import Subject, Subjects
from common.time_zones import zone
from errors import BadRequest

MOST = 10_000
"""Maximum number of alarms in the answer to a question."""
NEVER_AFTER = timedelta(days=366)
"""An alarm whose end is further ahead than this is still open. Some sites write a time such as 9999-12-31 as the end of
an open alarm."""

FIELDS = (
    "alarm_id",
    "store_house_id",
    "sensor_id",
    "sensor_name",
    "metric",
    "kind",
    "severity",
    "state",
    "acknowledged",
    "value",
    "limit",
    "raised",
    "cleared",
)


def alarms(
    connection: sa.Connection, subjects: Subjects, storehouse: Storehouse, since: datetime, now: datetime
) -> list[Alarm]:
    """Return a storehouse's alarms that were open at `since` or were raised later, newest first.

    Return at most 10,001 alarms, one more than an answer may contain. The caller can then see that there are too many.
    """
    if subjects.alarm is None:
        return []
    alarm = subjects.alarm
    sensors_by_id = _by_id(sensors(connection, subjects, storehouse.store_house_id))
    if alarm.has("store_house_id"):
        of_storehouse = alarm.equals("store_house_id", storehouse.store_house_id)
    else:
        of_storehouse = alarm.among("sensor_id", sensors_by_id)
    rows = connection.execute(_since(alarm, since).where(of_storehouse).limit(MOST + 1)).all()
    return [_alarm(alarm, row, storehouse.store_house_id, sensors_by_id, now) for row in rows]


def subject(connection: sa.Connection, subjects: Subjects, alarm_id: Id) -> tuple[Id | None, Id | None] | None:
    """Return the ids of an alarm's storehouse and sensor.

    Return None if the alarm does not exist. Each of the two ids is None if the alarm's row does not contain it.
    """
    alarm = subjects.alarm
    if alarm is None:
        return None
    statement = alarm.select("store_house_id", "sensor_id").where(alarm.equals("alarm_id", alarm_id)).limit(1)
    row = connection.execute(statement).first()
    if row is None:
        return None
    return _identity(row.store_house_id, "store_house_id"), _identity(row.sensor_id)


def recent(connection: sa.Connection, subjects: Subjects, since: datetime, now: datetime) -> list[Alarm]:
    """Return the alarms of all storehouses that were open at `since` or were raised later, newest first.

    Leave out alarms whose storehouse is unknown. The number of alarms has no maximum.
    """
    alarm = subjects.alarm
    if alarm is None:
        return []
    rows = connection.execute(_since(alarm, since)).all()
    sensor_ids = {identity(row.sensor_id) for row in rows if row.sensor_id is not None}
    by_id = _by_id(sensors_of_ids(connection, subjects, sensor_ids))
    alarms_of_storehouses = []
    for row in rows:
        store_house_id = _identity(row.store_house_id, "store_house_id")
        if store_house_id is None and row.sensor_id is not None and identity(row.sensor_id) in by_id:
            store_house_id = by_id[identity(row.sensor_id)].store_house_id
        if store_house_id is not None:
            alarms_of_storehouses.append(_alarm(alarm, row, store_house_id, by_id, now))
    return alarms_of_storehouses


def _identity(value: Any, column: str = "") -> Id | None:
    return None if value is None else identity(value, column)


def _by_id(sensors: Iterable[Sensor]) -> dict[Id, Sensor]:
    """Return a dict from sensor ids to sensors.

    A device that measures several metrics counts as several sensors with the same id. The dict contains only the first
    of these sensors.
    """
    by_id: dict[Id, Sensor] = {}
    for sensor in sensors:
        by_id.setdefault(sensor.sensor_id, sensor)
    return by_id


def since_minute(data_minute: int | str, storehouse: Storehouse, now: datetime) -> datetime:
    """Convert `data_minute` to an instant. Raise `BadRequest` if it is not a valid time.

    If `data_minute` is a number, it counts the minutes before `now`. If it is a string, it is a local time of the
    storehouse. At the end of daylight saving time, some local times occur twice. For these times, return the earlier
    instant.
    """
    if isinstance(data_minute, int):
        return now - timedelta(minutes=data_minute)
    try:
        local = datetime.strptime(data_minute, "%Y-%m-%d %H:%M")  # noqa: DTZ007 - the next line sets the zone
        return local.replace(tzinfo=zone(storehouse.time_zone), fold=0).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRequest(
            'must be a number of minutes before now, or a local time of the storehouse as "YYYY-MM-DD HH:MM"',
            "data_minute",
            reason="invalid_value",
        ) from None


def _since(alarm: Subject, since: datetime) -> sa.Select[Any]:
    cleared, raised = alarm.column("cleared"), alarm.column("raised")
    still_open = cleared.is_(None) if alarm.has("cleared") else sa.false()
    return (
        alarm.select(*FIELDS)
        .where(sa.or_(still_open, cleared >= since, raised >= since))
        .order_by(raised.desc(), alarm.column("alarm_id").desc())
    )


def _alarm(alarm: Subject, row: Any, store_house_id: Id, by_id: dict[Id, Sensor], now: datetime) -> Alarm:
    raised, cleared = alarm.instant(row.raised, now), alarm.instant(row.cleared, now)
    if cleared is not None and cleared > now + NEVER_AFTER:
        cleared = None
    sensor_id = _identity(row.sensor_id)
    sensor = None if sensor_id is None else by_id.get(sensor_id)
    return Alarm(
        alarm_id=identity(row.alarm_id, "alarm_id"),
        store_house_id=store_house_id,
        sensor_id=sensor_id,
        sensor_name=text(row.sensor_name) or (sensor.sensor_name if sensor else None),
        metric=text(row.metric) or (sensor.metric if sensor else None),
        kind=text(row.kind) or "alarm",
        severity=text(row.severity) or "warning",
        state=text(row.state) or ("active" if cleared is None else "cleared"),
        acknowledged=flag(row.acknowledged),
        value=number(row.value),
        limit=number(row.limit),
        raised=raised or now,
        cleared=cleared,
    )
