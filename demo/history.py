"""Writes the demo's site and its history to the database."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

import settings
from db import tables
from db.database import Database, database_error
from db.limits import BATCH_LIMITS
from demo import past_readings
from demo.episodes import episodes
from demo.past_readings import SensorSeries
from demo.simulation import SEED
from demo.site import CHINESE_NAMES, ORGANISATIONS, Sensor, Storehouse
from record import alarms, readings, sites

log = logging.getLogger(__name__)

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Installed:
    """A storehouse of the demo, with the database id of the storehouse and of each sensor in it."""

    storehouse: Storehouse
    store_house_id: int
    sensor_ids: dict[Sensor, int]


def prepare(database_settings: settings.Database, now: datetime, seed: int = SEED) -> None:
    """Create the organisations, storehouses and sensors of the demo, and write their readings up to `now`.

    The first start writes a month of readings. Each later start writes the readings after the newest one in the
    database. Everything is written in one transaction, so a first start that is killed leaves nothing behind. Raise
    `UsageError` if the database cannot be read or written.
    """
    database = Database(database_settings, BATCH_LIMITS, 1, writes=True)
    try:
        with database.engine.begin() as connection:
            _rename(connection)
            _prepare(connection, int(now.timestamp()), seed)
    except sa.exc.DBAPIError as error:
        raise database_error(f"cannot write the demo to {database_settings!r}", database_settings, error) from None
    finally:
        database.close()


def install(connection: sa.Connection) -> list[Installed]:
    """Return the demo's storehouses. Create the storehouses that are not in the database yet."""
    return [
        _install(connection, sites.ensure_organisation(connection, organisation.name), storehouse)
        for organisation in ORGANISATIONS
        for storehouse in organisation.storehouses
    ]


def _rename(connection: sa.Connection) -> None:
    """Give the organisations, storehouses and sensors of an older demo database their English names, also in rules.

    In an older database, each name is one text that consists of the Chinese and the English name.
    """
    former_names = {f"{chinese} {english}": english for english, chinese in CHINESE_NAMES.items()}
    for column in (
        tables.organisation.c.org_name,
        tables.storehouse.c.store_house_name,
        tables.sensor.c.sensor_name,
        tables.episode.c.sensor_name,
    ):
        former = set(connection.scalars(sa.select(column).where(column.in_(former_names)).distinct()))
        for name in former:
            connection.execute(sa.update(column.table).where(column == name).values({column: former_names[name]}))
    for rule_id, text in connection.execute(sa.select(tables.rule.c.rule_id, tables.rule.c.rule)).all():
        rule = json.loads(text)
        scope = rule.get("scope", {})
        if scope.get("sensor_name") in former_names:
            scope["sensor_name"] = former_names[scope["sensor_name"]]
            changed = {"rule": json.dumps(rule, ensure_ascii=False)}
            connection.execute(sa.update(tables.rule).where(tables.rule.c.rule_id == rule_id).values(changed))


def _prepare(connection: sa.Connection, now_s: int, seed: int) -> None:
    raised: list[Row] = []
    last_of = {installed: _last_s(connection, installed) for installed in install(connection)}
    if None in last_of.values():
        log.info("first start: creating a month of demo history; this takes a few seconds")
    for installed, last_s in last_of.items():
        if last_s is None:
            series = past_readings.month(installed.storehouse, now_s, seed)
            raised += past_alarms(installed, series)
        else:
            series = past_readings.since(installed.storehouse, last_s, now_s, seed)
        write(connection, installed, series)
    alarms.add(connection, sorted(raised, key=lambda row: row["raised"]))


def _install(connection: sa.Connection, org_id: int, storehouse: Storehouse) -> Installed:
    store_house_id = sites.ensure_storehouse(connection, org_id, storehouse.name, storehouse.time_zone)
    sensor_ids = {
        sensor: sites.ensure_sensor(
            connection,
            store_house_id,
            sensor.name,
            sensor.metric,
            unit=sensor.unit,
            interval_s=sensor.interval_s,
            position=sensor.position,
        )
        for sensor in storehouse.sensors
    }
    return Installed(storehouse, store_house_id, sensor_ids)


def _last_s(connection: sa.Connection, installed: Installed) -> int | None:
    # The sensors of a storehouse report together, so one of them is enough.
    sensor_id = installed.sensor_ids[installed.storehouse.reporting[0]]
    reading = tables.reading.c
    last = connection.scalar(sa.select(sa.func.max(reading.time)).where(reading.sensor_id == sensor_id))
    return None if last is None else int(last.timestamp())


def write(connection: sa.Connection, installed: Installed, series: dict[Sensor, SensorSeries]) -> None:
    """Write the readings of a storehouse."""
    # Rows are written by sensor and then by time, like the index, so that each row is appended to the index.
    instants_s = set[int]().union(*(sensor_series.instants_s for sensor_series in series.values()))
    texts = {instant: readings.text(_time(instant)) for instant in instants_s}
    for sensor, sensor_series in series.items():
        sensor_id = installed.sensor_ids[sensor]
        rows = [
            (sensor_id, texts[instant], value)
            for instant, value in zip(sensor_series.instants_s, sensor_series.values, strict=True)
        ]
        readings.add_bulk(connection, rows)


def past_alarms(installed: Installed, series: dict[Sensor, SensorSeries]) -> Iterator[Row]:
    """Yield a table row for each alarm that these readings raise. Only sensors with limits have alarms."""
    storehouse = installed.storehouse
    for limit in storehouse.room.limits:
        sensor = storehouse.watched(limit.metric)
        for episode in episodes(series[sensor].instants_s, series[sensor].values, limit):
            yield _alarm(installed, sensor) | {
                "kind": limit.kind,
                "severity": limit.severity,
                "state": "cleared",
                "acknowledged": limit.severity == "critical",  # in the demo, users react only to critical alarms
                "value": episode.value,
                "limit": None if limit.kind == "switch" else limit.limit,
                "raised": _time(episode.raised),
                "cleared": _time(episode.cleared),
            }


def _alarm(installed: Installed, sensor: Sensor) -> Row:
    return {
        "store_house_id": installed.store_house_id,
        "sensor_id": installed.sensor_ids[sensor],
        "metric": sensor.metric,
        "acknowledged": False,
        "value": None,
        "limit": None,
        "cleared": None,
    }


def _time(instant_s: float) -> datetime:
    return datetime.fromtimestamp(instant_s, UTC)
