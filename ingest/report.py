"""Formats the statistics of an import for the operator."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ingest.clock_changes import Change
from ingest.import_stats import ImportStats


def report(stats: ImportStats, *, zone_was_named: bool) -> list[str]:
    """Return lines that say how many rows were imported or skipped, and how the local times were interpreted."""
    lines = [_count(stats), *_span(stats)]
    if stats.naive:
        why = "" if zone_was_named else ", the zone of the storehouse, because --time-zone was not given"
        lines += [f"Times without an offset were read as {stats.zone.key}{why}.", *_clock_changes(stats)]
    return [*lines, *_gaps(stats), *_stuck(stats), _left_out(stats)]


def _count(stats: ImportStats) -> str:
    there = stats.readings - stats.added
    return f"{_rows(stats.rows)}: {_readings(stats.added)} added, {there:,} already there."


def _span(stats: ImportStats) -> list[str]:
    if stats.first is None or stats.last is None:
        return []
    every = f", a row every {_length(abs(stats.step))}" if stats.step else ""
    return [f"From {_clock(stats.first, stats.zone)} to {_clock(stats.last, stats.zone)}{every}."]


def _clock_changes(stats: ImportStats) -> list[str]:
    lines = []
    if stats.changes:
        changes = "; ".join(_change(change) for _, change in sorted(stats.changes.items()))
        lines.append(f"Clocks went {changes}: the import took this into account.")
    if stats.repeated_readings:
        first, second = stats.repeated_rows
        lines.append(
            f"{_readings(stats.repeated_readings)} in repeated hours: "
            f"{_rows(first)} in the first pass, {_rows(second)} in the second."
        )
    return lines


def _change(change: Change) -> str:
    direction = "forward" if change.shift > timedelta(0) else "back"
    return f"{direction} by {_length(abs(change.shift))} to {change.local:%Y-%m-%d %H:%M}"


def _gaps(stats: ImportStats) -> list[str]:
    gap = stats.gap
    if gap.until is None:
        return ["The sampling has no gaps."] if stats.step else []
    longest = f"{_length(gap.longest)} without a row before {_clock(gap.until, stats.zone)}"
    return [f"The sampling has {gap.count:,} gap{_s(gap.count)}; the longest: {longest}."]


def _stuck(stats: ImportStats) -> list[str]:
    if stats.stuck_at is None:
        return []
    where = f"{stats.stuck:,} place{_s(stats.stuck)}, first at {_clock(stats.stuck_at, stats.zone)}"
    return [
        f"Time does not advance in {where}. A time that occurs twice was imported once; "
        "if the clocks changed there, give the file's correct --time-zone."
    ]


def _left_out(stats: ImportStats) -> str:
    if stats.is_complete:
        return "Nothing was left out."
    rows, cells = stats.bad_rows, stats.bad_cells
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
