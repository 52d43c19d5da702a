"""Compares the alarms of two systems: which were raised by both, and which of those ended at about the same time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

NEAR_S = 15 * 60.0
"""Alarms raised at most this far apart match; so do their ends."""


class AlarmSpan(NamedTuple):
    """An alarm of one sensor, by another system or by us; times are seconds, `cleared` None while it is open."""

    kind: str
    raised: float
    cleared: float | None


class Agreement(msgspec.Struct, frozen=True):
    """The agreement about one sensor. `f1`: 1 if each alarm matches another, and if there are none."""

    f1: float
    theirs: int
    ours: int
    matched: int


class Score(msgspec.Struct, frozen=True):
    """The agreement about all sensors; `ends_within_15_min`: the share of the matched alarms whose ends match.

    Alarms that had not ended when the other system's log did are left out of that share.
    """

    f1: float
    ends_within_15_min: float
    sensors: dict[str, Agreement]


class Days(NamedTuple):
    """The compared time: from its start up to, but without, its end."""

    start: float
    end: float

    def contain(self, time: float) -> bool:
        """Return whether a time lies in it."""
        return self.start <= time < self.end


def score(theirs: Mapping[str, Sequence[AlarmSpan]], ours: Mapping[str, Sequence[AlarmSpan]], days: Days) -> Score:
    """Compare the alarms of the sensors in `ours` that were raised in these days."""
    sensors, end_matches = {}, []
    for name, our_spans in ours.items():
        their_spans = theirs.get(name, [])
        pairs = match(their_spans, our_spans)
        counted = [pair for pair in pairs if days.contain(pair[0].raised)]
        unmatched_theirs = _unmatched(their_spans, [span for span, _ in pairs], days)
        unmatched_ours = _unmatched(our_spans, [span for _, span in pairs], days)
        sensors[name] = agreement(len(counted) + unmatched_theirs, len(counted) + unmatched_ours, len(counted))
        end_matches += [_ends_match(*pair) for pair in counted if pair[0].cleared is not None]
    total = agreement(
        sum(sensor.theirs for sensor in sensors.values()),
        sum(sensor.ours for sensor in sensors.values()),
        sum(sensor.matched for sensor in sensors.values()),
    )
    return Score(total.f1, sum(end_matches) / len(end_matches) if end_matches else 1.0, sensors)


def agreement(theirs: int, ours: int, matched: int) -> Agreement:
    """Return the agreement with these counts."""
    return Agreement(2 * matched / (theirs + ours) if theirs + ours else 1.0, theirs, ours, matched)


def match(theirs: Sequence[AlarmSpan], ours: Sequence[AlarmSpan]) -> list[tuple[AlarmSpan, AlarmSpan]]:
    """Pair alarms of the same kind that were raised near to each other, the nearest first, each once."""
    near = sorted(
        (abs(their_span.raised - our_span.raised), i, j)
        for i, their_span in enumerate(theirs)
        for j, our_span in enumerate(ours)
        if their_span.kind == our_span.kind and abs(their_span.raised - our_span.raised) <= NEAR_S
    )
    pairs: list[tuple[AlarmSpan, AlarmSpan]] = []
    unpaired_theirs, unpaired_ours = set(range(len(theirs))), set(range(len(ours)))
    for _, i, j in near:
        if i in unpaired_theirs and j in unpaired_ours:
            unpaired_theirs.remove(i)
            unpaired_ours.remove(j)
            pairs.append((theirs[i], ours[j]))
    return pairs


def _unmatched(spans: Iterable[AlarmSpan], paired: Sequence[AlarmSpan], days: Days) -> int:
    return sum(days.contain(span.raised) for span in spans) - sum(days.contain(span.raised) for span in paired)


def _ends_match(theirs: AlarmSpan, ours: AlarmSpan) -> bool:
    return theirs.cleared is not None and ours.cleared is not None and abs(theirs.cleared - ours.cleared) <= NEAR_S
