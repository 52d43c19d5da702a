"""Thins live readings after a day to the five-minute steps of the history: they come thirty times as often."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from db import tables
from demo.past_readings import STEP_S

AFTER = timedelta(days=1)
PORTION = timedelta(hours=1)
"""Time thinned in one transaction: 4,000 rows of a storehouse, so the lock is short."""


def thin(connection: sa.Connection, sensor_ids: Sequence[int], since: datetime, phase_s: int) -> None:
    """Delete the sensors' readings within `PORTION` after `since`, except those `phase_s` into each five minutes."""
    time = tables.reading.c.time
    minute, second = sa.extract("minute", time), sa.extract("second", time)
    connection.execute(
        sa.delete(tables.reading).where(
            tables.reading.c.sensor_id.in_(sensor_ids),
            time >= since,
            time < since + PORTION,
            sa.or_(minute % (STEP_S // 60) != 0, second != phase_s),
        )
    )
