"""The alarms of a storehouse."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ask.answers import Alarm, Id, Storehouse
from ask.rows import bounded, flag, number, text
from ask.sensors import Sensor, sensors, sensors_of_ids
from ask.subjects import Subject, Subjects, identity
from common.time_zones import zone
from errors import BadRequest

MOST = 10_000

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
    connection: sa.Connection, subjects: Subjects, place: Storehouse, since: datetime, now: datetime
) -> list[Alarm]:
    """Return at most one more than 10,000 alarms of the site's own, open, or raised, since then, newest first."""
    if subjects.alarm is None:
        return []
    alarm = subjects.alarm
    of_place = _by_id(sensors(connection, subjects, place.store_house_id))
    if alarm.has("store_house_id"):
        here = alarm.equals("store_house_id", place.store_house_id)
    else:
        here = alarm.among("sensor_id", of_place)
    rows = connection.execute(_since(alarm, since).where(here)).all()
    return [_alarm(alarm, row, place.store_house_id, of_place, now) for row in rows]


def subject(connection: sa.Connection, subjects: Subjects, alarm_id: Id) -> tuple[Id | None, Id | None] | None:
    """Return the storehouse and the sensor of an alarm of the site's own, as far as they are written there.

    None where there is no such alarm.
    """
    alarm = subjects.alarm
    if alarm is None:
        return None
    wanted = alarm.select("store_house_id", "sensor_id").where(alarm.equals("alarm_id", alarm_id)).limit(1)
    found = connection.execute(wanted).first()
    if found is None:
        return None
    store_house_id, sensor_id = (None if one is None else identity(one) for one in found)
    return store_house_id, sensor_id


def recent(connection: sa.Connection, subjects: Subjects, since: datetime, now: datetime) -> list[Alarm]:
    """Return the alarms of all storehouses that were open, or raised, since then, newest first.

    Raises `Unavailable` where there are more than 10,000. An alarm that belongs to no storehouse is left out.
    """
    alarm = subjects.alarm
    if alarm is None:
        return []
    rows = bounded(connection, _since(alarm, since), MOST)
    sensor_ids = {identity(row.sensor_id) for row in rows if row.sensor_id is not None}
    by_id = _by_id(sensors_of_ids(connection, subjects, sensor_ids))
    found = []
    for row in rows:
        store_house_id = row.store_house_id
        if store_house_id is None and row.sensor_id is not None and identity(row.sensor_id) in by_id:
            store_house_id = by_id[identity(row.sensor_id)].store_house_id
        if store_house_id is not None:
            found.append(_alarm(alarm, row, identity(store_house_id), by_id, now))
    return found


def _by_id(of_place: Iterable[Sensor]) -> dict[Id, Sensor]:
    """A device that measures several things goes by its first."""
    found: dict[Id, Sensor] = {}
    for one in of_place:
        found.setdefault(one.sensor_id, one)
    return found


def since_minute(data_minute: int | str, place: Storehouse, now: datetime) -> datetime:
    """Return the instant that `data_minute` means; raises `BadRequest` where it means none.

    A text is a wall-clock time of the storehouse; in a repeated hour it is the earlier one.
    """
    if isinstance(data_minute, int):
        return now - timedelta(minutes=data_minute)
    try:
        local = datetime.strptime(data_minute, "%Y-%m-%d %H:%M")  # noqa: DTZ007 - the zone comes next
        return local.replace(tzinfo=zone(place.time_zone), fold=0).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRequest(
            'must be minutes back from now, or a time of the storehouse as "YYYY-MM-DD HH:MM"', "data_minute"
        ) from None


def _since(alarm: Subject, since: datetime) -> sa.Select[Any]:
    cleared, raised = alarm.column("cleared"), alarm.column("raised")
    still_open = cleared.is_(None) if alarm.has("cleared") else sa.false()
    return (
        alarm.select(*FIELDS)
        .where(sa.or_(still_open, cleared >= since, raised >= since))
        .order_by(raised.desc(), alarm.column("alarm_id").desc())
        .limit(MOST + 1)
    )


def _alarm(alarm: Subject, row: Any, store_house_id: Id, by_id: dict[Id, Sensor], now: datetime) -> Alarm:
    raised, cleared = alarm.instant(row.raised, now), alarm.instant(row.cleared, now)
    sensor_id = None if row.sensor_id is None else identity(row.sensor_id)
    sensor = None if sensor_id is None else by_id.get(sensor_id)
    return Alarm(
        alarm_id=identity(row.alarm_id),
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
