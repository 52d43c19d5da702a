"""Writes the audit trail. An entry has a user, action, time and address, and the state before and after the action.

An entry is written in the same transaction as the change that it describes, so either both are committed or neither.
Each transaction locks the head of the hash chain (the id and hash of the last entry) until the transaction ends. The
entries of all processes are therefore numbered without gaps, in the order of the commits.

To prevent deadlocks, every transaction takes its locks in this order: a lease (if it needs one), the head of the hash
chain, and then everything else. Lock the head before the first plain SELECT (a SELECT without a lock). With snapshot
isolation, which is the default since MariaDB 11.6, a transaction cannot lock a row that has changed since the first
plain SELECT of this transaction.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa

import ask.audit
from ask.audit import ChainHead, Sealed
from db import tables

HEAD_ID = 1
"""The id of the only row in the table `audit_head`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An action to record in the audit trail.

    `who` is the user, `address` is the client's address, and `subject` is the thing that the action changed. `before`
    and `after` are the states of the subject before and after the action. They are stored as JSON.
    """

    action: str
    who: str
    address: str
    subject: str = ""
    before: object = None
    after: object = None


def lock(connection: sa.Connection) -> ChainHead:
    """Lock the audit trail until the transaction ends. Return the id and hash of the last entry."""
    head = tables.audit_head.c
    locked = sa.select(head.entry_id, head.hash).where(head.head_id == HEAD_ID).with_for_update()
    return ChainHead(*connection.execute(locked).one())


def append(connection: sa.Connection, entry: Entry, now: datetime) -> Sealed:
    """Write an entry of the audit trail. Return the stored entry.

    Truncate strings that are longer than their columns.
    """
    last = lock(connection)
    sealed = _seal(entry, now, last)
    connection.execute(sa.insert(tables.audit).values(sealed._asdict()))
    head = tables.audit_head
    new_head = sa.update(head).where(head.c.head_id == HEAD_ID)
    connection.execute(new_head.values(entry_id=sealed.entry_id, hash=sealed.hash))
    return sealed


def append_if_changed(connection: sa.Connection, entry: Entry, now: datetime) -> Sealed | None:
    """Write an entry about a new state, unless the last entry with the same action already has this state as `after`.

    The check is necessary because several processes may detect the same change. `before` of the new entry is set to
    `after` of the last entry, because the state may change while no process runs.
    """
    lock(connection)
    last_entry = ask.audit.last(connection, entry.action)
    last_after = None if last_entry is None else last_entry.after
    if last_after == _text(entry.after):
        return None
    before = None if last_after is None else msgspec.json.decode(last_after)
    return append(connection, replace(entry, before=before), now)


def _seal(entry: Entry, now: datetime, last: ChainHead) -> Sealed:
    unsealed = Sealed(
        entry_id=last.entry_id + 1,
        time=now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        action=_cut(entry.action, "action"),
        who=_cut(entry.who, "who"),
        address=_cut(entry.address, "address"),
        subject=_cut(entry.subject, "subject"),
        before=_text(entry.before),
        after=_text(entry.after),
        previous=last.hash,
        hash="",
    )
    return unsealed._replace(hash=unsealed.digest())


def _cut(text: str, column: str) -> str:
    width: Any = tables.audit.c[column].type
    # A user name from a failed login may contain surrogates, which no database accepts.
    return text.encode(errors="replace").decode()[: width.length]


def _text(data: object) -> str | None:
    return None if data is None else msgspec.json.encode(data).decode()
