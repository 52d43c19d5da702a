"""Reads and writes notices (notifications about alarms).

A notice is written before it is sent, and marked as sent when it has arrived. Each function runs in the caller's
transaction, which must hold the lock on the lease "alarm journal". While the transaction holds this lock, no other
process can write notices.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from alarms.model import CLEARED, RAISED, REOPENED, WORSENED
from alarms.notices import (
    RECORD_ONLY,
    TIMED,
    Case,
    EscalationPolicy,
    Notice,
    NoticeContent,
    change_notices,
    due_notices,
)
from ask.answers import Alarm, Id
from ask.episodes import alarm_id, episode_id, open_alarms
from ask.journal import key
from db import tables

BATCH = 1_000
"""Maximum number of alarms or notices in one statement."""
Row = dict[str, Any]
"""A row of the table `notice`, as a dict from column names to values."""


class Item(NamedTuple):
    """A notice in a message. `what` is the reason for the notice, such as `raised` or `reminded`.

    `alarm` is the alarm at the time when the notice was written.
    """

    what: str
    alarm: Alarm


class Message(NamedTuple):
    """A message: notices about one storehouse that are sent together to one target.

    `tries` is the number of attempts to send the message, including the current attempt. If `tries` is above 1, an
    earlier attempt may have reached the target: the process may have been killed after it sent the message, or the
    target's answer may have been lost. `unrecorded` is true if the database contains neither the message nor its
    alarms, because it cannot be written.
    """

    message_id: int
    target: str
    store_house_id: Id
    items: tuple[Item, ...]
    tries: int
    unrecorded: bool = False


class Attempt(NamedTuple):
    """The state of a notice that may have been sent before it was written to the database.

    - `message_id`: the id of the message that contains the notice. It is negative, so it is no id of a notice.
    - `tries`: the number of attempts to send the message.
    - `since`: the time at which Storewatch began to wait for an acknowledgement.
    - `due`: the time of the next attempt.
    - `sent`: the time at which the message arrived, or None.
    """

    message_id: int
    tries: int
    since: datetime
    due: datetime
    sent: datetime | None

    def values(self) -> Row:
        """Return the values of the columns that describe the attempts."""
        return {"message_id": self.message_id, "tries": self.tries, "due": self.due, "sent": self.sent}


Attempts = Callable[[Sequence[Alarm]], Sequence[Mapping[str, Attempt]]]
"""A function that returns the attempts to send the notices about each alarm, by the name of the target."""


class PendingMessage(NamedTuple):
    """Notices that are to be sent to one target in one message.

    They have not been sent yet, or an earlier attempt to send them failed.
    """

    due: datetime
    target: str
    store_house_key: str
    notice_ids: tuple[int, ...]
    message_id: int | None
    """The id of the message. It is None until the server first tries to send the message."""


def add_for_changes(
    connection: sa.Connection,
    alarms: Sequence[Alarm],
    policy: EscalationPolicy,
    wait: timedelta,
    now: datetime,
    attempts: Attempts | None = None,
) -> list[Notice]:
    """Write and return the notices about changed alarms. `alarms` must be in the order of the changes.

    `attempts` returns what is known of notices that may have been sent already.
    """
    last = last_notices(connection, alarms)
    notices: list[Notice] = []
    rows: list[Row] = []
    for alarm, attempted in zip(alarms, attempts(alarms) if attempts else [{}] * len(alarms), strict=True):
        last_of_alarm = last.setdefault(alarm.alarm_id, {})
        for notice in change_notices([Case(alarm, last_of_alarm)], policy, now):
            what = notice.content.what
            attempt = attempted.get(notice.target) if what in (RAISED, WORSENED, REOPENED, CLEARED) else None
            if attempt is not None and what in (RAISED, REOPENED):
                notice = notice._replace(content=notice.content._replace(since=attempt.since))
            last_of_alarm[notice.target] = notice.content
            notices.append(notice)
            rows.append(_row(notice, wait, now) | (attempt.values() if attempt else {}))
    _insert(connection, rows)
    return notices


def add_due(connection: sa.Connection, policy: EscalationPolicy, wait: timedelta, now: datetime) -> list[Notice]:
    """Write and return the notices that are due now for open alarms, such as reminders and escalations."""
    alarms = open_alarms(connection)
    last = last_notices(connection, alarms)
    notices = due_notices([Case(alarm, last.get(alarm.alarm_id, {})) for alarm in alarms], policy, now)
    add(connection, notices, wait, now)
    return notices


def last_notices(connection: sa.Connection, alarms: Sequence[Alarm]) -> dict[Id, dict[str, NoticeContent]]:
    """Return the last notice about each of the given alarms to each target.

    The result maps each `alarm_id` to a dict from targets to notices.
    """
    notice = tables.notice.c
    later = tables.notice.alias("later")
    followed = sa.exists().where(
        later.c.episode_id == notice.episode_id,
        later.c.target == notice.target,
        later.c.number == notice.number + 1,
    )
    columns = (notice.number, notice.what, notice.severity, notice.limit, notice.since, notice.sent)
    ids = sorted({_episode_id(alarm) for alarm in alarms})
    contents: dict[Id, dict[str, NoticeContent]] = {}
    for start in range(0, len(ids), BATCH):
        batch = notice.episode_id.in_(ids[start : start + BATCH])
        rows = connection.execute(sa.select(notice.episode_id, notice.target, *columns).where(batch, sa.not_(followed)))
        for number, target, *content in rows:
            contents.setdefault(alarm_id(number), {})[target] = NoticeContent(*content)
    return contents


def add(connection: sa.Connection, notices: Sequence[Notice], wait: timedelta, now: datetime) -> None:
    """Write notices.

    A notice about a change becomes due after the time `wait`, so that one message can contain several notices. Raise
    SQLAlchemy's IntegrityError if one of the notices was already written.
    """
    _insert(connection, [_row(notice, wait, now) for notice in notices])


def _insert(connection: sa.Connection, rows: Sequence[Row]) -> None:
    if rows:
        connection.execute(sa.insert(tables.notice), rows)


def _row(notice: Notice, wait: timedelta, now: datetime) -> Row:
    target, alarm, content = notice
    return {
        "episode_id": _episode_id(alarm),
        "target": target,
        "number": content.number,
        "store_house_key": key(alarm.store_house_id),
        "what": content.what,
        "severity": content.severity,
        "limit": content.limit,
        "alarm": msgspec.json.encode(alarm).decode(),
        "since": content.since,
        "written": now,
        "due": now if content.what in TIMED else now + wait,
        "message_id": None,
        "tries": 0,
        "sent": now if content.what == RECORD_ONLY else None,
    }


def _episode_id(alarm: Alarm) -> int:
    number = episode_id(alarm.alarm_id)
    assert number is not None  # noqa: S101 - only Storewatch's own alarms have notices
    return number


def pending_messages(connection: sa.Connection, targets: Collection[str]) -> list[PendingMessage]:
    """Return the messages to the given targets that have not arrived yet, ordered by the time when they are due."""
    notice = tables.notice.c
    columns = (notice.target, notice.store_house_key, notice.message_id, notice.due, notice.notice_id)
    unsent = sa.select(*columns).where(notice.sent.is_(None), notice.target.in_(targets)).order_by(notice.notice_id)
    messages: dict[tuple[Any, ...], list[tuple[datetime, int]]] = {}
    for *which, notice_due, notice_id in connection.execute(unsent):
        messages.setdefault(tuple(which), []).append((notice_due, notice_id))
    pending = [
        PendingMessage(
            due=min(notice_due for notice_due, _ in notices),
            target=target,
            store_house_key=store_house_key,
            notice_ids=tuple(notice_id for _, notice_id in notices),
            message_id=message_id,
        )
        for (target, store_house_key, message_id), notices in messages.items()
    ]
    return sorted(pending, key=lambda message: message.due)


def last_sent(connection: sa.Connection, pending: PendingMessage) -> datetime | None:
    """Return the time at which the target last received a message about the storehouse.

    `pending` contains the target and the storehouse. Return None if the target has received no such message.
    """
    notice = tables.notice.c
    same_target = notice.target == pending.target
    same_storehouse = notice.store_house_key == pending.store_house_key
    statement = sa.select(sa.func.max(notice.sent)).where(same_target, same_storehouse, notice.message_id.is_not(None))
    sent: datetime | None = connection.scalar(statement)
    return sent


def start_attempt(connection: sa.Connection, pending: PendingMessage) -> Message:
    """Count a new attempt to send this message. Return the message."""
    notice = tables.notice
    of_message = notice.c.notice_id.in_(pending.notice_ids)
    message_id = pending.message_id or pending.notice_ids[0]
    values = {"message_id": message_id, "tries": notice.c.tries + 1}
    connection.execute(sa.update(notice).where(of_message).values(values))
    columns = (notice.c.what, notice.c.alarm, notice.c.tries)
    rows = connection.execute(sa.select(*columns).where(of_message).order_by(notice.c.notice_id)).all()
    items = tuple(Item(row.what, msgspec.json.decode(row.alarm, type=Alarm)) for row in rows)
    return Message(message_id, pending.target, items[0].alarm.store_house_id, items, rows[0].tries)


def set_arrived(connection: sa.Connection, message: Message, now: datetime) -> None:
    """Mark the message as arrived."""
    _update(connection, message, {"sent": now})


def set_failed(connection: sa.Connection, message: Message, retry: datetime) -> None:
    """Set the time of the next attempt to send a message. The previous attempt has failed, or its result is unknown."""
    _update(connection, message, {"due": retry})


def _update(connection: sa.Connection, message: Message, values: dict[str, Any]) -> None:
    notice = tables.notice
    of_message = notice.c.message_id == message.message_id, notice.c.sent.is_(None)
    connection.execute(sa.update(notice).where(*of_message).values(values))


def delete_old(connection: sa.Connection, before: datetime) -> None:
    """Delete a batch of the notices that were sent before the time `before`.

    Keep the notices about open alarms. If they were deleted, the server would send them again.
    """
    notice, episode = tables.notice.c, tables.episode.c
    is_open = sa.exists().where(episode.episode_id == notice.episode_id, episode.is_open)
    old = sa.select(notice.notice_id).where(notice.sent < before, sa.not_(is_open)).order_by(notice.sent)
    ids = connection.scalars(old.limit(BATCH)).all()
    if ids:
        connection.execute(sa.delete(tables.notice).where(tables.notice.c.notice_id.in_(ids)))


def are_failing(connection: sa.Connection, store_house_id: Id, targets: Collection[str], tries: int) -> bool:
    """Return whether messages about this storehouse to one of `targets` keep failing.

    This is the case if a message has not arrived after at least `tries` attempts.
    """
    notice = tables.notice.c
    unsent = notice.store_house_key == key(store_house_id), notice.sent.is_(None), notice.target.in_(targets)
    failing = sa.select(notice.notice_id).where(*unsent, notice.tries >= tries).limit(1)
    return connection.scalar(failing) is not None
