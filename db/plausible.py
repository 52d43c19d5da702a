"""The SQL expression that leaves out numbers that no sensor can measure."""

from typing import Any

import sqlalchemy as sa

from common.metric_registry import GREATEST


def plausible(value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return an SQL expression with the value of `value`, or null if no sensor can measure this value.

    Infinite values, which SQLite can store, become null too. `ask.rows.number` does the same in Python.
    """
    return sa.case((value.between(-GREATEST, GREATEST), value))
