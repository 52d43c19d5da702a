"""Queries of the audit trail, which is in the `state` database.

Each entry contains a hash of its own content and of the previous entry's hash. This chain of hashes reveals that an
entry was changed, inserted or removed, unless entries were removed from the end of the chain. To reveal this too, the
table `audit_head` stores the hash of the last entry.
"""

import hashlib
import json
from typing import Any, NamedTuple

import sqlalchemy as sa

from db import tables

ESCAPED = "surrogateescape"
"""Name of Python's error handler that preserves invalid UTF-8 bytes when text is decoded and encoded."""


class ChainHead(NamedTuple):
    """The head of the audit trail's hash chain: the id and the hash of the last entry."""

    entry_id: int
    hash: str


BEGINNING = ChainHead(0, "0" * 64)
"""The head (id and hash) of a hash chain without entries. The first entry has this hash as its previous hash."""


class Sealed(NamedTuple):
    """An entry of the audit trail, with its hash, as stored in the table `audit`."""

    entry_id: int
    time: str
    action: str
    who: str
    address: str
    subject: str
    before: str | None
    """The subject's state before the action, as JSON. It is None if no such state is recorded."""
    after: str | None
    previous: str
    """The hash of the previous entry in the audit trail."""
    hash: str

    @property
    def head(self) -> ChainHead:
        """The head of the hash chain that ends with this entry: the id and the hash of this entry."""
        return ChainHead(self.entry_id, self.hash)

    def digest(self) -> str:
        """Compute the correct hash of this entry from its content and the previous entry's hash."""
        # JSON separates the columns. If they were only concatenated, text could be moved from one column to the next
        # without changing the hash.
        columns = json.dumps(self[:-1], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(columns.encode(errors=ESCAPED)).hexdigest()


def after(connection: sa.Connection, entry_id: int | None, most: int) -> list[Sealed]:
    """Return at most `most` entries whose id is above `entry_id`, ordered by id.

    If `entry_id` is None, start at the first entry.
    """
    audit = tables.audit.c
    texts = [_bytes(audit[name]) for name in Sealed._fields[1:]]
    statement = sa.select(audit.entry_id, *texts).order_by(audit.entry_id).limit(most)
    if entry_id is not None:
        statement = statement.where(audit.entry_id > entry_id)
    return [Sealed(entry_id, *map(_text, columns)) for entry_id, *columns in connection.execute(statement)]


def last(connection: sa.Connection, action: str) -> Sealed | None:
    """Return the last entry with this action, or None if there is no such entry."""
    audit = tables.audit.c
    entry_id = connection.scalar(sa.select(sa.func.max(audit.entry_id)).where(audit.action == action))
    return None if entry_id is None else after(connection, entry_id - 1, 1)[0]


def head(connection: sa.Connection) -> ChainHead | None:
    """Return the id and the hash that the table `audit_head` stores, or None if somebody removed its only row."""
    columns = tables.audit_head.c
    row = connection.execute(sa.select(sa.cast(columns.entry_id, sa.Integer), _bytes(columns.hash))).first()
    return None if row is None else ChainHead(row[0], _text(row[1]))


def _bytes(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    # A text that somebody tampered with may be invalid UTF-8, which the SQLite driver cannot decode.
    return sa.cast(column, sa.LargeBinary)


def _text(stored: bytes | None) -> Any:
    return None if stored is None else stored.decode(errors=ESCAPED)
