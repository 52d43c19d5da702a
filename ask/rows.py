"""Converts values of a database to those of our answers, and fetches rows up to a limit."""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from errors import Unavailable


def number(value: Any) -> float | None:
    """Return a reading's value; None for a fault: nothing, not a number, infinite."""
    if isinstance(value, bytes):  # MySQL's BIT
        value = int.from_bytes(value, "big")
    if not isinstance(value, (int, float, Decimal, str)):
        return None
    try:
        parsed = float(value)
    except (ValueError, OverflowError):
        return None
    return parsed if math.isfinite(parsed) else None


def text(value: Any) -> str | None:
    """Return a name or a word; None for nothing."""
    return None if value is None else str(value)


def flag(value: Any) -> bool:
    """Return a yes or no, which a database may hold as a number or as a BIT."""
    return bool(number(value))


def fetch_at_most(
    connection: sa.Connection, statement: sa.Select[Any] | sa.CompoundSelect[Any], most: int
) -> Sequence[Any]:
    """Return all rows of `statement`; raises `Unavailable` if there are more than `most`."""
    rows = connection.execute(statement.limit(most + 1)).all()
    if len(rows) > most:
        raise Unavailable(f"there are more than {most} of them")
    return rows
