"""Would it have rung? Rules tried on what has been: the alarms that they would have raised.

Reading by reading a month would take many seconds. So where an hour of a sensor surely says nothing, for its lowest and
its highest value are within limits and there is no gap in it, it is judged at once: as `judge` does with a reading
that is within limits while nothing is out of order, it only moves the last reading on.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from alarms.judge import State, begin, judge
from alarms.late_readings import Identity
from alarms.model import HIGH, KINDS, LOW, Episode, Reading
from alarms.replay import note
from alarms.rules import SLOTS, Bound, Rule, Terms, terms
from alarms.state_machine import Evaluation
from ask.readings import Key
from ask.replay_readings import Hour, Measured, Span
from ask.sensors import Sensor

HOUR_S = 3600
LEAD_S = 86_400
"""So long before the span judging begins, so that what was pending or open at its start is known."""
SLOTS_S = tuple(slot_s for slot_s in range(1, HOUR_S + 1) if HOUR_S % slot_s == 0)
MORE = 6
"""Hours that are read at once where an alarm goes on."""


class History(Protocol):
    """Where readings are to be had, as from `ask.past.Past`. Times are seconds since 1970."""

    def hours(self, sensors: Sequence[Sensor], slot_s: int, start: int, end: float) -> Mapping[Key, Mapping[int, Hour]]:
        """Return the hours of which each slot has a reading, by when they begin; the others are read."""

    def readings(self, sensor: Sensor, spans: Sequence[Span]) -> Iterable[Measured]:
        """Return all readings in these spans, in the order of their times."""


class Trial(NamedTuple):
    """The rules to try, those in force, and the span: alarms that were raised in it are told of."""

    proposed: Sequence[Rule]
    in_force: Sequence[Rule]
    defaults: bool
    start: float
    end: float


class Compared(NamedTuple):
    """The alarms of a kind at a sensor. `givers`: of each that was proposed the number of its rule, None: a default."""

    sensor: Sensor
    kind: str
    proposed: list[Episode]
    in_force: list[Episode]
    givers: list[int | None]


def preview(trial: Trial, sensors: Iterable[Sensor], history: History) -> Iterator[Compared]:
    """Judge what has been by both sets of rules; give each kind of alarm that either has, sensor by sensor."""
    by_slot: dict[int, list[tuple[Sensor, tuple[Terms, Terms]]]] = {}
    for sensor in sensors:
        both = tuple(terms(rules, sensor, defaults=trial.defaults) for rules in (trial.proposed, trial.in_force))
        if any(one.of(kind) for one in both for kind in KINDS):
            by_slot.setdefault(slot(both), []).append((sensor, (both[0], both[1])))
    start_s = int(trial.start - LEAD_S) // HOUR_S * HOUR_S
    for slot_s, group in by_slot.items():
        hours = history.hours([sensor for sensor, _ in group], slot_s, start_s, trial.end) if slot_s else {}
        for sensor, both in group:
            log = _Log(history, sensor, hours.get(sensor.key, {}), slot_s, start_s, trial.end)
            yield from _compared(trial, sensor, both, log)


def _compared(trial: Trial, sensor: Sensor, both: tuple[Terms, Terms], log: "_Log") -> Iterator[Compared]:
    log.read_loud(both)
    proposed, in_force = (
        [one for one in judged(each, log) if one.raised is not None and trial.start <= one.raised < trial.end]
        for each in both
    )
    for kind in KINDS:
        if not any(one.of(kind) for one in both):
            continue
        ours, theirs = ([one for one in found if one.kind == kind] for found in (proposed, in_force))
        givers = _givers(trial.proposed, sensor, kind)
        yield Compared(sensor, kind, ours, theirs, [givers.get(one.limit) for one in ours])


def slot(both: Iterable[Terms]) -> int:
    """Return how many seconds a slot may have so that two of them are no silence; 0 where there is none such."""
    no_data_after_s = min(one.no_data_after_s for one in both)
    return max((slot_s for slot_s in SLOTS_S if 2 * slot_s <= no_data_after_s), default=0)


class _Log:
    """The readings of a sensor, by the hour, read when they are needed."""

    def __init__(
        self, history: History, sensor: Sensor, hours: Mapping[int, Hour], slot_s: int, start_s: int, end: float
    ) -> None:
        self.sensor = sensor
        self.slot_s = slot_s
        self.end = end
        self.span = range(start_s, math.ceil(end / HOUR_S) * HOUR_S, HOUR_S)
        self.hours = hours
        self._history = history
        self._known: dict[int, list[Measured]] = {}

    def read_loud(self, both: Iterable[Terms]) -> None:
        """Read the first hour and those that may say something, and of each the next, all at once."""
        loud = {second for second in self.span if not all(_is_quiet(one, self.hours.get(second)) for one in both)}
        loud.add(self.span.start)
        self._read(second for second in self.span if second in loud or second - HOUR_S in loud)

    def of(self, second: int) -> list[Measured]:
        """Return the readings of an hour."""
        if second not in self._known:
            self._read(range(second, min(second + MORE * HOUR_S, self.span.stop), HOUR_S))
        return self._known[second]

    def _read(self, wanted: Iterable[int]) -> None:
        new = [second for second in wanted if second not in self._known]
        self._known |= {second: [] for second in new}
        for reading in self._history.readings(self.sensor, _merged(new, self.end)):
            self._known[int(reading[0]) // HOUR_S * HOUR_S].append(reading)


def _merged(hours: Iterable[int], end: float) -> list[Span]:
    spans: list[Span] = []
    for second in hours:
        start = spans.pop()[0] if spans and spans[-1][1] == second else second
        spans.append((start, min(second + HOUR_S, end)))
    return spans


def judged(terms: Terms, log: _Log) -> list[Episode]:
    """Return the episodes of a sensor in the order in which they began to be told."""
    state = begin(log.sensor)
    found: dict[Identity, Episode] = {}

    def take(event: Reading | float) -> None:
        nonlocal state
        state, changes = judge(terms, state, event)
        note(found, changes)

    for second in log.span:
        hour = log.hours.get(second)
        if hour is not None and _is_quiet(terms, hour) and _is_heard(terms, state, second + log.slot_s):
            state = _moved(state, hour.last, hour.high)
            continue
        readings = log.of(second)
        place = 0
        while place < len(readings):
            quiet = _quiet(terms, state, readings, place)
            if quiet > place:
                state = _moved(state, *readings[quiet - 1][:2])
            if quiet < len(readings):
                take(Reading(*readings[quiet]))
            place = quiet + 1
    take(log.end)
    return list(found.values())


def _quiet(terms: Terms, state: State, readings: Sequence[Measured], place: int) -> int:
    """Return the place of the first reading from this one on that must be judged."""
    last = state.evaluation.time
    if last is None or not _is_heard(terms, state, last):
        return place
    lowest, highest = terms.calm
    no_data_after_s = terms.no_data_after_s
    for number in range(place, len(readings)):
        time, value, _ = readings[number]
        if value is None or not lowest <= value <= highest or time - last > no_data_after_s:
            return number
        last = time
    return len(readings)


def _is_heard(terms: Terms, state: State, by: float) -> bool:
    """Whether a reading within limits, by this time, says nothing: nothing is out of order, and it is no silence."""
    evaluation = state.evaluation
    rests = state.mark == terms.mark and not evaluation.kind_states and state.silence is None
    return rests and evaluation.time is not None and by - evaluation.time <= terms.no_data_after_s


def _moved(state: State, time: float, value: float | None) -> State:
    """Return the state after readings that say nothing; the last of them was this one."""
    evaluation, end = Evaluation(time, value), (time, sys.maxsize)
    return msgspec.structs.replace(state, base=evaluation, evaluation=evaluation, start=end, end=end, history=b"")


def _is_quiet(terms: Terms, hour: Hour | None) -> bool:
    lowest, highest = terms.calm
    return hour is not None and lowest <= hour.low and hour.high <= highest


def _givers(rules: Sequence[Rule], sensor: Sensor, kind: str) -> dict[float, int]:
    """By the limits of a kind, the number of the rule that each of them is from, from 0."""
    said: dict[str, tuple[float, int]] = {}
    here = [(rule.scope.rank, number, rule) for number, rule in enumerate(rules) if rule.scope.includes(sensor)]
    for _, number, rule in sorted(here, key=lambda each: each[0]):
        own = terms([rule], sensor, defaults=False)
        for bound_slot, bound in rule.bounds(sensor.metric).items():
            if SLOTS[bound_slot] != kind:
                continue
            if bound is None or not own.of(kind):
                said.pop(bound_slot, None)
            else:
                said[bound_slot] = (_limit(own, kind, bound), number)
    return dict(said.values())


def _limit(own: Terms, kind: str, bound: object) -> float:
    """The limit as it is in force: of no data it may be told in minutes, or not at all."""
    if kind in (HIGH, LOW):
        limit = bound.limit if isinstance(bound, Bound) else bound
        if isinstance(limit, (int, float)):
            return float(limit)
    return own.of(kind)[0].limit
