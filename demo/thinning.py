"""Live readings come thirty times as often as those of the past; after a day only the five-minute steps are kept."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from db import tables
from demo.past import STEP_S

AFTER = timedelta(days=1)
PORTION = timedelta(hours=1)
"""So much is thinned at once: a storehouse's hour is 4,000 rows, and nobody waits long for the lock."""


def thin(connection: sa.Connection, sensor_ids: Sequence[int], since: datetime, phase_s: int) -> None:
    """Delete what the sensors reported within `PORTION` of `since`, but for the steps `phase_s` into five minutes."""
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
