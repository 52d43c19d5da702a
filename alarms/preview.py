"""Preview: evaluates the proposed rules and the rules in force on past readings, and returns the alarms of each.

It would take many seconds to evaluate the readings of a month one by one. Preview therefore evaluates a whole hour of a
sensor in one step if the readings of this hour cannot change an alarm. This is the case if the lowest and highest
values of the hour are within the limits and the hour has no gap. The step only updates the time and value of the last
reading, as `judge` does for a single normal reading.
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
"""The evaluation starts this number of seconds before the time span of the preview.

At the start of the time span, the evaluation therefore knows which alarms are pending or open.
"""
SLOT_LENGTHS_S = tuple(slot_s for slot_s in range(1, HOUR_S + 1) if HOUR_S % slot_s == 0)
"""Possible lengths of a slot (time span), in seconds. The preview divides an hour into slots of equal length.

It checks whether every slot of the hour has a reading.
"""
HOURS_AT_ONCE = 6
"""While an alarm continues, one query reads the readings of this number of hours."""


class History(Protocol):
    """A source of past readings, such as `ask.replay_readings.ReplayReadings`. Times are seconds since 1970."""

    def hours(self, sensors: Sequence[Sensor], slot_s: int, start: int, end: float) -> Mapping[Key, Mapping[int, Hour]]:
        """Return, for each sensor, the hours in which every slot (time span of `slot_s` seconds) has a reading.

        The inner keys are the start times of the hours. The other hours are left out, and the preview evaluates their
        readings one by one.
        """

    def readings(self, sensor: Sensor, spans: Sequence[Span]) -> Iterable[Measured]:
        """Return all readings of a sensor in these time spans, in chronological order."""


class Trial(NamedTuple):
    """The input of a preview: the proposed rules, the rules in force, and a time span.

    The preview returns the alarms raised in this time span. If `defaults` is true, the default rules also apply.
    """

    proposed: Sequence[Rule]
    in_force: Sequence[Rule]
    defaults: bool
    start: float
    end: float


class Comparison(NamedTuple):
    """The alarms that the proposed rules raise and that the rules in force raise, for one sensor and kind of alarm.

    `rule_numbers` has one item for each alarm in `proposed`: the index of the proposed rule that sets the violated
    limit. The index is None if the limit is a default.
    """

    sensor: Sensor
    kind: str
    proposed: list[Episode]
    in_force: list[Episode]
    rule_numbers: list[int | None]


def preview(trial: Trial, sensors: Iterable[Sensor], history: History) -> Iterator[Comparison]:
    """Evaluate the proposed rules and the rules in force on past readings.

    Yield a comparison for each sensor and kind of alarm for which at least one of the two sets of rules has a limit.
    """
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
    """Return the longest slot length, in seconds, that is at most half the no-data limit; 0 if there is none.

    If every slot (time span) of this length has a reading, the time between two readings never exceeds the no-data
    limit.
    """
    no_data_after_s = min(each_terms.no_data_after_s for each_terms in both_terms)
    return max((slot_s for slot_s in SLOT_LENGTHS_S if 2 * slot_s <= no_data_after_s), default=0)


class _SensorReadings:
    """The past readings of one sensor, by hour.

    Readings of most hours are read only when they are needed. One query then reads up to six hours.
    """

    def __init__(
        self, history: History, sensor: Sensor, hours: Mapping[int, Hour], slot_s: int, span: range, end: float
    ) -> None:
        self.sensor = sensor
        self.slot_s = slot_s
        self.span = span
        """Start time of each hour of the preview, in seconds since 1970."""
        self.end = end
        self.hours = hours
        self._history = history
        self._readings: dict[int, list[Measured]] = {}

    def read_relevant_hours(self, both_terms: Iterable[Terms]) -> None:
        """Read the first hour, each hour whose readings may change an alarm, and the hour after each of these hours."""
        relevant = {
            second
            for second in self.span
            if not all(_is_within_limits(each_terms, self.hours.get(second)) for each_terms in both_terms)
        }
        relevant.add(self.span.start)
        self._read(second for second in self.span if second in relevant or second - HOUR_S in relevant)

    def of_hour(self, second: int) -> list[Measured]:
        """Return the readings of the hour that starts at the time `second`."""
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
    """Evaluate limits (`terms`) on a sensor's past readings.

    Return the alarm episodes in the order in which the evaluation found them.
    """
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
    """Search from index `start` on, and return the index of the first reading that may change an alarm.

    Return the number of readings if no reading may change an alarm.
    """
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
    """Return whether the sensor has no alarm, and its last reading is at most the no-data limit older than `until`."""
    evaluation = state.evaluation
    no_alarms = state.fingerprint == terms.fingerprint and not evaluation.kind_states and state.no_data is None
    return no_alarms and evaluation.time is not None and until - evaluation.time <= terms.no_data_after_s


def _moved_on(state: State, time: float, value: float | None) -> State:
    """Return the judge's state of a sensor after readings that change no alarm.

    `time` and `value` are the time and the value of the last of these readings.
    """
    evaluation, end = Evaluation(time, value), (time, sys.maxsize)
    return msgspec.structs.replace(state, base=evaluation, evaluation=evaluation, start=end, end=end, history=b"")


def _is_within_limits(terms: Terms, hour: Hour | None) -> bool:
    lowest, highest = terms.normal_range
    return hour is not None and lowest <= hour.low and hour.high <= highest


def _rule_numbers(rules: Sequence[Rule], sensor: Sensor, kind: str) -> dict[float, int]:
    """Return the index of the rule that sets each limit, for one kind of alarm at one sensor.

    The keys of the result are the limits.
    """
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
    """Return the limit that a rule sets, as a number. `bound` is the limit as it is written in the rule.

    A no-data limit may be written as a text with a unit such as 15m, or may be missing.
    """
    if kind in (HIGH, LOW):
        limit = bound.limit if isinstance(bound, Bound) else bound
        if isinstance(limit, (int, float)):
            return float(limit)
    return of_rule.of(kind)[0].limit
