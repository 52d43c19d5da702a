"""Alarms, as the demo's history needs them."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from db import tables


def add(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Write the alarms down; each row has the columns of `tables.alarm` but its id."""
    if rows:
        connection.execute(sa.insert(tables.alarm), list(rows))
