"""Queries of the alarms that Storewatch judges. Their table is in the `state` database."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from ask.answers import EVERYWHERE, Alarm, Id
from ask.journal import is_complete
from ask.journal import key as id_key
from ask.readings import Key
from common.texts import shortened
from db import tables
from db.tables import LONGEST_SUBJECT
from errors import NotFound

PREFIX = "sw-"
"""Prefix of the `alarm_id` of alarms that Storewatch judges. It distinguishes these alarms from the site's own alarms.
"""


def subject_key(store_house_id: Id, key: Key | None) -> str:
    """Return the subject of an alarm as JSON text, shortened if it is too long.

    The subject is the key of the alarm's sensor. If `key` is None, the subject is the id of the storehouse.
    """
    return id_key(store_house_id) if key is None else shortened(_json(key), LONGEST_SUBJECT)


def long_ids(store_house_id: Id, key: Key | None) -> str | None:
    """Return the value of the column `ids`: the alarm's ids, if the key columns do not contain them completely."""
    if is_complete(store_house_id) and (key is None or len(_json(key)) <= LONGEST_SUBJECT):
        return None
    return _json([store_house_id, key])


def subject_of(row: Mapping[str, Any]) -> tuple[Id, Key | None]:
    """Return the id of an alarm's storehouse and the key of its sensor, from a row of the table `episode`.

    The key is None if the alarm is about a whole storehouse.
    """
    if row["ids"] is not None:
        store_house_id, key = msgspec.json.decode(row["ids"])
    else:
        store_house_id, subject = (msgspec.json.decode(row[name]) for name in ("store_house_key", "subject_key"))
        key = subject if isinstance(subject, list) else None
    return store_house_id, None if key is None else (key[0], key[1])


def _json(data: object) -> str:
    return msgspec.json.encode(data).decode()


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
            episode.store_house_key.in_([id_key(store_house_id), id_key(EVERYWHERE)]),
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
    columns = (episode.store_house_key, episode.subject_key, episode.ids)
    row = connection.execute(sa.select(*columns).where(episode.episode_id == episode_id)).mappings().first()
    return None if row is None else subject_of(dict(row))[0]


def alarm(row: Mapping[str, Any]) -> Alarm:
    """Convert a row of the table `episode` to an `Alarm`, the type that the server sends to clients."""
    store_house_id, key = subject_of(row)
    limits = msgspec.json.decode(row["limits"])
    limit = limits[row["level"]]
    return Alarm(
        alarm_id=alarm_id(row["episode_id"]),
        store_house_id=store_house_id,
        sensor_id=None if key is None else key[0],
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


def _set(value: Any) -> Any:
    return msgspec.UNSET if value is None else value
