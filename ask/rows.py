"""Values as a database may hold them, made into what we tell."""

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
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def text(value: Any) -> str | None:
    """Return a name or a word; None for nothing."""
    return None if value is None else str(value)


def flag(value: Any) -> bool:
    """Return a yes or no, which a database may hold as a number or as a BIT."""
    return bool(number(value))


def bounded(connection: sa.Connection, statement: sa.Select[Any] | sa.CompoundSelect[Any], most: int) -> Sequence[Any]:
    """Return all rows of `statement`; raises `Unavailable` rather than leave out what comes after `most`."""
    rows = connection.execute(statement.limit(most + 1)).all()
    if len(rows) > most:
        raise Unavailable(f"there are more than {most} of them")
    return rows
