"""Deletes most live readings after a day, so that the rest have the five-minute steps of the history.

Live readings are thirty times as frequent.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from db import tables
from demo.past_readings import STEP_S

AFTER = timedelta(days=1)
PORTION = timedelta(hours=1)
"""Time span that is thinned in one transaction. In it, a storehouse has 4,000 rows, so the lock is short."""


def thin(connection: sa.Connection, sensor_ids: Sequence[int], since: datetime, phase_s: int) -> None:
    """Delete the readings of the sensors within `PORTION` after `since`.

    Keep the readings whose time is exactly `phase_s` seconds after a multiple of five minutes.
    """
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
