"""A tally in plain words."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ingest.clock_changes import Change
from ingest.import_stats import Tally


def report(tally: Tally, *, zone_was_named: bool) -> list[str]:
    """Return the lines that say what went in, what did not, and how the times were read."""
    lines = [_count(tally), *_span(tally)]
    if tally.naive:
        why = "" if zone_was_named else ", the zone of the storehouse, since --time-zone named none"
        lines += [f"Times without an offset were read as {tally.zone.key}{why}.", *_clock_changes(tally)]
    return [*lines, *_gaps(tally), *_stuck(tally), _left_out(tally)]


def _count(tally: Tally) -> str:
    there = tally.readings - tally.added
    return f"{_rows(tally.rows)}: {_readings(tally.added)} added, {there:,} already there."


def _span(tally: Tally) -> list[str]:
    if tally.first is None or tally.last is None:
        return []
    every = f", a row every {_length(abs(tally.step))}" if tally.step else ""
    return [f"From {_clock(tally.first, tally.zone)} to {_clock(tally.last, tally.zone)}{every}."]


def _clock_changes(tally: Tally) -> list[str]:
    lines = []
    if tally.changes:
        changes = "; ".join(_change(change) for _, change in sorted(tally.changes.items()))
        lines.append(f"Clocks went {changes}: this was allowed for.")
    if tally.repeated_readings:
        first, second = tally.repeated_rows
        lines.append(
            f"{_readings(tally.repeated_readings)} fell into repeated hours: "
            f"{_rows(first)} in the first pass, {_rows(second)} in the second."
        )
    return lines


def _change(change: Change) -> str:
    direction = "forward" if change.by > timedelta(0) else "back"
    return f"{direction} by {_length(abs(change.by))} to {change.local:%Y-%m-%d %H:%M}"


def _gaps(tally: Tally) -> list[str]:
    gap = tally.gap
    if gap.until is None:
        return ["The sampling has no gaps."] if tally.step else []
    longest = f"{_length(gap.longest)} without a row before {_clock(gap.until, tally.zone)}"
    return [f"The sampling has {gap.count:,} gap{_s(gap.count)}; the longest: {longest}."]


def _stuck(tally: Tally) -> list[str]:
    if tally.stuck_at is None:
        return []
    where = f"{tally.stuck:,} place{_s(tally.stuck)}, first at {_clock(tally.stuck_at, tally.zone)}"
    return [
        f"Time does not move on in {where}. A time that stands twice went in once; "
        "if clocks were changed there, the file's --time-zone is another."
    ]


def _left_out(tally: Tally) -> str:
    if tally.is_complete:
        return "Nothing was left out."
    rows, cells = tally.bad_rows, tally.bad_cells
    return f"Left out: {rows:,} bad row{_s(rows)}, {cells:,} bad cell{_s(cells)}."


def _clock(instant: datetime, zone: ZoneInfo) -> str:
    return instant.astimezone(zone).isoformat(" ", "minutes")


def _length(length: timedelta) -> str:
    seconds = length.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{round(seconds / size, 1):g} {unit}"
    return f"{seconds:g} s"


def _rows(count: int) -> str:
    return f"{count:,} row{_s(count)}"


def _readings(count: int) -> str:
    return f"{count:,} reading{_s(count)}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
