"""Local times, in the order of a file, become instants; daylight saving repeats some and leaves out others."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

JITTER = timedelta(minutes=3)
"""How far a sample may lie off its step and still be known by it."""


class Resolved(NamedTuple):
    """An instant; `turn` is 1 or 2 for the first or second pass of a repeated hour, elsewhere 0."""

    instant: datetime
    turn: int


class Change(NamedTuple):
    """The clocks of a zone were changed `by` this much forward, and then showed `local`."""

    local: datetime
    by: timedelta


def resolve(local: datetime, zone: ZoneInfo, last: datetime | None, step: timedelta) -> Resolved:
    """Return the instant at which the clocks of `zone` showed the naive `local`, in a series.

    `last` is the instant before it in the series; `step` the usual one, negative where time runs backwards. Raises
    ValueError where there is no such instant, or where it cannot be told which of two it is.
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
    """Return the pass that is just one step on, else the first that time has not run past."""
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
