"""The alarm log of another system: a table with the columns time, sensor, event and, where it has them, limit."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from alarms.agreement import Span
from alarms.model import HIGH, LOW
from errors import UsageError
from ingest import cells
from ingest.clock_changes import resolve

RAISES = {"exceed": HIGH, "deficit": LOW}
ENDS = "recovery"
COLUMNS = {"time", "sensor", "event"}


class _Open:
    """An alarm that may still end."""

    def __init__(self, kind: str, raised: float, limit: float | None) -> None:
        self.kind = kind
        self.raised = raised
        self.limit = limit
        self.cleared: float | None = None


def alarms(lines: Iterable[str], zone: ZoneInfo) -> dict[str, list[Span]]:
    """Return the alarms by sensor; raises `UsageError` where this is no such log.

    An end goes to the sensor's open alarm of the same limit, or to its last one; an end without an alarm is nothing.
    """
    found: dict[str, list[_Open]] = {}
    for time, row in _timed(lines, zone):
        of_sensor = found.setdefault(row["sensor"], [])
        if row["event"] in RAISES:
            of_sensor.append(_Open(RAISES[row["event"]], time, _limit(row)))
        elif row["event"] == ENDS:
            _end(of_sensor, _limit(row), time)
    return {sensor: [Span(one.kind, one.raised, one.cleared) for one in all_] for sensor, all_ in found.items()}


def _end(of_sensor: list[_Open], limit: float | None, time: float) -> None:
    # An alarm whose end is missing must not take the end of one long after it.
    last = {one.kind: one for one in of_sensor}
    opened = [one for one in of_sensor if one.cleared is None and last[one.kind] is one]
    same = [one for one in opened if limit is not None and one.limit == limit]
    for one in (same or opened)[-1:]:
        one.cleared = time


def _timed(lines: Iterable[str], zone: ZoneInfo) -> Iterator[tuple[float, Mapping[str, str]]]:
    rows = csv.DictReader(lines)
    missing = COLUMNS - set(rows.fieldnames or [])
    if missing:
        raise UsageError(f"the log has no column {', '.join(sorted(missing))}")
    wall, instant = None, None
    for row in rows:
        try:
            time = cells.time(row["time"])
            # What stands there twice in a row is one time; in a repeated hour it would else be the hour after.
            if time != wall or instant is None:
                instant = _instant(time, zone, instant)
        except ValueError as error:
            raise UsageError(f"the log, line {rows.line_num}: {error}") from None
        wall = time
        yield instant.timestamp(), row


def _instant(time: datetime, zone: ZoneInfo, last: datetime | None) -> datetime:
    return time.astimezone(UTC) if time.tzinfo else resolve(time, zone, last, timedelta(0)).instant


def _limit(row: Mapping[str, str]) -> float | None:
    try:
        return cells.number(row.get("limit") or "")
    except ValueError:
        return None
