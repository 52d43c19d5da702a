"""Converts database values to the values of answers, and fetches rows up to a limit."""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from errors import Unavailable


def number(value: Any) -> float | None:
    """Return a reading's value as a number, or None for a fault (null, infinite or not a number)."""
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
    """Return a database value as a string, or None for null."""
    return None if value is None else str(value)


def flag(value: Any) -> bool:
    """Convert a database value to a boolean. Databases may store booleans as numbers or as BIT."""
    return bool(number(value))


def fetch_at_most(
    connection: sa.Connection, statement: sa.Select[Any] | sa.CompoundSelect[Any], most: int
) -> Sequence[Any]:
    """Return all rows of `statement`. Raise `Unavailable` if there are more than `most` rows."""
    rows = connection.execute(statement.limit(most + 1)).all()
    if len(rows) > most:
        raise Unavailable(
            f"the query returned more than {most} rows, which is the limit", reason="too_many_rows", most=most
        )
    return rows
