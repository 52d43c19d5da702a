"""Preview: judges the past by proposed rules and by those in force, and returns the alarms that each would have raised.

Reading by reading a month would take many seconds. So an hour of a sensor that is sure to change nothing (its lowest
and highest values are within limits, and it has no gap) is judged at once. Like `judge` with a reading that is within
limits while all is normal, that only moves the last reading on.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from alarms.judge import State, initial_state, judge
from alarms.late_readings import KindAndStart
from alarms.model import HIGH, KINDS, LOW, Episode, Reading
from alarms.replay import apply_changes
from alarms.rules import SLOTS, Bound, Rule, Terms, terms
from alarms.state_machine import Evaluation
from ask.readings import Key
from ask.replay_readings import Hour, Measured, Span
from ask.sensors import Sensor

HOUR_S = 3600
WARM_UP_S = 86_400
"""Judging starts this long before the span, so that alarms pending or open at its start are there."""
SLOT_LENGTHS_S = tuple(slot_s for slot_s in range(1, HOUR_S + 1) if HOUR_S % slot_s == 0)
HOURS_AT_ONCE = 6
"""Hours that are read at once while an alarm continues."""


class History(Protocol):
    """Source of past readings, such as `ask.replay_readings.ReplayReadings`. Times are seconds since 1970."""

    def hours(self, sensors: Sequence[Sensor], slot_s: int, start: int, end: float) -> Mapping[Key, Mapping[int, Hour]]:
        """Return the hours that have a reading in each slot, by their first second; readings of others are read."""

    def readings(self, sensor: Sensor, spans: Sequence[Span]) -> Iterable[Measured]:
        """Return all readings in these spans, in the order of their times."""


class Trial(NamedTuple):
    """The rules to try, those in force, and the span: alarms raised from `start` to `end` are returned."""

    proposed: Sequence[Rule]
    in_force: Sequence[Rule]
    defaults: bool
    start: float
    end: float


class Comparison(NamedTuple):
    """The alarms of one kind at a sensor, by both sets of rules.

    `rule_numbers`: for each of `proposed` the number of the rule that gave its limit, from 0; None: a default.
    """

    sensor: Sensor
    kind: str
    proposed: list[Episode]
    in_force: list[Episode]
    rule_numbers: list[int | None]


def preview(trial: Trial, sensors: Iterable[Sensor], history: History) -> Iterator[Comparison]:
    """Judge the past by both sets of rules; yield each kind of alarm for which either has limits, sensor by sensor."""
    groups: dict[int, list[tuple[Sensor, tuple[Terms, Terms]]]] = {}
    for sensor in sensors:
        both_terms = (
            terms(trial.proposed, sensor, defaults=trial.defaults),
            terms(trial.in_force, sensor, defaults=trial.defaults),
        )
        if any(each_terms.of(kind) for each_terms in both_terms for kind in KINDS):
            groups.setdefault(slot_length_s(both_terms), []).append((sensor, both_terms))
    start_s = int(trial.start - WARM_UP_S) // HOUR_S * HOUR_S
    for slot_s, group in groups.items():
        hours = history.hours([sensor for sensor, _ in group], slot_s, start_s, trial.end) if slot_s else {}
        for sensor, both_terms in group:
            span = range(start_s, math.ceil(trial.end / HOUR_S) * HOUR_S, HOUR_S)
            sensor_readings = _SensorReadings(history, sensor, hours.get(sensor.key, {}), slot_s, span, trial.end)
            yield from _compare(trial, both_terms, sensor_readings)


def _compare(trial: Trial, both_terms: tuple[Terms, Terms], sensor_readings: "_SensorReadings") -> Iterator[Comparison]:
    sensor_readings.read_relevant_hours(both_terms)
    proposed, in_force = (
        [
            episode
            for episode in judge_readings(each_terms, sensor_readings)
            if episode.raised is not None and trial.start <= episode.raised < trial.end
        ]
        for each_terms in both_terms
    )
    for kind in KINDS:
        if not any(each_terms.of(kind) for each_terms in both_terms):
            continue
        proposed_of_kind, in_force_of_kind = (
            [episode for episode in episodes if episode.kind == kind] for episodes in (proposed, in_force)
        )
        by_limit = _rule_numbers(trial.proposed, sensor_readings.sensor, kind)
        rule_numbers = [by_limit.get(episode.limit) for episode in proposed_of_kind]
        yield Comparison(sensor_readings.sensor, kind, proposed_of_kind, in_force_of_kind, rule_numbers)


def slot_length_s(both_terms: Iterable[Terms]) -> int:
    """Return the greatest slot of which two without a reading are no missing data; 0 where there is none."""
    no_data_after_s = min(each_terms.no_data_after_s for each_terms in both_terms)
    return max((slot_s for slot_s in SLOT_LENGTHS_S if 2 * slot_s <= no_data_after_s), default=0)


class _SensorReadings:
    """The readings of a sensor by hour; they are read when they are needed."""

    def __init__(
        self, history: History, sensor: Sensor, hours: Mapping[int, Hour], slot_s: int, span: range, end: float
    ) -> None:
        self.sensor = sensor
        self.slot_s = slot_s
        self.span = span
        """The first second of each hour."""
        self.end = end
        self.hours = hours
        self._history = history
        self._readings: dict[int, list[Measured]] = {}

    def read_relevant_hours(self, both_terms: Iterable[Terms]) -> None:
        """Read the first hour, those that may change something, and the hour after each, all at once."""
        relevant = {
            second
            for second in self.span
            if not all(_is_within_limits(each_terms, self.hours.get(second)) for each_terms in both_terms)
        }
        relevant.add(self.span.start)
        self._read(second for second in self.span if second in relevant or second - HOUR_S in relevant)

    def of_hour(self, second: int) -> list[Measured]:
        """Return the readings of the hour that starts at this second."""
        if second not in self._readings:
            self._read(range(second, min(second + HOURS_AT_ONCE * HOUR_S, self.span.stop), HOUR_S))
        return self._readings[second]

    def _read(self, seconds: Iterable[int]) -> None:
        new = [second for second in seconds if second not in self._readings]
        self._readings |= {second: [] for second in new}
        for reading in self._history.readings(self.sensor, _merged(new, self.end)):
            self._readings[int(reading[0]) // HOUR_S * HOUR_S].append(reading)


def _merged(hours: Iterable[int], end: float) -> list[Span]:
    spans: list[Span] = []
    for second in hours:
        start = spans.pop()[0] if spans and spans[-1][1] == second else second
        spans.append((start, min(second + HOUR_S, end)))
    return spans


def judge_readings(terms: Terms, sensor_readings: _SensorReadings) -> list[Episode]:
    """Return the episodes of a sensor in the order of their first changes."""
    state = initial_state(sensor_readings.sensor)
    episodes: dict[KindAndStart, Episode] = {}

    def apply(event: Reading | float) -> None:
        nonlocal state
        state, changes = judge(terms, state, event)
        apply_changes(episodes, changes)

    for second in sensor_readings.span:
        hour = sensor_readings.hours.get(second)
        if (
            hour is not None
            and _is_within_limits(terms, hour)
            and _is_normal(terms, state, second + sensor_readings.slot_s)
        ):
            state = _moved_on(state, hour.last, hour.high)
            continue
        readings = sensor_readings.of_hour(second)
        index = 0
        while index < len(readings):
            next_index = _next_to_judge(terms, state, readings, index)
            if next_index > index:
                state = _moved_on(state, *readings[next_index - 1][:2])
            if next_index < len(readings):
                apply(Reading(*readings[next_index]))
            index = next_index + 1
    apply(sensor_readings.end)
    return list(episodes.values())


def _next_to_judge(terms: Terms, state: State, readings: Sequence[Measured], start: int) -> int:
    """Return the index of the first reading from `start` on that may change something."""
    last = state.evaluation.time
    if last is None or not _is_normal(terms, state, last):
        return start
    lowest, highest = terms.normal_range
    no_data_after_s = terms.no_data_after_s
    for index in range(start, len(readings)):
        time, value, _ = readings[index]
        if value is None or not lowest <= value <= highest or time - last > no_data_after_s:
            return index
        last = time
    return len(readings)


def _is_normal(terms: Terms, state: State, until: float) -> bool:
    """Return whether all is normal, and a next reading by `until` leaves no gap."""
    evaluation = state.evaluation
    no_alarms = state.fingerprint == terms.fingerprint and not evaluation.kind_states and state.no_data is None
    return no_alarms and evaluation.time is not None and until - evaluation.time <= terms.no_data_after_s


def _moved_on(state: State, time: float, value: float | None) -> State:
    """Return the state after readings that change nothing, of which this is the last."""
    evaluation, end = Evaluation(time, value), (time, sys.maxsize)
    return msgspec.structs.replace(state, base=evaluation, evaluation=evaluation, start=end, end=end, history=b"")


def _is_within_limits(terms: Terms, hour: Hour | None) -> bool:
    lowest, highest = terms.normal_range
    return hour is not None and lowest <= hour.low and hour.high <= highest


def _rule_numbers(rules: Sequence[Rule], sensor: Sensor, kind: str) -> dict[float, int]:
    """Return for each limit of a kind the number of the rule that gives it, from 0."""
    by_slot: dict[str, tuple[float, int]] = {}
    ranked = [(rule.scope.rank, number, rule) for number, rule in enumerate(rules) if rule.scope.includes(sensor)]
    for _, number, rule in sorted(ranked, key=lambda rank_and_rule: rank_and_rule[0]):
        of_rule = terms([rule], sensor, defaults=False)
        for slot, bound in rule.bounds(sensor.metric).items():
            if SLOTS[slot] != kind:
                continue
            if bound is None or not of_rule.of(kind):
                by_slot.pop(slot, None)
            else:
                by_slot[slot] = (_limit(of_rule, kind, bound), number)
    return dict(by_slot.values())


def _limit(of_rule: Terms, kind: str, bound: object) -> float:
    """Return the limit as it is in force: that of no data may be written in minutes, or left out."""
    if kind in (HIGH, LOW):
        limit = bound.limit if isinstance(bound, Bound) else bound
        if isinstance(limit, (int, float)):
            return float(limit)
    return of_rule.of(kind)[0].limit
