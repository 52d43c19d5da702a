"""Queries of the alarm journal, which is in the `state` database."""

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from ask.answers import EVERYWHERE, Alarm, Id
from common.texts import shortened
from db import tables
from db.tables import LONGEST_KEY

log = logging.getLogger(__name__)

BATCH = 1_000
"""Maximum number of alarms in one query."""


class Transition(NamedTuple):
    """An entry of the alarm journal: a change of an alarm's state. `alarm` is the alarm after the change.

    Clients receive the id of the entry as `cursor`.
    """

    transition_id: int
    alarm: Alarm


def key(identity: Id) -> str:
    """Return the key of an id in Storewatch's own tables: the id as JSON text, shortened if it is too long.

    In JSON, the ids 5 and "5" are different.
    """
    return shortened(msgspec.json.encode(identity).decode(), LONGEST_KEY)


def is_complete(identity: Id) -> bool:
    """Return whether the key of an id contains the whole id."""
    return len(msgspec.json.encode(identity).decode()) <= LONGEST_KEY


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
    return [Transition(row_id, alarm) for row_id, text in rows if (alarm := decoded_alarm(row_id, text)) is not None]


def decoded_alarm(transition_id: int, text: str) -> Alarm | None:
    """Decode the alarm in an entry of the alarm journal. Return None if it is invalid.

    MariaDB without the strict mode truncated the JSON of long alarms that earlier versions wrote.
    """
    try:
        return msgspec.json.decode(text, type=Alarm)
    except msgspec.DecodeError:
        _log_invalid(transition_id)
        return None


@lru_cache(maxsize=10_000)  # so that each entry is logged once
def _log_invalid(transition_id: int) -> None:
    log.warning("entry %d of the alarm journal is invalid and is ignored", transition_id)
