"""Queries of the alarm journal, which is in the `state` database."""

from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from ask.answers import EVERYWHERE, Alarm, Id
from db import tables


class Transition(NamedTuple):
    """An entry of the alarm journal: a transition of an alarm. Clients receive the entry's id as `cursor`."""

    transition_id: int
    alarm: Alarm


def key(identity: Id) -> str:
    """Return an id as JSON, as the journal stores it. In JSON, the ids 5 and "5" are different."""
    return msgspec.json.encode(identity).decode()


def last(connection: sa.Connection) -> int:
    """Return the id of the last transition, or 0 if the journal is empty."""
    return connection.scalar(sa.select(sa.func.max(tables.alarm_journal.c.transition_id))) or 0


def exists(connection: sa.Connection, transition_id: int) -> bool:
    """Return whether a transition exists. The id 0 counts as existing: it is the cursor before the first transition."""
    journal = tables.alarm_journal.c
    statement = sa.select(journal.transition_id).where(journal.transition_id == transition_id)
    return transition_id == 0 or connection.scalar(statement) is not None


def after(
    connection: sa.Connection, transition_id: int, most: int, store_house_id: Id | None = None
) -> list[Transition]:
    """Return at most `most` transitions after `transition_id`, in order.

    If `store_house_id` is given, return only transitions of this storehouse's alarms, and of alarms about all
    storehouses.
    """
    journal = tables.alarm_journal.c
    statement = sa.select(journal.transition_id, journal.alarm).where(journal.transition_id > transition_id)
    if store_house_id is not None:
        keys = [key(store_house_id), key(EVERYWHERE)]
        statement = statement.where(journal.store_house_key.in_(keys))
    rows: Any = connection.execute(statement.order_by(journal.transition_id).limit(most))
    return [Transition(row_id, msgspec.json.decode(alarm, type=Alarm)) for row_id, alarm in rows]
