"""Compares the alarms of Storewatch with the alarms of another system.

Two alarms of a sensor are paired if they have the same kind and were raised at about the same time. The end times of
each pair are then compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

NEAR_S = 15 * 60.0
"""Start times (or end times) of two alarms count as equal if they differ by at most this number of seconds."""


class AlarmSpan(NamedTuple):
    """An alarm of one sensor, raised by Storewatch or by another system.

    Times are seconds since 1970. `cleared` is None while the alarm is open.
    """

    kind: str
    raised: float
    cleared: float | None


class Agreement(msgspec.Struct, frozen=True):
    """How well the alarms of Storewatch and of another system agree, for one sensor.

    `theirs` is the number of alarms of the other system, `ours` the number of alarms of Storewatch, and `matched` the
    number of pairs of matching alarms. `f1` is the F1 score. It is 1 if every alarm has a match, and also if there are
    no alarms.
    """

    f1: float
    theirs: int
    ours: int
    matched: int


class Score(msgspec.Struct, frozen=True):
    """How well the alarms of Storewatch and of another system agree, for all sensors together and for each sensor.

    `f1` is the F1 score of all sensors together. `ends_within_15_min` is the share of the pairs of matching alarms in
    which the two end times differ by at most 15 minutes. A pair is not counted if the other system's log does not
    contain the end of its alarm.
    """

    f1: float
    ends_within_15_min: float
    sensors: dict[str, Agreement]


class Days(NamedTuple):
    """The time range of a comparison. The time `start` is in the range, the time `end` is not."""

    start: float
    end: float

    def contain(self, time: float) -> bool:
        """Return whether a time is in the range."""
        return self.start <= time < self.end


def score(theirs: Mapping[str, Sequence[AlarmSpan]], ours: Mapping[str, Sequence[AlarmSpan]], days: Days) -> Score:
    """Compare the alarms that Storewatch and another system raised in the time range `days`.

    `ours` contains the alarms of Storewatch for each sensor name, and `theirs` the alarms of the other system. Only the
    sensors in `ours` are compared.
    """
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
    """Return these numbers of alarms and of matching pairs as an `Agreement`, together with their F1 score."""
    return Agreement(2 * matched / (theirs + ours) if theirs + ours else 1.0, theirs, ours, matched)


def match(theirs: Sequence[AlarmSpan], ours: Sequence[AlarmSpan]) -> list[tuple[AlarmSpan, AlarmSpan]]:
    """Return the pairs of matching alarms of one sensor.

    Two alarms match if they have the same kind and their start times differ by at most `NEAR_S` seconds.

    The first alarm of each pair is from `theirs`, the second from `ours`. The alarms with the closest start times are
    paired first. Each alarm is in at most one pair.
    """
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
