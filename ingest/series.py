"""The rows of a table become moments: their times instants, in the order of the file."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ingest.clock_changes import Resolved, resolve
from ingest.import_stats import Tally
from ingest.table import Row


class Moment(NamedTuple):
    """What the sensors read at an instant; None where one has no reading."""

    time: datetime
    values: list[float | None]


def moments(rows: Iterable[Row], zone: ZoneInfo, step: timedelta | None, tally: Tally) -> Iterator[Moment]:
    """Give each row that can go in its instant; the tally learns of it, and of what cannot."""
    last = None
    for row in rows:
        tally.count_row(row)
        if row.time is None:
            continue
        try:
            instant, turn = _instant(row.time, zone, last, step or timedelta(0))
        except ValueError as error:
            tally.leave_out_row(row.line, str(error))
            continue
        tally.count_moment(instant, turn, naive=row.time.tzinfo is None, values=row.values)
        last = instant
        yield Moment(instant, row.values)


def _instant(time: datetime, zone: ZoneInfo, last: datetime | None, step: timedelta) -> Resolved:
    if time.tzinfo is not None:
        return Resolved(time.astimezone(UTC), 0)
    return resolve(time, zone, last, step)
