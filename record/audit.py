"""The audit trail: who did what, when, from where, and what was so before and after.

An entry is written in the transaction of the change that it tells of: both stand, or neither. Entries are numbered
without a hole, in the order of commits, by whichever processes: each locks the trail's head until its transaction ends.

The order is: first the lock of a lease, where there is one, then the head's, then everything else; so no two
transactions wait for each other. And the head is locked before anything is read without a lock: a MariaDB that isolates
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
"""There is but one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What somebody did: `who` from which `address`, to which `subject`; `before` and `after` become JSON."""

    action: str
    who: str
    address: str
    subject: str = ""
    before: object = None
    after: object = None


def lock(connection: sa.Connection) -> ChainHead:
    """Keep everybody else from writing entries until the transaction ends; return the last one's id and hash."""
    head = tables.audit_head.c
    locked = sa.select(head.entry_id, head.hash).where(head.head_id == HEAD_ID).with_for_update()
    return ChainHead(*connection.execute(locked).one())


def append(connection: sa.Connection, entry: Entry, now: datetime) -> Sealed:
    """Write an entry down; what is too long for its column is cut."""
    last = lock(connection)
    sealed = _seal(entry, now, last)
    connection.execute(sa.insert(tables.audit).values(sealed._asdict()))
    head = tables.audit_head
    moved = sa.update(head).where(head.c.head_id == HEAD_ID)
    connection.execute(moved.values(entry_id=sealed.entry_id, hash=sealed.hash))
    return sealed


def append_news(connection: sa.Connection, entry: Entry, now: datetime) -> Sealed | None:
    """Write down how something is from now on; nothing where the last entry of this action says just that.

    What was before is what that entry says: several processes notice the same change, and some come when none runs.
    """
    lock(connection)
    known = ask.audit.last(connection, entry.action)
    was = None if known is None else known.after
    if was == _text(entry.after):
        return None
    before = None if was is None else msgspec.json.decode(was)
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
    # What is no text, in a name that somebody tried to sign in with, no database takes.
    return text.encode(errors="replace").decode()[: width.length]


def _text(data: object) -> str | None:
    return None if data is None else msgspec.json.encode(data).decode()
