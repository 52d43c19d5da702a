"""The alarm journal: every transition of every alarm, in the order it was noticed, each once."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from ask.answers import Alarm, Id
from ask.journal import key
from db import tables

MOST_KEYS = 1_000
"""Alarms in one question."""


class Step(NamedTuple):
    """The nth transition of an alarm, and the alarm as it was then."""

    number: int
    alarm: Alarm


def open_steps(connection: sa.Connection) -> dict[Id, Step]:
    """Return the last step of each alarm that is open."""
    return _last_steps(connection, tables.alarm_journal.c.is_open)


def last_steps(connection: sa.Connection, alarm_ids: Sequence[Id]) -> dict[Id, Step]:
    """Return the last step of each of these alarms that has one."""
    found: dict[Id, Step] = {}
    for start in range(0, len(alarm_ids), MOST_KEYS):
        keys = [key(alarm_id) for alarm_id in alarm_ids[start : start + MOST_KEYS]]
        found |= _last_steps(connection, tables.alarm_journal.c.alarm_key.in_(keys))
    return found


def _last_steps(connection: sa.Connection, which: sa.ColumnElement[bool]) -> dict[Id, Step]:
    journal = tables.alarm_journal
    after = journal.alias("after")
    followed = sa.exists().where(after.c.alarm_key == journal.c.alarm_key, after.c.step == journal.c.step + 1)
    rows = connection.execute(sa.select(journal.c.step, journal.c.alarm).where(which, sa.not_(followed)))
    steps = [Step(number, msgspec.json.decode(alarm, type=Alarm)) for number, alarm in rows]
    return {step.alarm.alarm_id: step for step in steps}


def add(connection: sa.Connection, steps: Sequence[Step], now: datetime) -> None:
    """Write steps down; raises SQLAlchemy's IntegrityError where one of them stands there already."""
    if steps:
        connection.execute(sa.insert(tables.alarm_journal), list(_rows(steps, now)))


def _rows(steps: Iterable[Step], now: datetime) -> Iterable[dict[str, object]]:
    for step in steps:
        yield {
            "alarm_key": key(step.alarm.alarm_id),
            "step": step.number,
            "store_house_key": key(step.alarm.store_house_id),
            "written": now,
            "is_open": step.alarm.cleared is None and step.alarm.state != "cleared",
            "alarm": msgspec.json.encode(step.alarm).decode(),
        }
