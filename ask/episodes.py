"""Queries of the alarms that Storewatch judges. Their table is in the `state` database."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from ask.answers import EVERYWHERE, Alarm, Id
from ask.journal import key
from db import tables
from errors import NotFound

PREFIX = "sw-"
"""Prefix of the `alarm_id` of alarms that Storewatch judges. It distinguishes these alarms from the site's own alarms.
"""


def alarm_id(episode_id: int) -> str:
    """Return the `alarm_id` that clients use for the alarm with this `episode_id`."""
    return f"{PREFIX}{episode_id}"


def episode_id(alarm_id: Id) -> int | None:
    """Return the `episode_id` that `alarm_id` contains, or None if the alarm is not one that Storewatch judges."""
    if not isinstance(alarm_id, str):
        return None
    digits = alarm_id.removeprefix(PREFIX)
    ours = digits != alarm_id and digits.isascii() and digits.isdigit() and len(digits) < 19
    return int(digits) if ours else None


def no_alarm(alarm_id: Id) -> NotFound:
    """Return the error for an alarm that does not exist or that the user may not see."""
    return NotFound(f"there is no alarm {alarm_id!r}", "alarm_id", reason="unknown_alarm")


def since(connection: sa.Connection, store_house_id: Id, time: datetime, most: int) -> list[Alarm]:
    """Return a storehouse's alarms that were open at `time` or were raised later, newest first.

    Return at most `most` alarms.
    """
    episode = tables.episode.c
    begun = sa.func.coalesce(episode.raised, episode.since)
    statement = (
        sa.select(tables.episode)
        .where(
            episode.store_house_key.in_([key(store_house_id), key(EVERYWHERE)]),
            sa.or_(episode.is_open, episode.cleared >= time, episode.raised >= time),
        )
        .order_by(begun.desc(), episode.episode_id.desc())
        .limit(most)
    )
    return [alarm(dict(row)) for row in connection.execute(statement).mappings()]


def open_alarms(connection: sa.Connection) -> list[Alarm]:
    """Return the open alarms of all storehouses."""
    statement = sa.select(tables.episode).where(tables.episode.c.is_open).order_by(tables.episode.c.episode_id)
    return [alarm(dict(row)) for row in connection.execute(statement).mappings()]


def storehouse_of(connection: sa.Connection, episode_id: int) -> Id | None:
    """Return the id of an alarm's storehouse, or None if the alarm does not exist."""
    episode = tables.episode.c
    store_house_key = connection.scalar(sa.select(episode.store_house_key).where(episode.episode_id == episode_id))
    return None if store_house_key is None else msgspec.json.decode(store_house_key)


def alarm(row: Mapping[str, Any]) -> Alarm:
    """Convert a row of the table `episode` to an `Alarm`, the type that the server sends to clients."""
    limits = msgspec.json.decode(row["limits"])
    limit = limits[row["level"]]
    return Alarm(
        alarm_id=alarm_id(row["episode_id"]),
        store_house_id=msgspec.json.decode(row["store_house_key"]),
        sensor_id=sensor_id(row["subject_key"]),
        sensor_name=row["sensor_name"],
        metric=row["metric"],
        kind=row["kind"],
        severity=limit["severity"],
        state=row["state"],
        acknowledged=row["acknowledged_at"] is not None,
        value=row["value"],
        limit=limit["limit"],
        raised=row["raised"] or row["since"],
        cleared=row["cleared"],
        transition=row["transition"],
        since=row["since"],
        peak=row["peak"],
        limits=limits,
        acknowledged_by=_set(row["acknowledged_by"]),
        acknowledged_at=_set(row["acknowledged_at"]),
        comment=_set(row["comment"]),
        closed_by=_set(row["closed_by"]),
        reason=_set(row["reason"]),
        cause=msgspec.UNSET if row["cause"] is None else alarm_id(row["cause"]),
        late=row["late"],
        silenced=row["silenced"],
        drill=row["drill"],
    )


def sensor_id(subject_key: str) -> Id | None:
    """Return the id of an alarm's sensor, or None if the alarm is about a whole storehouse.

    `subject_key` is JSON text: the key of the alarm's sensor (a list that starts with the sensor's id), or the id of
    the storehouse.
    """
    subject: Sequence[Any] | Id = msgspec.json.decode(subject_key)
    return subject[0] if isinstance(subject, list) else None


def _set(value: Any) -> Any:
    return msgspec.UNSET if value is None else value
