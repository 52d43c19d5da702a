"""Buckets of time: how wide they are for a span, and the SQL that puts readings into them.

A bucket starts at a multiple of its width in seconds since 1970, whatever span is asked for, so a curve keeps its shape
while it is moved. Buckets are in UTC and ignore changes of the clocks; a bucket of a day is no day of a storehouse.
"""

import sys
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

HOUR_S = 3600
DAY_S = 86_400
WIDTHS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(60 * minutes for minutes in (1, 2, 5, 10, 15, 30)),
    *(HOUR_S * hours for hours in (1, 2, 4, 6, 12)),
    *(DAY_S * days for days in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)),
)
"""The only widths, so that zooming goes in steps."""

ROLLED_UP_S = (300, HOUR_S)
"""The widths of the rollups that we keep, each a multiple of the one before. 20 sensors that report once a minute make
2,100,000 rollups of five minutes in a year and 175,000 of an hour; a year's view reads the latter in 0.2 s."""


class Frame(NamedTuple):
    """Whole buckets of one width, from `start_s` up to `end_s`, in seconds since 1970."""

    start_s: int
    end_s: int
    bucket_s: int


def frame(start: datetime, end: datetime, most: int) -> Frame:
    """Return the narrowest buckets such that at most `most` of them cover the span, and the buckets that it touches."""
    span_s = (end - start).total_seconds()
    bucket_s = next((width for width in WIDTHS_S if span_s <= width * (most - 1)), WIDTHS_S[-1])
    start_s, end_s = int(start.timestamp() // bucket_s), int(-(-end.timestamp() // bucket_s))
    return Frame(start_s * bucket_s, end_s * bucket_s, bucket_s)


def rolled_up(bucket_s: int) -> int | None:
    """Return the width of the widest rollups that make up buckets of this width; None where no rollup is as narrow."""
    return max((width for width in ROLLED_UP_S if bucket_s % width == 0), default=None)


# SQL for every kind of database; `db.dialects` has what differs.


def bucket_start(second: sa.ColumnElement[int], bucket_s: int) -> sa.ColumnElement[int]:
    """Return the second at which the bucket of this second starts."""
    return second - second % bucket_s


def finite(value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return the value of a column of ours, null for a fault: SQLite keeps infinite numbers."""
    return sa.case((value.between(-sys.float_info.max, sys.float_info.max), value))
