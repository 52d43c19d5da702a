"""Writes the alarm journal: each transition of each alarm once, in the order the server noticed them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from ask.answers import Alarm, Id
from ask.journal import key
from db import tables

BATCH = 1_000
"""The most alarms in one statement."""


class Step(NamedTuple):
    """A transition of an alarm, `number` counts from 1; and the alarm after it."""

    number: int
    alarm: Alarm


def open_steps(connection: sa.Connection) -> dict[Id, Step]:
    """Return the last step of each open alarm."""
    return _last_steps(connection, tables.alarm_journal.c.is_open)


def last_steps(connection: sa.Connection, alarm_ids: Sequence[Id]) -> dict[Id, Step]:
    """Return the last step of each of these alarms that has one."""
    steps: dict[Id, Step] = {}
    for start in range(0, len(alarm_ids), BATCH):
        keys = [key(alarm_id) for alarm_id in alarm_ids[start : start + BATCH]]
        steps |= _last_steps(connection, tables.alarm_journal.c.alarm_key.in_(keys))
    return steps


def _last_steps(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> dict[Id, Step]:
    journal = tables.alarm_journal
    after = journal.alias("after")
    followed = sa.exists().where(after.c.alarm_key == journal.c.alarm_key, after.c.step == journal.c.step + 1)
    rows = connection.execute(sa.select(journal.c.step, journal.c.alarm).where(condition, sa.not_(followed)))
    steps = [Step(number, msgspec.json.decode(alarm, type=Alarm)) for number, alarm in rows]
    return {step.alarm.alarm_id: step for step in steps}


def add(connection: sa.Connection, steps: Sequence[Step], now: datetime) -> None:
    """Write steps; raises SQLAlchemy's IntegrityError if one of them was written before."""
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
