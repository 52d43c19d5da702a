"""Converts the local times in a file to instants, in the order of the file.

Daylight saving time repeats some local times and skips others.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

JITTER = timedelta(minutes=3)
"""Tolerance for the time between two rows. A row counts as the next row if the time since the previous row differs from
the usual step by at most this tolerance."""


class Resolved(NamedTuple):
    """The instant of a local time.

    At the end of daylight saving time, the local times of one hour occur twice. `pass_number` is 1 in the first pass of
    this hour, 2 in the second pass, and 0 at all other times.
    """

    instant: datetime
    pass_number: int


class Change(NamedTuple):
    """A change of a time zone's clocks. `local` is the local time just after the change.

    `shift` is positive if the clocks were set forward, and negative if they were set back.
    """

    local: datetime
    shift: timedelta


def resolve(local: datetime, zone: ZoneInfo, last: datetime | None, step: timedelta) -> Resolved:
    """Return the instant at which the clocks of `zone` showed the naive time `local`.

    `local` is the time of a row, and `last` is the instant of the previous row. `step` is the usual time between two
    rows. It is negative if the newest rows come first. Raise ValueError if there is no such instant, or if there are
    two such instants and neither of them fits after the previous row.
    """
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return Resolved(first, 0)
    if first > second:
        raise ValueError(f"{local} does not exist in {zone.key}: clocks went forward")
    instant = _choose([first, second], last, step)
    if instant is None:
        raise ValueError(f"{local} is in the hour that {zone.key} repeats, and occurs a third time or out of order")
    return Resolved(instant, 1 if instant == first else 2)


def _choose(passes: list[datetime], last: datetime | None, step: timedelta) -> datetime | None:
    """Return which of the two instants of a repeated local time is meant.

    `passes` contains the two instants. Return the instant that is one `step` after `last`, with a small tolerance. If
    neither is one step after `last`, return the first instant after `last`. Return None if there is no such instant. If
    `step` is negative, "after" means "before" here.
    """
    backwards = step < timedelta(0)
    ahead = sorted(passes, reverse=backwards)
    if last is None:
        return ahead[0]
    ahead = [time for time in ahead if (time < last if backwards else time > last)]
    # A series with long steps may have no row in the first pass.
    on_step = (time for time in ahead if abs(time - last - step) <= JITTER)
    return next(on_step, ahead[0] if ahead else None)


def change_between(zone: ZoneInfo, start: datetime, end: datetime) -> Change | None:
    """Return the clock change between two instants, or None if both instants have the same UTC offset."""
    low, high = sorted((int(start.timestamp()), int(end.timestamp())))
    before, after = _offset(zone, _at(low)), _offset(zone, _at(high))
    if before == after:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(zone, _at(middle)) == before else (low, middle)
    return Change(_at(high).astimezone(zone), after - before)


def _at(timestamp: int) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)
