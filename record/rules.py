"""Writes the alarm rules and their changes."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa

from ask.answers import Data
from db import tables


def save(connection: sa.Connection, before: Sequence[Data], after: Sequence[Data], by: str, now: datetime) -> None:
    """Replace all alarm rules with `after`. Also record who changed them, and all rules before and after the change."""
    connection.execute(sa.delete(tables.rule))
    if after:
        connection.execute(sa.insert(tables.rule), [{"rule": _text(rule)} for rule in after])
    connection.execute(
        sa.insert(tables.rule_change).values(written=now, by=by, before=_text(before), after=_text(after))
    )


def _text(data: object) -> str:
    return msgspec.json.encode(data).decode()
