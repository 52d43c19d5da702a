"""Converts local times, in the order of a file, to instants; daylight saving repeats some and skips others."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

JITTER = timedelta(minutes=3)
"""How far a row may be off the usual step and still be taken as the next one."""


class Resolved(NamedTuple):
    """An instant; `pass_number` is 1 or 2 in the first or second pass of a repeated hour, else 0."""

    instant: datetime
    pass_number: int


class Change(NamedTuple):
    """The clocks of a zone were set forward by `shift`, and then showed `local`."""

    local: datetime
    shift: timedelta


def resolve(local: datetime, zone: ZoneInfo, last: datetime | None, step: timedelta) -> Resolved:
    """Return the instant at which the clocks of `zone` showed the naive `local`, in a series.

    `last` is the instant before it in the series; `step` the usual step, negative if the newest rows come first. Raises
    ValueError if there is no such instant, or if it cannot be decided which of two it is.
    """
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return Resolved(first, 0)
    if first > second:
        raise ValueError(f"{local} does not exist in {zone.key}: clocks went forward")
    instant = _choose([first, second], last, step)
    if instant is None:
        raise ValueError(f"{local} stands in the hour that {zone.key} repeats, a third time or out of order")
    return Resolved(instant, 1 if instant == first else 2)


def _choose(passes: list[datetime], last: datetime | None, step: timedelta) -> datetime | None:
    """Return the pass that is one step after `last`, else the first pass that is after it."""
    backwards = step < timedelta(0)
    ahead = sorted(passes, reverse=backwards)
    if last is None:
        return ahead[0]
    ahead = [time for time in ahead if (time < last if backwards else time > last)]
    # A series with long steps may miss the first pass altogether.
    on_step = (time for time in ahead if abs(time - last - step) <= JITTER)
    return next(on_step, ahead[0] if ahead else None)


def change_between(zone: ZoneInfo, start: datetime, end: datetime) -> Change | None:
    """Return the change of the clocks between two instants, if they differ in offset."""
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
