"""Reads the alarm journal, which is in the `state` database."""

from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from ask.answers import EVERYWHERE, Alarm, Id
from db import tables


class Transition(NamedTuple):
    """An entry of the journal; browsers know the ids of entries as `cursor`."""

    transition_id: int
    alarm: Alarm


def key(identity: Id) -> str:
    """Return an id as the journal stores it: as JSON, in which 5 and "5" differ."""
    return msgspec.json.encode(identity).decode()


def last(connection: sa.Connection) -> int:
    """Return the id of the last transition, 0 where there is none."""
    return connection.scalar(sa.select(sa.func.max(tables.alarm_journal.c.transition_id))) or 0


def exists(connection: sa.Connection, transition_id: int) -> bool:
    """Whether there is such a transition; 0, from before the first one, counts as one."""
    journal = tables.alarm_journal.c
    statement = sa.select(journal.transition_id).where(journal.transition_id == transition_id)
    return transition_id == 0 or connection.scalar(statement) is not None


def after(
    connection: sa.Connection, transition_id: int, most: int, store_house_id: Id | None = None
) -> list[Transition]:
    """Return at most `most` transitions after this one: of all storehouses, or those that concern one storehouse."""
    journal = tables.alarm_journal.c
    statement = sa.select(journal.transition_id, journal.alarm).where(journal.transition_id > transition_id)
    if store_house_id is not None:
        keys = [key(store_house_id), key(EVERYWHERE)]
        statement = statement.where(journal.store_house_key.in_(keys))
    rows: Any = connection.execute(statement.order_by(journal.transition_id).limit(most))
    return [Transition(row_id, msgspec.json.decode(alarm, type=Alarm)) for row_id, alarm in rows]
