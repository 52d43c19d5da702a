"""Reads the audit trail: who did what, when, from where. It is in the `state` database.

Each entry has a hash over all of it and over the hash of the entry before, so that an entry that is changed, removed or
inserted is detected. The last hash is also in `audit_head`, so that entries removed from the end are detected too.
"""

import hashlib
import json
from typing import Any, NamedTuple

import sqlalchemy as sa

from db import tables

ESCAPED = "surrogateescape"
"""The error handler that keeps bytes which are no UTF-8."""


class ChainHead(NamedTuple):
    """The last entry's id and hash."""

    entry_id: int
    hash: str


BEGINNING = ChainHead(0, "0" * 64)
"""The head of an empty chain."""


class Sealed(NamedTuple):
    """An entry as it is in its table."""

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
        """The head of the chain that ends with this entry."""
        return ChainHead(self.entry_id, self.hash)

    def digest(self) -> str:
        """Return the hash that this entry must have."""
        # As JSON, so that no text can move from one column into the next with the same hash.
        columns = json.dumps(self[:-1], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(columns.encode(errors=ESCAPED)).hexdigest()


def after(connection: sa.Connection, entry_id: int | None, most: int) -> list[Sealed]:
    """Return at most `most` entries after this one, in order; None: from the very first row on."""
    audit = tables.audit.c
    texts = [_bytes(audit[name]) for name in Sealed._fields[1:]]
    statement = sa.select(audit.entry_id, *texts).order_by(audit.entry_id).limit(most)
    if entry_id is not None:
        statement = statement.where(audit.entry_id > entry_id)
    return [Sealed(entry_id, *map(_text, columns)) for entry_id, *columns in connection.execute(statement)]


def last(connection: sa.Connection, action: str) -> Sealed | None:
    """Return the last entry of an action."""
    audit = tables.audit.c
    entry_id = connection.scalar(sa.select(sa.func.max(audit.entry_id)).where(audit.action == action))
    return None if entry_id is None else after(connection, entry_id - 1, 1)[0]


def head(connection: sa.Connection) -> ChainHead | None:
    """Return the last entry's id and hash as `audit_head` has them; None where that row has been removed."""
    columns = tables.audit_head.c
    row = connection.execute(sa.select(sa.cast(columns.entry_id, sa.Integer), _bytes(columns.hash))).first()
    return None if row is None else ChainHead(row[0], _text(row[1]))


def _bytes(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    # A changed byte may leave what is no text, which the driver of SQLite refuses to decode.
    return sa.cast(column, sa.LargeBinary)


def _text(stored: bytes | None) -> Any:
    return None if stored is None else stored.decode(errors=ESCAPED)
