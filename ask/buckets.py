"""Chooses the width of a chart's buckets (time spans of equal width), and assigns readings to buckets in SQL.

A bucket's start, in seconds since 1970, is a multiple of its width. A chart therefore keeps its shape when the user
scrolls along the time axis. Buckets are in UTC and ignore clock changes, so a one-day bucket is not a local day of a
storehouse.
"""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

HOUR_S = 3600
DAY_S = 86_400
WIDTHS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(60 * minutes for minutes in (1, 2, 5, 10, 15, 30)),
    *(HOUR_S * hours for hours in (1, 2, 4, 6, 12)),
    *(DAY_S * days for days in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)),
)
"""All possible widths of buckets (time spans) in charts, in seconds. A chart zooms in these steps."""

ROLLED_UP_S = (300, HOUR_S)
"""The bucket widths of the stored rollups (aggregated readings), in seconds. Each width is a multiple of the width
before it. In a year, 20 sensors that report once a minute produce 2,100,000 five-minute rollups and 175,000 one-hour
rollups. A query for a chart of a year reads the one-hour rollups in 0.2 s."""


class Frame(NamedTuple):
    """A series of buckets (time spans), each `bucket_s` seconds wide. No bucket is cut off.

    `start_s` is the start of the first bucket. `end_s` is the end of the last bucket. Both are in seconds since 1970.
    """

    start_s: int
    end_s: int
    bucket_s: int


def frame(start: datetime, end: datetime, most: int) -> Frame:
    """Return a series of at most `most` buckets that covers the time from `start` to `end`.

    The buckets are as narrow as possible.
    """
    span_s = (end - start).total_seconds()
    bucket_s = next((width for width in WIDTHS_S if span_s <= width * (most - 1)), WIDTHS_S[-1])
    start_s, end_s = int(start.timestamp() // bucket_s), int(-(-end.timestamp() // bucket_s))
    return Frame(start_s * bucket_s, end_s * bucket_s, bucket_s)


def rolled_up(bucket_s: int) -> int | None:
    """Return the largest width of stored rollups that divides `bucket_s`, or None if no width divides it."""
    return max((width for width in ROLLED_UP_S if bucket_s % width == 0), default=None)


# The SQL expressions below work in every kind of database. `db.dialects` contains the expressions that differ.


def bucket_start(second: sa.ColumnElement[int], bucket_s: int) -> sa.ColumnElement[int]:
    """Return the SQL expression for the start of the bucket (time span) that contains `second`."""
    return second - second % bucket_s
