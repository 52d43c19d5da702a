"""How far two alarm systems agree: whose alarms the other has raised too, and which of those ended alike."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

NEAR_S = 15 * 60.0
"""Alarms raised at most so far apart are the same; so are ends."""


class Span(NamedTuple):
    """An alarm of one sensor, by another system or by us; times are seconds, `cleared` None while it is open."""

    kind: str
    raised: float
    cleared: float | None


class Agreement(msgspec.Struct, frozen=True):
    """How far they agree about one sensor. `f1`: 1 where each alarm has its like, and where there are none."""

    f1: float
    theirs: int
    ours: int
    matched: int


class Score(msgspec.Struct, frozen=True):
    """How far they agree about all; `ends_within_15_min`: the part of the matched alarms that ended alike.

    What had not ended when their log did is not looked at.
    """

    f1: float
    ends_within_15_min: float
    sensors: dict[str, Agreement]


class Days(NamedTuple):
    """The time that is looked at: from its start up to, but without, its end."""

    start: float
    end: float

    def holds(self, time: float) -> bool:
        """Whether a time lies in it."""
        return self.start <= time < self.end


def score(theirs: Mapping[str, Sequence[Span]], ours: Mapping[str, Sequence[Span]], days: Days) -> Score:
    """Compare the alarms of the sensors in `ours` that were raised in these days."""
    sensors, ends = {}, []
    for name, mine in ours.items():
        other = theirs.get(name, [])
        pairs = match(other, mine)
        counted = [pair for pair in pairs if days.holds(pair[0].raised)]
        lone_theirs = _alone(other, [one for one, _ in pairs], days)
        lone_ours = _alone(mine, [one for _, one in pairs], days)
        sensors[name] = agreement(len(counted) + lone_theirs, len(counted) + lone_ours, len(counted))
        ends += [_end_alike(*pair) for pair in counted if pair[0].cleared is not None]
    whole = agreement(
        *(sum(getattr(one, field) for one in sensors.values()) for field in ("theirs", "ours", "matched"))
    )
    return Score(whole.f1, sum(ends) / len(ends) if ends else 1.0, sensors)


def agreement(theirs: int, ours: int, matched: int) -> Agreement:
    """Return the agreement that these counts make."""
    return Agreement(2 * matched / (theirs + ours) if theirs + ours else 1.0, theirs, ours, matched)


def match(theirs: Sequence[Span], ours: Sequence[Span]) -> list[tuple[Span, Span]]:
    """Pair alarms of the same kind that were raised near to each other, the nearest first, each once."""
    near = sorted(
        (abs(one.raised - other.raised), i, j)
        for i, one in enumerate(theirs)
        for j, other in enumerate(ours)
        if one.kind == other.kind and abs(one.raised - other.raised) <= NEAR_S
    )
    pairs: list[tuple[Span, Span]] = []
    left, right = set(range(len(theirs))), set(range(len(ours)))
    for _, i, j in near:
        if i in left and j in right:
            left.remove(i)
            right.remove(j)
            pairs.append((theirs[i], ours[j]))
    return pairs


def _alone(spans: Iterable[Span], paired: Sequence[Span], days: Days) -> int:
    return sum(days.holds(span.raised) for span in spans) - sum(days.holds(span.raised) for span in paired)


def _end_alike(one: Span, other: Span) -> bool:
    return one.cleared is not None and other.cleared is not None and abs(one.cleared - other.cleared) <= NEAR_S
