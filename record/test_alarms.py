"""Drills: the test alarms that somebody has asked for, and what has become of them. They lie in `state`."""

from datetime import datetime
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from alarms.notices import SILENT
from ask.answers import Alarm
from ask.episodes import alarm, episode_id
from ask.sensors import Sensor
from db import tables


class AlarmTest(NamedTuple):
    """A drill: whose test reading it is, when it was asked for, and when it is over at the latest.

    `alarm`: None while it is not judged yet.
    """

    drill_id: int
    sensor: Sensor
    asked: datetime
    ends: datetime
    alarm: Alarm | None


class Told(NamedTuple):
    """What a target was told of a drill; `sent` is None while that is on its way."""

    target: str
    what: str
    written: datetime
    sent: datetime | None
    tries: int


def ask(connection: sa.Connection, sensor: Sensor, now: datetime, ends: datetime) -> int:
    """Write down that somebody wants a drill; return its `drill_id`."""
    values = {"sensor": msgspec.json.encode(sensor).decode(), "asked": now, "ends": ends}
    made = connection.execute(sa.insert(tables.drill).values(values)).inserted_primary_key
    assert made is not None  # noqa: S101 - one row was inserted, so there is one key
    return int(made[0])


def running(connection: sa.Connection, now: datetime) -> list[AlarmTest]:
    """Return the drills that are not over, the oldest first; one that nobody has judged in its time never will be."""
    drill = tables.drill.c
    unjudged = sa.and_(drill.episode_id.is_(None), drill.ends > now)
    return _select(connection, sa.or_(unjudged, tables.episode.c.is_open), drill.drill_id)


def newest(connection: sa.Connection, most: int) -> list[AlarmTest]:
    """Return the last drills, the newest first."""
    return _select(connection, sa.true(), tables.drill.c.drill_id.desc(), most)


def one(connection: sa.Connection, drill_id: int) -> AlarmTest:
    """Return this drill."""
    return _select(connection, tables.drill.c.drill_id == drill_id, tables.drill.c.drill_id)[0]


def judged(connection: sa.Connection, drill_id: int, number: int) -> None:
    """Write down which episode came of it."""
    drill = tables.drill
    connection.execute(sa.update(drill).where(drill.c.drill_id == drill_id).values(episode_id=number))


def withdraw(connection: sa.Connection, drill_id: int) -> None:
    """Forget one that was not judged."""
    drill = tables.drill
    connection.execute(sa.delete(drill).where(drill.c.drill_id == drill_id, drill.c.episode_id.is_(None)))


def told(connection: sa.Connection, drill: AlarmTest) -> list[Told]:
    """Return what everybody was told of its alarm, in order."""
    if drill.alarm is None:
        return []
    notice = tables.notice.c
    columns = (notice.target, notice.what, notice.written, notice.sent, notice.tries)
    own = notice.episode_id == episode_id(drill.alarm.alarm_id), notice.what != SILENT
    sent = sa.select(*columns).where(*own)
    return [Told(*row) for row in connection.execute(sent.order_by(notice.notice_id))]


def _select(
    connection: sa.Connection, wanted: sa.ColumnElement[bool], order: sa.ColumnElement[int], most: int | None = None
) -> list[AlarmTest]:
    drill, episode = tables.drill, tables.episode
    both = drill.outerjoin(episode, episode.c.episode_id == drill.c.episode_id)
    own = (drill.c.drill_id, drill.c.sensor, drill.c.asked, drill.c.ends)
    statement = sa.select(*(each.label(f"drill_{each.name}") for each in own), episode).select_from(both)
    rows = connection.execute(statement.where(wanted).order_by(order).limit(most)).mappings()
    return [
        AlarmTest(
            row["drill_drill_id"],
            msgspec.json.decode(row["drill_sensor"], type=Sensor),
            row["drill_asked"],
            row["drill_ends"],
            None if row["episode_id"] is None else alarm(dict(row)),
        )
        for row in rows
    ]
