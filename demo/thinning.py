"""Deletes most of the demo's live readings after a day. One reading every five minutes remains, as in the history.

Live readings are written thirty times as often as readings of the history.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from db import tables
from demo.past_readings import STEP_S

AFTER = timedelta(days=1)
PORTION = timedelta(hours=1)
"""Time span that is thinned in one transaction.

In this time span, a storehouse has only 4,000 rows, so locks are held briefly.
"""


def thin(connection: sa.Connection, sensor_ids: Sequence[int], since: datetime, phase_s: int) -> None:
    """Delete most readings of the sensors from `since` until `since + PORTION`.

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
