"""Converts database values to the values of answers, and fetches rows up to a limit."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from common.metric_registry import GREATEST
from common.texts import plain, truncated
from errors import Unavailable


def number(value: Any) -> float | None:
    """Return a reading's value as a number, or None for a fault.

    A value is a fault if it is null or not a number, or if no sensor can measure it (see `GREATEST`).
    """
    if isinstance(value, bytes):  # MySQL's BIT
        value = int.from_bytes(value, "big")
    if not isinstance(value, (int, float, Decimal, str)):
        return None
    try:
        parsed = float(value)
    except (ValueError, OverflowError):
        return None
    return parsed if abs(parsed) <= GREATEST else None


def text(value: Any) -> str | None:
    """Return a database value as a text for people, or None for null. Truncate a long text."""
    return None if value is None else truncated(plain(value))


def flag(value: Any) -> bool:
    """Convert a database value to a boolean. Databases may store booleans as numbers or as BIT."""
    return bool(number(value))


def fetch_at_most(
    connection: sa.Connection, statement: sa.Select[Any] | sa.CompoundSelect[Any], most: int | None
) -> Sequence[Any]:
    """Return all rows of `statement`. Raise `Unavailable` if there are more than `most` rows.

    `most` must be None if the result is not the answer to one question of a client: a server that cannot read a long
    list would stop working for everybody.
    """
    rows = connection.execute(statement if most is None else statement.limit(most + 1)).all()
    if most is not None and len(rows) > most:
        raise Unavailable(
            f"the query returned more than {most} rows, which is the limit", reason="too_many_rows", most=most
        )
    return rows
