"""Reads the alarm log of another system: a CSV file with the columns time, sensor, event and, optionally, limit."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from alarms.agreement import AlarmSpan
from alarms.model import HIGH, LOW
from errors import UsageError
from ingest import cells
from ingest.clock_changes import resolve

RAISES = {"exceed": HIGH, "deficit": LOW}
ENDS = "recovery"
COLUMNS = {"time", "sensor", "event"}


class _Alarm:
    """An alarm in the log of another system. `cleared` is None until the end of the alarm is found in the log."""

    def __init__(self, kind: str, raised: float, limit: float | None) -> None:
        self.kind = kind
        self.raised = raised
        self.limit = limit
        self.cleared: float | None = None


def alarms(lines: Iterable[str], zone: ZoneInfo) -> dict[str, list[AlarmSpan]]:
    """Return the alarms in the log of another system, by sensor. Raise `UsageError` if the log is invalid.

    A line that reports the end of an alarm closes the sensor's newest open alarm with the limit in the line. If the
    line has no limit, or no open alarm has this limit, the line closes the sensor's newest open alarm. If no alarm of
    the sensor is open, the line is ignored. If a second alarm of the same kind is raised before the first is closed,
    the first stays open.
    """
    by_sensor: dict[str, list[_Alarm]] = {}
    for time, row in _timed(lines, zone):
        of_sensor = by_sensor.setdefault(row["sensor"], [])
        if row["event"] in RAISES:
            of_sensor.append(_Alarm(RAISES[row["event"]], time, _limit(row)))
        elif row["event"] == ENDS:
            _end(of_sensor, _limit(row), time)
    return {
        sensor: [AlarmSpan(alarm.kind, alarm.raised, alarm.cleared) for alarm in of_sensor]
        for sensor, of_sensor in by_sensor.items()
    }


def _end(of_sensor: list[_Alarm], limit: float | None, time: float) -> None:
    # Only the last alarm of each kind can end. Otherwise an alarm without an end could get the end of a later alarm.
    last = {alarm.kind: alarm for alarm in of_sensor}
    open_alarms = [alarm for alarm in of_sensor if alarm.cleared is None and last[alarm.kind] is alarm]
    same_limit = [alarm for alarm in open_alarms if limit is not None and alarm.limit == limit]
    for alarm in (same_limit or open_alarms)[-1:]:
        alarm.cleared = time


def _timed(lines: Iterable[str], zone: ZoneInfo) -> Iterator[tuple[float, Mapping[str, str]]]:
    rows = csv.DictReader(lines)
    missing = COLUMNS - set(rows.fieldnames or [])
    if missing:
        raise UsageError(f"the log has no column {', '.join(sorted(missing))}; add it")
    wall, instant = None, None
    for row in rows:
        try:
            time = cells.parse_time(row["time"])
            # Equal consecutive times are the same instant. At the end of daylight saving time, `_instant` would convert
            # the second of them to an instant one hour later.
            if time != wall or instant is None:
                instant = _instant(time, zone, instant)
        except ValueError as error:
            raise UsageError(f"line {rows.line_num}: {error}") from None
        wall = time
        yield instant.timestamp(), row


def _instant(time: datetime, zone: ZoneInfo, last: datetime | None) -> datetime:
    return time.astimezone(UTC) if time.tzinfo else resolve(time, zone, last, timedelta(0)).instant


def _limit(row: Mapping[str, str]) -> float | None:
    try:
        return cells.parse_number(row.get("limit") or "")
    except ValueError:
        return None
