"""Derives past alarms from a series of readings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from demo.rooms import Limit

MIN_READINGS = 2
"""Minimum number of successive readings beyond a limit that raise an alarm."""


@dataclass(frozen=True)
class Episode:
    """A period in which the values were beyond a limit. Its times are in seconds since 1970."""

    value: float
    """The value in the period that is furthest beyond the limit."""
    raised: int
    cleared: int


def episodes(instants_s: Sequence[int], values: Sequence[float | None], limit: Limit) -> list[Episode]:
    """Return the periods in which the values were beyond the limit.

    Leave out a period that includes the first or the last of these readings, because its start or its end is unknown.
    Also leave out periods with fewer than `MIN_READINGS` readings.
    """
    complete = []
    for start, end in _runs(values, limit):
        if end - start >= MIN_READINGS and start > 0 and end < len(values):
            worst = _worst([value for value in values[start:end] if value is not None], limit)
            complete.append(Episode(worst, instants_s[start], instants_s[end]))
    return complete


def _runs(values: Sequence[float | None], limit: Limit) -> Iterator[tuple[int, int]]:
    """For each run of readings beyond the limit, yield its first index (inclusive) and its end index (exclusive)."""
    for passed, run in groupby(range(len(values)), lambda index: limit.is_passed(values[index])):
        if passed:
            indexes = list(run)
            yield indexes[0], indexes[-1] + 1


def _worst(values: Sequence[float], limit: Limit) -> float:
    return min(values) if limit.kind == "low" else max(values)
