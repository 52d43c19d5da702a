"""Converts the local times in a file to instants, in the order of the file.

Daylight saving time repeats some local times and skips others.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

JITTER = timedelta(minutes=3)
"""Maximum deviation from the usual step between rows at which a row still counts as the next row."""


class Resolved(NamedTuple):
    """The instant of a local time.

    `pass_number` is 1 in the first pass of a repeated hour, 2 in the second pass, and otherwise 0.
    """

    instant: datetime
    pass_number: int


class Change(NamedTuple):
    """A change of a zone's clocks by `shift`, which is negative if they were set back. `local` is the time after it."""

    local: datetime
    shift: timedelta


def resolve(local: datetime, zone: ZoneInfo, last: datetime | None, step: timedelta) -> Resolved:
    """Return the instant at which the clocks of `zone` showed the naive time `local`, in a series of times.

    `last` is the previous instant of the series. `step` is the usual step; it is negative if the newest rows come
    first. Raise ValueError if there is no such instant, or if there are two and neither fits the series.
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
    """Return the pass that is one step after `last`. If there is no such pass, return the first pass after `last`."""
    backwards = step < timedelta(0)
    ahead = sorted(passes, reverse=backwards)
    if last is None:
        return ahead[0]
    ahead = [time for time in ahead if (time < last if backwards else time > last)]
    # A series with long steps may have no row in the first pass.
    on_step = (time for time in ahead if abs(time - last - step) <= JITTER)
    return next(on_step, ahead[0] if ahead else None)


def change_between(zone: ZoneInfo, start: datetime, end: datetime) -> Change | None:
    """Return the change of the clocks between two instants, or None if both have the same offset."""
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
