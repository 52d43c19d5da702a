"""Writes alarms of the site's own alarm system, for the demo's history."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from db import tables


def add(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Write alarms. Each row has all columns of `tables.alarm` except the id."""
    if rows:
        connection.execute(sa.insert(tables.alarm), list(rows))
