"""Writes the alarm journal, which contains each change of each alarm's state once, in the order of detection."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from ask.answers import Alarm, Id
from ask.journal import decoded_alarm, key
from db import tables

BATCH = 1_000
"""Maximum number of alarms in one statement."""


class Step(NamedTuple):
    """An entry of the alarm journal: a change of an alarm's state. `alarm` is the alarm after the change.

    `number` counts the changes of this alarm, from 1.
    """

    number: int
    alarm: Alarm


def open_steps(connection: sa.Connection) -> dict[Id, Step]:
    """Return a dict from the `alarm_id` of each open alarm to the alarm's last entry in the alarm journal."""
    return _last_steps(connection, tables.alarm_journal.c.is_open)


def last_steps(connection: sa.Connection, alarm_ids: Sequence[Id]) -> dict[Id, Step]:
    """Return a dict from each of the `alarm_ids` to the alarm's last entry in the alarm journal.

    Leave out alarms without an entry.
    """
    steps: dict[Id, Step] = {}
    for start in range(0, len(alarm_ids), BATCH):
        keys = [key(alarm_id) for alarm_id in alarm_ids[start : start + BATCH]]
        steps |= _last_steps(connection, tables.alarm_journal.c.alarm_key.in_(keys))
    return steps


def _last_steps(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> dict[Id, Step]:
    journal = tables.alarm_journal
    after = journal.alias("after")
    followed = sa.exists().where(after.c.alarm_key == journal.c.alarm_key, after.c.step == journal.c.step + 1)
    columns = (journal.c.transition_id, journal.c.step, journal.c.alarm)
    rows = connection.execute(sa.select(*columns).where(condition, sa.not_(followed)))
    decoded = [(number, decoded_alarm(transition_id, alarm)) for transition_id, number, alarm in rows]
    return {alarm.alarm_id: Step(number, alarm) for number, alarm in decoded if alarm is not None}


def add(connection: sa.Connection, steps: Sequence[Step], now: datetime) -> None:
    """Write entries of the alarm journal. Raise SQLAlchemy's IntegrityError if one of them was already written."""
    if steps:
        connection.execute(sa.insert(tables.alarm_journal), list(_rows(steps, now)))


def _rows(steps: Iterable[Step], now: datetime) -> Iterable[dict[str, object]]:
    for step in steps:
        yield {
            "alarm_key": key(step.alarm.alarm_id),
            "step": step.number,
            "store_house_key": key(step.alarm.store_house_id),
            "written": now,
            "is_open": step.alarm.is_open,
            "alarm": msgspec.json.encode(step.alarm).decode(),
        }
