"""Queries of the alarm journal, which is in the `state` database."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from ask.answers import EVERYWHERE, Alarm, Id
from db import tables

BATCH = 1_000
"""Maximum number of alarms in one query."""


class Transition(NamedTuple):
    """An entry of the alarm journal: a change of an alarm's state. `alarm` is the alarm after the change.

    Clients receive the id of the entry as `cursor`.
    """

    transition_id: int
    alarm: Alarm


def key(identity: Id) -> str:
    """Return an id as JSON text, because the journal stores ids as JSON. In JSON, the ids 5 and "5" are different."""
    return msgspec.json.encode(identity).decode()


def last(connection: sa.Connection) -> int:
    """Return the id of the last entry in the alarm journal, or 0 if the journal is empty."""
    return connection.scalar(sa.select(sa.func.max(tables.alarm_journal.c.transition_id))) or 0


def exists(connection: sa.Connection, transition_id: int) -> bool:
    """Return whether the alarm journal has an entry with the id `transition_id`.

    For the id 0, always return True, because clients use 0 as the cursor before the first entry.
    """
    journal = tables.alarm_journal.c
    statement = sa.select(journal.transition_id).where(journal.transition_id == transition_id)
    return transition_id == 0 or connection.scalar(statement) is not None


def ever_acknowledged(connection: sa.Connection, alarm_ids: Sequence[Id]) -> set[Id]:
    """Return those of the alarms that users have acknowledged, even if the acknowledgement has become void."""
    journal = tables.alarm_journal.c
    acknowledged: set[Id] = set()
    for start in range(0, len(alarm_ids), BATCH):
        keys = [key(alarm_id) for alarm_id in alarm_ids[start : start + BATCH]]
        steps = sa.select(journal.alarm_key).where(
            journal.alarm_key.in_(keys), journal.alarm.contains('"transition":"acknowledged"')
        )
        acknowledged.update(msgspec.json.decode(alarm_key) for alarm_key in connection.scalars(steps))
    return acknowledged


def after(
    connection: sa.Connection, transition_id: int, most: int, store_house_id: Id | None = None
) -> list[Transition]:
    """Return at most `most` entries of the alarm journal with ids above `transition_id`, ordered by id.

    If `store_house_id` is given, return only entries about this storehouse's alarms, and entries about alarms that
    concern all storehouses at once.
    """
    journal = tables.alarm_journal.c
    statement = sa.select(journal.transition_id, journal.alarm).where(journal.transition_id > transition_id)
    if store_house_id is not None:
        keys = [key(store_house_id), key(EVERYWHERE)]
        statement = statement.where(journal.store_house_key.in_(keys))
    rows: Any = connection.execute(statement.order_by(journal.transition_id).limit(most))
    return [Transition(row_id, msgspec.json.decode(alarm, type=Alarm)) for row_id, alarm in rows]
