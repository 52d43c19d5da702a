"""The audit trail, read back: who did what, when, from where. It lies in `state`.

Each entry is sealed by a hash over all of it and over the hash of the entry before, so that none can be changed, taken
out or put in unseen. The last hash stands in a second place too: there it is missed if the end is cut off.
"""

import hashlib
import json
from typing import Any, NamedTuple

import sqlalchemy as sa

from db import tables

ESCAPED = "surrogateescape"
"""How bytes that are no UTF-8 are kept."""


class ChainHead(NamedTuple):
    """The last entry's id and hash."""

    entry_id: int
    hash: str


BEGINNING = ChainHead(0, "0" * 64)
"""What the first entry follows."""


class Sealed(NamedTuple):
    """An entry as it stands in its table."""

    entry_id: int
    time: str
    action: str
    who: str
    address: str
    subject: str
    before: str | None
    """JSON; None where there was nothing before."""
    after: str | None
    previous: str
    """The hash of the entry before."""
    hash: str

    @property
    def head(self) -> ChainHead:
        """What the next entry follows."""
        return ChainHead(self.entry_id, self.hash)

    def digest(self) -> str:
        """Return the hash that this entry must have."""
        # As JSON, so that nothing can slip from one column into the next.
        columns = json.dumps(self[:-1], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(columns.encode(errors=ESCAPED)).hexdigest()


def after(connection: sa.Connection, entry_id: int | None, most: int) -> list[Sealed]:
    """Return at most `most` entries after this one, in order; None: from the very first row on."""
    audit = tables.audit.c
    texts = [_bytes(audit[name]) for name in Sealed._fields[1:]]
    statement = sa.select(audit.entry_id, *texts).order_by(audit.entry_id).limit(most)
    if entry_id is not None:
        statement = statement.where(audit.entry_id > entry_id)
    return [Sealed(found, *map(_text, columns)) for found, *columns in connection.execute(statement)]


def last(connection: sa.Connection, action: str) -> Sealed | None:
    """Return the last entry of an action."""
    audit = tables.audit.c
    found = connection.scalar(sa.select(sa.func.max(audit.entry_id)).where(audit.action == action))
    return None if found is None else after(connection, found - 1, 1)[0]


def head(connection: sa.Connection) -> ChainHead | None:
    """Return what the second place knows of the last entry; None where it has been taken away."""
    found = tables.audit_head.c
    row = connection.execute(sa.select(sa.cast(found.entry_id, sa.Integer), _bytes(found.hash))).first()
    return None if row is None else ChainHead(row[0], _text(row[1]))


def _bytes(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    # A byte that has been changed may leave what is no text at all, which the driver of SQLite refuses to read.
    return sa.cast(column, sa.LargeBinary)


def _text(stored: bytes | None) -> Any:
    return None if stored is None else stored.decode(errors=ESCAPED)
