"""Writes the audit log: who did what, when, from where, and the state before and after.

An entry is written in the transaction of the change that it describes: both are committed, or neither. Entries are
numbered without a gap, in the order of commits of all processes: each locks the head of the chain until its transaction
ends.

Order of locks: first the lease's, where there is one, then the head's, then everything else, so that no two
transactions wait for each other. The head is locked before anything is read without a lock: a MariaDB that isolates
snapshots (from 11.6 on each does) locks nothing that has changed since the first such reading.
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
"""The id of the only row."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An action: `who` did it from which `address`, on which `subject`; `before` and `after` become JSON."""

    action: str
    who: str
    address: str
    subject: str = ""
    before: object = None
    after: object = None


def lock(connection: sa.Connection) -> ChainHead:
    """Keep all others from writing entries until the transaction ends; return the id and hash of the last entry."""
    head = tables.audit_head.c
    locked = sa.select(head.entry_id, head.hash).where(head.head_id == HEAD_ID).with_for_update()
    return ChainHead(*connection.execute(locked).one())


def append(connection: sa.Connection, entry: Entry, now: datetime) -> Sealed:
    """Write an entry; texts longer than their column are cut."""
    last = lock(connection)
    sealed = _seal(entry, now, last)
    connection.execute(sa.insert(tables.audit).values(sealed._asdict()))
    head = tables.audit_head
    new_head = sa.update(head).where(head.c.head_id == HEAD_ID)
    connection.execute(new_head.values(entry_id=sealed.entry_id, hash=sealed.hash))
    return sealed


def append_if_changed(connection: sa.Connection, entry: Entry, now: datetime) -> Sealed | None:
    """Write an entry about a new state, unless the last entry with the same action has the same `after`.

    Its `before` is the `after` of that last entry: several processes notice the same change, and some changes happen
    while none runs.
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
    # A name tried at sign-in may hold surrogates, which no database accepts.
    return text.encode(errors="replace").decode()[: width.length]


def _text(data: object) -> str | None:
    return None if data is None else msgspec.json.encode(data).decode()
