"""Reads and writes the test alarms that users have requested.

They are stored in the table `drill` of the `state` database.
"""

from datetime import datetime
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from alarms.notices import RECORD_ONLY
from ask.answers import Alarm
from ask.episodes import alarm, episode_id
from ask.sensors import Sensor
from db import tables


class AlarmTest(NamedTuple):
    """A test alarm that a user has requested.

    `sensor` is the sensor of the test reading. `asked` is the time of the request. `ends` is the latest time at which
    the test alarm ends. `alarm` is None until the judge (the component that evaluates alarm rules) has processed the
    test reading.
    """

    test_alarm_id: int
    sensor: Sensor
    asked: datetime
    ends: datetime
    alarm: Alarm | None


class NoticeStatus(NamedTuple):
    """A notice about a test alarm to one target. `sent` is None until the notice has arrived."""

    target: str
    what: str
    written: datetime
    sent: datetime | None
    tries: int


def request(connection: sa.Connection, sensor: Sensor, now: datetime, ends: datetime) -> int:
    """Write a request for a test alarm. Return its `test_alarm_id`."""
    values = {"sensor": msgspec.json.encode(sensor).decode(), "asked": now, "ends": ends}
    primary_key = connection.execute(sa.insert(tables.drill).values(values)).inserted_primary_key
    assert primary_key is not None  # noqa: S101 - one row was inserted, so there is one key
    return int(primary_key[0])


def running(connection: sa.Connection, now: datetime) -> list[AlarmTest]:
    """Return the test alarms that have not ended, oldest first.

    Leave out a request if its end has passed before the judge has processed it, because the judge ignores such a
    request.
    """
    columns = tables.drill.c
    unjudged = sa.and_(columns.episode_id.is_(None), columns.ends > now)
    return _select(connection, sa.or_(unjudged, tables.episode.c.is_open), columns.drill_id)


def newest(connection: sa.Connection, most: int) -> list[AlarmTest]:
    """Return at most `most` test alarms, newest first."""
    return _select(connection, sa.true(), tables.drill.c.drill_id.desc(), most)


def get(connection: sa.Connection, test_alarm_id: int) -> AlarmTest:
    """Return one test alarm."""
    return _select(connection, tables.drill.c.drill_id == test_alarm_id, tables.drill.c.drill_id)[0]


def set_episode(connection: sa.Connection, test_alarm_id: int, episode_id: int) -> None:
    """Store the id of the alarm that the judge created for a test alarm."""
    table = tables.drill
    connection.execute(sa.update(table).where(table.c.drill_id == test_alarm_id).values(episode_id=episode_id))


def withdraw(connection: sa.Connection, test_alarm_id: int) -> None:
    """Delete the request for a test alarm if the judge has not processed the request yet."""
    table = tables.drill
    connection.execute(sa.delete(table).where(table.c.drill_id == test_alarm_id, table.c.episode_id.is_(None)))


def notices(connection: sa.Connection, test_alarm: AlarmTest) -> list[NoticeStatus]:
    """Return the notices about a test alarm to all targets, in the order in which they were written."""
    if test_alarm.alarm is None:
        return []
    notice = tables.notice.c
    columns = (notice.target, notice.what, notice.written, notice.sent, notice.tries)
    of_alarm = notice.episode_id == episode_id(test_alarm.alarm.alarm_id)
    statement = sa.select(*columns).where(of_alarm, notice.what != RECORD_ONLY).order_by(notice.notice_id)
    return [NoticeStatus(*row) for row in connection.execute(statement)]


def _select(
    connection: sa.Connection, condition: sa.ColumnElement[bool], order: sa.ColumnElement[int], most: int | None = None
) -> list[AlarmTest]:
    table, episode = tables.drill, tables.episode
    joined = table.outerjoin(episode, episode.c.episode_id == table.c.episode_id)
    # The columns have labels, because both tables have a column `episode_id`.
    columns = [table.c[name].label(f"drill_{name}") for name in ("drill_id", "sensor", "asked", "ends")]
    statement = sa.select(*columns, episode).select_from(joined)
    rows = connection.execute(statement.where(condition).order_by(order).limit(most)).mappings()
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
