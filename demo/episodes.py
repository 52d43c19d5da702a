"""The alarms that fit a course of readings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from demo.rooms import Limit

LEAST = 2
"""One reading beyond a limit is no alarm yet."""


@dataclass(frozen=True)
class Episode:
    """A limit was passed, and later no longer; times in seconds since 1970."""

    value: float
    """The worst."""
    raised: int
    cleared: int


def episodes(instants_s: Sequence[int], values: Sequence[float | None], limit: Limit) -> list[Episode]:
    """Return those that began and ended within these readings."""
    whole = []
    for start, end in _runs(values, limit):
        if end - start >= LEAST and start > 0 and end < len(values):
            worst = _worst([value for value in values[start:end] if value is not None], limit)
            whole.append(Episode(worst, instants_s[start], instants_s[end]))
    return whole


def _runs(values: Sequence[float | None], limit: Limit) -> Iterator[tuple[int, int]]:
    """Where the limit is passed: from which index to which."""
    for passed, run in groupby(range(len(values)), lambda index: limit.is_passed(values[index])):
        if passed:
            indexes = list(run)
            yield indexes[0], indexes[-1] + 1


def _worst(values: Sequence[float], limit: Limit) -> float:
    return min(values) if limit.kind == "low" else max(values)
