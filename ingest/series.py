"""Converts the rows of a table to moments, in the order of the file.

A moment contains the readings of all sensors at one instant. Local times in the file are converted to instants.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ingest.clock_changes import Resolved, resolve
from ingest.import_stats import ImportStats
from ingest.table import Row


class Moment(NamedTuple):
    """The readings of all sensors at one instant. The value is None for a sensor without a reading."""

    time: datetime
    values: list[float | None]


def moments(rows: Iterable[Row], zone: ZoneInfo, step: timedelta | None, stats: ImportStats) -> Iterator[Moment]:
    """Yield a `Moment`, which contains the time and the values, for each row that can be imported.

    `stats` counts all rows.
    """
    last = None
    for row in rows:
        stats.count_row(row)
        if row.time is None:
            continue
        try:
            instant, pass_number = _instant(row.time, zone, last, step or timedelta(0))
        except ValueError as error:
            stats.skip_row(row.line, str(error))
            continue
        stats.count_moment(instant, pass_number, naive=row.time.tzinfo is None, values=row.values)
        last = instant
        yield Moment(instant, row.values)


def _instant(time: datetime, zone: ZoneInfo, last: datetime | None, step: timedelta) -> Resolved:
    if time.tzinfo is not None:
        return Resolved(time.astimezone(UTC), 0)
    return resolve(time, zone, last, step)
