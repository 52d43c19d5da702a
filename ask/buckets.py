"""Buckets of time: how wide they are for a span, and what SQL makes of the readings in each.

A bucket begins at a multiple of its width in seconds since 1970, whatever span is asked for: so a curve keeps its shape
while it is moved. That is UTC, to which the clocks' changes mean nothing; a bucket of a day is no day of a storehouse.
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
"""The widths that we keep rollups of, each a multiple of the one before. 20 sensors that report once a minute make
2,100,000 rollups of five minutes in a year and 175,000 of an hour; a year's view reads the latter in 0.2 s."""


class Frame(NamedTuple):
    """Whole buckets of one width, from `start_s` up to `end_s`, in seconds since 1970."""

    start_s: int
    end_s: int
    bucket_s: int


def frame(start: datetime, end: datetime, most: int) -> Frame:
    """Return the narrowest buckets of which `most` hold this span wherever it lies, and those that it touches."""
    span_s = (end - start).total_seconds()
    bucket_s = next((width for width in WIDTHS_S if span_s <= width * (most - 1)), WIDTHS_S[-1])
    start_s, end_s = int(start.timestamp() // bucket_s), int(-(-end.timestamp() // bucket_s))
    return Frame(start_s * bucket_s, end_s * bucket_s, bucket_s)


def rolled_up(bucket_s: int) -> int | None:
    """Return the widest rollups that buckets of this width are made of; None where they are narrower than all."""
    return max((width for width in ROLLED_UP_S if bucket_s % width == 0), default=None)


# SQL for MySQL, MariaDB and SQLite alike.


def seconds(time: sa.ColumnElement[Any], dialect: sa.Dialect) -> sa.ColumnElement[int]:
    """Return the seconds since 1970 that a naive time stands for, were it UTC, rounded down."""
    raw = sa.type_coerce(time, sa.types.NULLTYPE)
    if dialect.name == "sqlite":
        # Of the whole second: strftime rounds the milliseconds.
        return sa.cast(sa.func.strftime("%s", sa.func.substr(raw, 1, 19)), sa.Integer)
    # Not UNIX_TIMESTAMP: it ends in 2038.
    return sa.func.timestampdiff(sa.text("SECOND"), "1970-01-01", raw, type_=sa.BigInteger)


def begin(second: sa.ColumnElement[int], bucket_s: int) -> sa.ColumnElement[int]:
    """Return the second at which the bucket of this one begins."""
    return second - second % bucket_s


def finite(value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return the value of a column of ours, null for a fault: SQLite keeps infinite numbers."""
    return sa.case((value.between(-sys.float_info.max, sys.float_info.max), value))
