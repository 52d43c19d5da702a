"""Writes alarms of a site's own system, for the history of the demo."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from db import tables


def add(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Write alarms; each row has the columns of `tables.alarm` except its id."""
    if rows:
        connection.execute(sa.insert(tables.alarm), list(rows))
