"""Notices: what each target is told of our alarms, written down before it is sent, and what has become of it.

Every function works in the caller's transaction, which holds the row of the lease "alarm journal": nobody else writes.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from alarms.notices import SILENT, TIMED, Case, Notice, Terms, Told, due, news
from ask.answers import Alarm, Id
from ask.episodes import alarm_id, episode_id, open_alarms
from ask.journal import key
from db import tables

MOST_IDS = 1_000
"""Alarms or notices in one question."""


class Item(NamedTuple):
    """What a message says of one alarm, and the alarm as it was when that was written down."""

    what: str
    alarm: Alarm


class Message(NamedTuple):
    """Notices that go to one target together; they are all of one storehouse.

    `tries` counts this one; where it is not the first, those before may have reached the target or not: nobody knows,
    be it that we were killed or that the answer did not come.
    """

    message_id: int
    target: str
    store_house_id: Id
    items: tuple[Item, ...]
    tries: int


def follow(
    connection: sa.Connection, alarms: Sequence[Alarm], terms: Terms, wait: timedelta, now: datetime
) -> list[Notice]:
    """Write down what is to be told of alarms that have changed, given in the order of the changes; return that."""
    before = told(connection, alarms)
    notices = []
    for alarm in alarms:
        last = before.setdefault(alarm.alarm_id, {})
        new = news([Case(alarm, last)], terms, now)
        last |= {notice.target: notice.told for notice in new}
        notices += new
    add(connection, notices, wait, now)
    return notices


def remind(connection: sa.Connection, terms: Terms, wait: timedelta, now: datetime) -> list[Notice]:
    """Write down what is to be told because time has passed, or somebody has acknowledged; return that."""
    alarms = open_alarms(connection)
    before = told(connection, alarms)
    notices = due([Case(alarm, before.get(alarm.alarm_id, {})) for alarm in alarms], terms, now)
    add(connection, notices, wait, now)
    return notices


def told(connection: sa.Connection, alarms: Sequence[Alarm]) -> dict[Id, dict[str, Told]]:
    """Return what each target was last told of each of these alarms, by `alarm_id`."""
    notice = tables.notice.c
    later = tables.notice.alias("later")
    followed = sa.exists().where(
        later.c.episode_id == notice.episode_id,
        later.c.target == notice.target,
        later.c.number == notice.number + 1,
    )
    columns = (notice.number, notice.what, notice.severity, notice.limit, notice.since, notice.sent)
    ids = sorted({_episode_id(alarm) for alarm in alarms})
    found: dict[Id, dict[str, Told]] = {}
    for start in range(0, len(ids), MOST_IDS):
        some = notice.episode_id.in_(ids[start : start + MOST_IDS])
        rows = connection.execute(sa.select(notice.episode_id, notice.target, *columns).where(some, sa.not_(followed)))
        for found_id, target, *last in rows:
            found.setdefault(alarm_id(found_id), {})[target] = Told(*last)
    return found


def add(connection: sa.Connection, notices: Sequence[Notice], wait: timedelta, now: datetime) -> None:
    """Write notices down; news wait for more of the same storehouse.

    Raises SQLAlchemy's IntegrityError where one of them stands there already.
    """
    rows = [
        {
            "episode_id": _episode_id(alarm),
            "target": target,
            "number": last.number,
            "store_house_key": key(alarm.store_house_id),
            "what": last.what,
            "severity": last.severity,
            "limit": last.limit,
            "alarm": msgspec.json.encode(alarm).decode(),
            "since": last.since,
            "written": now,
            "due": now if last.what in TIMED else now + wait,
            "sent": now if last.what == SILENT else None,
        }
        for target, alarm, last in notices
    ]
    if rows:
        connection.execute(sa.insert(tables.notice), rows)


def _episode_id(alarm: Alarm) -> int:
    found = episode_id(alarm.alarm_id)
    assert found is not None  # noqa: S101 - only our own alarms come here
    return found


class Waiting(NamedTuple):
    """Notices for one target that are to go in one message, or have gone in vain."""

    due: datetime
    target: str
    store_house_key: str
    notice_ids: tuple[int, ...]
    message_id: int | None
    """None: it was not tried yet."""


def waiting(connection: sa.Connection, targets: Collection[str]) -> list[Waiting]:
    """Return what these targets have not been told yet, message by message, the oldest first."""
    notice = tables.notice.c
    columns = (notice.target, notice.store_house_key, notice.message_id, notice.due, notice.notice_id)
    unsent = sa.select(*columns).where(notice.sent.is_(None), notice.target.in_(targets)).order_by(notice.notice_id)
    messages: dict[tuple[Any, ...], list[tuple[datetime, int]]] = {}
    for *which, when, notice_id in connection.execute(unsent):
        messages.setdefault(tuple(which), []).append((when, notice_id))
    found = [
        Waiting(min(when for when, _ in notices), target, place, tuple(each for _, each in notices), message_id)
        for (target, place, message_id), notices in messages.items()
    ]
    return sorted(found, key=lambda one: one.due)


def last_sent(connection: sa.Connection, one: Waiting) -> datetime | None:
    """Return when the last message about the same storehouse reached the same target."""
    notice = tables.notice.c
    same = notice.target == one.target, notice.store_house_key == one.store_house_key, notice.message_id.is_not(None)
    found: datetime | None = connection.scalar(sa.select(sa.func.max(notice.sent)).where(*same))
    return found


def begin(connection: sa.Connection, one: Waiting) -> Message:
    """Write down that this is about to be sent, and return it."""
    notice = tables.notice
    mine = notice.c.notice_id.in_(one.notice_ids)
    message_id = one.message_id or one.notice_ids[0]
    values = {"message_id": message_id, "tries": notice.c.tries + 1}
    connection.execute(sa.update(notice).where(mine).values(values))
    columns = (notice.c.what, notice.c.alarm, notice.c.tries)
    rows = connection.execute(sa.select(*columns).where(mine).order_by(notice.c.notice_id)).all()
    items = tuple(Item(row.what, msgspec.json.decode(row.alarm, type=Alarm)) for row in rows)
    return Message(message_id, one.target, items[0].alarm.store_house_id, items, rows[0].tries)


def arrived(connection: sa.Connection, message: Message, now: datetime) -> None:
    """Write down that the message has arrived."""
    _update(connection, message, {"sent": now})


def failed(connection: sa.Connection, message: Message, again: datetime) -> None:
    """Write down that the message has not arrived, or that nobody knows, and when to try again."""
    _update(connection, message, {"due": again})


def _update(connection: sa.Connection, message: Message, values: dict[str, Any]) -> None:
    notice = tables.notice
    mine = notice.c.message_id == message.message_id, notice.c.sent.is_(None)
    connection.execute(sa.update(notice).where(*mine).values(values))


def forget(connection: sa.Connection, before: datetime) -> None:
    """Delete some of what was sent before then; not of alarms that are open, or they would be told of again."""
    notice, episode = tables.notice.c, tables.episode.c
    is_open = sa.exists().where(episode.episode_id == notice.episode_id, episode.is_open)
    old = sa.select(notice.notice_id).where(notice.sent < before, sa.not_(is_open)).order_by(notice.sent)
    ids = connection.scalars(old.limit(MOST_IDS)).all()
    if ids:
        connection.execute(sa.delete(tables.notice).where(notice.notice_id.in_(ids)))


def are_failing(connection: sa.Connection, store_house_id: Id, targets: Collection[str], tries: int) -> bool:
    """Return whether a message about this storehouse to one of `targets` was tried so often, and has not arrived."""
    notice = tables.notice.c
    unsent = notice.store_house_key == key(store_house_id), notice.sent.is_(None), notice.target.in_(targets)
    here = (*unsent, notice.tries >= tries)
    return connection.scalar(sa.select(notice.notice_id).where(*here).limit(1)) is not None
