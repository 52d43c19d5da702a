"""The judge evaluates readings and the passing of time, and changes alarms. These tests count time in minutes."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest

from alarms.judge import HISTORY_READINGS, MAX_LATE_S, State, adopt, close, initial_state, judge
from alarms.model import Change, Episode, Limit, Reading
from alarms.replay import replay
from alarms.rules import Terms
from ask.sensors import Sensor
from common.severity import Severity

MINUTE = 60.0
SENSOR = Sensor(1, 7, "T", "temperature", "°C", MINUTE, (1, None))
Event = tuple[float, float | None] | float
"""An input of the judge. Times are in minutes.

A pair is a reading: its minute and its value, which is None for a faulty reading. A single number is the current
minute, without a reading.
"""


def limit(at: float, severity: Severity = "warning", **minutes: Any) -> Limit:
    hysteresis = minutes.pop("hysteresis", 0.0)
    spans = {name: span * MINUTE for name, span in minutes.items()}
    return Limit(at, severity, hysteresis=hysteresis, **({"reopen": 0.0} | spans))


def high(at: float = 5.0, **minutes: Any) -> Terms:
    return Terms(high=(limit(at, **minutes),))


def no_data(minutes: float, **more: Any) -> tuple[Limit, ...]:
    return (limit(minutes * MINUTE, **more),)


def each_minute(*values: float | None, start: int = 0) -> list[Event]:
    return [(float(minute), value) for minute, value in enumerate(values, start)]


class Judged:
    """The state of a sensor in the judge (the evaluation of alarm rules), and the changes of its alarms so far."""

    def __init__(self, terms: Terms, events: Iterable[Event] = (), state: State | None = None) -> None:
        self.terms = terms
        self.state = state or initial_state(SENSOR)
        self.changes: list[Change] = []
        self.apply(events)

    def apply(self, events: Iterable[Event]) -> "Judged":
        """Evaluate these events and record the changes that they cause."""
        for event in events:
            timed = Reading(event[0] * MINUTE, event[1]) if isinstance(event, tuple) else event * MINUTE
            self.state, changes = judge(self.terms, self.state, timed)
            self.changes += changes
        return self

    def close(self, kind: str, minute: float) -> "Judged":
        """Close the alarm of this kind by hand."""
        self.state, changes = close(self.terms, self.state, kind, minute * MINUTE)
        self.changes += changes
        return self

    def said(self, kind: str | None = None) -> list[tuple[str, float]]:
        """Return the name and the minute of each recorded transition. Leave out changes named `refreshed`."""
        return [
            (what, time / MINUTE)
            for what, time, episode in self.changes
            if what != "refreshed" and kind in (None, episode.kind)
        ]

    def forget(self) -> "Judged":
        """Discard the changes that were recorded so far."""
        self.changes = []
        return self

    @property
    def last(self) -> Episode:
        """The episode (alarm) in the last recorded change."""
        return self.changes[-1].episode


# Limits


def test_without_a_delay_an_alarm_is_raised_at_once() -> None:
    assert Judged(high(), each_minute(4, 6)).said() == [("raised", 1)]


def test_a_reading_at_the_limit_raises_no_alarm() -> None:
    assert Judged(Terms(high=(limit(5),), low=(limit(0),)), each_minute(5, 0, 5)).said() == []


def test_high_and_low_are_separate_alarms() -> None:
    judged = Judged(Terms(high=(limit(5),), low=(limit(0),)), each_minute(6, -1))
    assert judged.said("high") == [("raised", 0), ("cleared", 1)]
    assert judged.said("low") == [("raised", 1)]


def test_the_first_reading_within_limits_clears_the_alarm() -> None:
    assert Judged(high(), each_minute(6, 7, 5, 4)).said() == [("raised", 0), ("cleared", 2)]


def test_an_episode_has_its_sensor_start_and_limits() -> None:
    told = Judged(high(delay=1), each_minute(6, 7)).last
    assert (told.store_house_id, told.key, told.kind, told.since) == (7, (1, None), "high", 0)
    assert (told.limits, told.limit, told.severity, told.state) == ((limit(5, delay=1),), 5, "warning", "active")


# Delay


def test_with_a_delay_an_alarm_is_pending_first() -> None:
    judged = Judged(high(delay=2), each_minute(6, 6, 6))
    assert judged.said() == [("pending", 0), ("raised", 2)]
    assert (judged.last.since, judged.last.raised) == (0, 2 * MINUTE)


def test_a_reading_within_limits_dismisses_a_pending_alarm() -> None:
    assert Judged(high(delay=2), each_minute(6, 6, 5, 6)).said() == [("pending", 0), ("dismissed", 2), ("pending", 3)]


def test_the_fourth_quarter_hourly_reading_ends_a_45_minute_delay() -> None:
    judged = Judged(high(delay=45), [(0, 6), (15, 6), (30, 6), (45, 6)])
    assert judged.said() == [("pending", 0), ("raised", 45)]


def test_timing_errors_below_a_millisecond_do_not_prolong_a_delay() -> None:
    start = 1_700_000_000.1 / MINUTE
    judged = Judged(high(delay=45), [(start, 6), (start + 45 - 1e-5, 6)])
    assert [what for what, _ in judged.said()] == ["pending", "raised"]


def test_a_violation_restarts_the_clear_delay() -> None:
    judged = Judged(high(clear_delay=2), each_minute(6, 4, 4, 6, 4, 4, 4))
    assert judged.said() == [("raised", 0), ("cleared", 6)]


# Hysteresis


def test_with_hysteresis_an_alarm_clears_further_inside_the_limit() -> None:
    assert Judged(high(hysteresis=0.5), each_minute(6, 4.9, 4.6, 4.5)).said() == [("raised", 0), ("cleared", 3)]
    low = Terms(low=(limit(2, hysteresis=0.5),))
    assert Judged(low, each_minute(1, 2.4, 2.5)).said() == [("raised", 0), ("cleared", 2)]


def test_hysteresis_tolerates_floating_point_errors() -> None:
    assert Judged(high(0.3, hysteresis=0.1), each_minute(1, 0.2)).said() == [("raised", 0), ("cleared", 1)]


def test_hysteresis_does_not_apply_to_a_pending_alarm() -> None:
    assert Judged(high(delay=2, hysteresis=1), each_minute(6, 4.5, 4.5)).said() == [("pending", 0), ("dismissed", 1)]


# Two levels

TWO = Terms(high=(limit(5, delay=2), limit(8, "critical", delay=1)))


def test_a_worse_limit_worsens_the_episode() -> None:
    judged = Judged(TWO, each_minute(6, 6, 6, 9, 9))
    assert judged.said() == [("pending", 0), ("raised", 2), ("worsened", 4)]
    assert (judged.last.severity, judged.last.limit, judged.last.since) == ("critical", 8, 0)


def test_a_worse_limit_may_raise_before_the_milder_one() -> None:
    judged = Judged(TWO, each_minute(9, 9))
    assert judged.said() == [("pending", 0), ("raised", 1)]
    assert judged.last.severity == "critical"


def test_an_episode_keeps_its_worst_severity_until_it_is_cleared() -> None:
    judged = Judged(TWO, each_minute(9, 9, 6, 5))
    assert judged.said()[-1] == ("cleared", 3)
    assert {change.episode.severity for change in judged.changes[1:]} == {"critical"}


def test_an_alarm_clears_inside_every_limit_it_has_exceeded() -> None:
    terms = Terms(high=(limit(5), limit(8, "critical", hysteresis=4)))
    assert Judged(terms, each_minute(9, 4.5, 4)).said() == [("raised", 0), ("cleared", 2)]
    assert Judged(terms, each_minute(6, 4.5)).said() == [("raised", 0), ("cleared", 1)]


# Refreshed


def test_new_values_refresh_an_open_episode() -> None:
    judged = Judged(high(), each_minute(6, 9, 7))
    assert [(change.what, change.episode.value, change.episode.peak) for change in judged.changes] == [
        ("raised", 6, 6),
        ("refreshed", 9, 9),
        ("refreshed", 7, 9),
    ]


def test_the_peak_of_a_low_alarm_is_the_lowest_value() -> None:
    assert Judged(Terms(low=(limit(2),)), each_minute(1, -3, 0)).last.peak == -3


def test_a_repeated_value_causes_no_refresh() -> None:
    assert len(Judged(high(), each_minute(6, 6, 6)).changes) == 1


# Reopening


def test_a_violation_that_returns_soon_reopens_its_episode() -> None:
    judged = Judged(high(reopen=3), each_minute(6, 9, 5, 5, 7, 4))
    assert judged.said() == [("raised", 0), ("cleared", 2), ("reopened", 4), ("cleared", 5)]
    assert (judged.last.since, judged.last.raised, judged.last.peak) == (0, 0, 9)


def test_a_violation_that_returns_later_is_a_new_episode() -> None:
    judged = Judged(high(reopen=3), each_minute(6, 5, 5, 5, 5, 6))
    assert judged.said() == [("raised", 0), ("cleared", 1), ("raised", 5)]
    assert judged.last.since == 5 * MINUTE


def test_a_reopened_episode_keeps_its_severity() -> None:
    terms = Terms(high=(limit(5, reopen=9), limit(8, "critical", reopen=9)))
    judged = Judged(terms, each_minute(9, 4, 6))
    assert judged.said()[-1] == ("reopened", 2)
    assert judged.last.severity == "critical"


def test_the_state_drops_an_episode_that_can_no_longer_reopen() -> None:
    assert Judged(high(reopen=3), each_minute(6, 5, 5, 5, 5, 5)).state.evaluation.kind_states == {}


def test_the_delay_also_applies_to_reopening() -> None:
    judged = Judged(high(delay=2, reopen=4), each_minute(6, 6, 6, 5, 6, 5, 6, 6, 6))
    assert judged.said() == [("pending", 0), ("raised", 2), ("cleared", 3), ("reopened", 8)]


# Outages


def test_passing_time_alone_neither_raises_nor_clears() -> None:
    judged = Judged(high(delay=2, clear_delay=2), [(0, 6), 10, 600])
    assert judged.said() == [("pending", 0)]
    judged = Judged(high(clear_delay=2), [(0, 6), (1, 4), 10, 600])
    assert judged.said() == [("raised", 0)]


def test_a_fault_neither_raises_nor_clears() -> None:
    judged = Judged(high(delay=1), each_minute(6, None, None, 6))
    assert judged.said() == [("pending", 0), ("raised", 3)]
    assert Judged(high(), each_minute(6, None, 6)).said() == [("raised", 0)]


def test_a_gap_does_not_count_towards_a_delay() -> None:
    terms = msgspec.structs.replace(high(delay=3), no_data=no_data(5))
    judged = Judged(terms, [(0, 6), (1, 6), (31, 6), (32, 6), (33, 6)])
    assert judged.said("high") == [("pending", 0), ("raised", 33)]
    assert judged.last.since == 0


def test_a_gap_does_not_count_towards_the_clear_delay() -> None:
    terms = msgspec.structs.replace(high(clear_delay=3), no_data=no_data(5))
    judged = Judged(terms, [(0, 6), (1, 4), (31, 4), (32, 4), (33, 4), (34, 4)])
    assert judged.said("high") == [("raised", 0), ("cleared", 34)]


def test_a_gap_shorter_than_no_data_counts_towards_a_delay() -> None:
    terms = msgspec.structs.replace(high(delay=3), no_data=no_data(5))
    assert Judged(terms, [(0, 6), (4, 6)]).said("high") == [("pending", 0), ("raised", 4)]


NO_DATA = Terms(no_data=no_data(3))


def test_the_next_good_reading_clears_no_data() -> None:
    judged = Judged(NO_DATA, [(0, 1), 2, 3, 9, (10, None), 10, (11, 1)])
    assert judged.said() == [("raised", 3), ("cleared", 11)]
    assert (judged.last.kind, judged.last.since, judged.last.raised) == ("no_data", 0, 3 * MINUTE)


def test_faults_count_as_no_data() -> None:
    assert Judged(NO_DATA, [*each_minute(1, None, None, None), 3]).said() == [("raised", 3)]


def test_a_sensor_that_never_reported_raises_nothing() -> None:
    assert Judged(NO_DATA, [3, 600]).said() == []


def test_a_gap_noticed_afterwards_still_raises_no_data() -> None:
    assert Judged(NO_DATA, [(0, 1), (9, 1)]).said() == [("raised", 3), ("cleared", 9)]


def test_a_late_reading_clears_no_data_without_withdrawing_it() -> None:
    judged = Judged(NO_DATA, [(0, 1), 3.5, (1, 1)])
    assert judged.said() == [("raised", 3), ("cleared", 3)]
    assert judged.last.cleared == 3 * MINUTE


def test_a_late_reading_before_a_gap_does_not_clear() -> None:
    assert Judged(NO_DATA, [(0, 1), 9, (1, 1)]).said() == [("raised", 3)]


def test_repeated_short_gaps_are_one_episode() -> None:
    judged = Judged(Terms(no_data=no_data(3, reopen=10)), [(0, 1), 3, (4, 1), (5, 1), 8, (9, 1)])
    assert judged.said() == [("raised", 3), ("cleared", 4), ("reopened", 8), ("cleared", 9)]


def test_no_data_that_returns_later_is_a_new_episode() -> None:
    heard: list[Event] = [(float(minute), 1) for minute in range(4, 20)]
    judged = Judged(Terms(no_data=no_data(3, reopen=10)), [(0, 1), 3, *heard, 22])
    assert judged.said() == [("raised", 3), ("cleared", 4), ("raised", 22)]
    rare = Judged(Terms(no_data=no_data(20, reopen=10)), [(0, 1), 20, (21, 1), 41])
    assert rare.said() == [("raised", 20), ("cleared", 21), ("raised", 41)]


# Sensors that report changes only

SWITCH = Terms(switch=(limit(1, delay=5, clear_delay=1),), holds=True)


def test_a_held_value_raises_when_its_delay_ends() -> None:
    assert Judged(SWITCH, [(0, 1), 4, 9]).said() == [("pending", 0), ("raised", 5)]


def test_an_alarm_noticed_late_has_the_time_its_delay_ended() -> None:
    assert Judged(SWITCH, [(0, 1), (60, 0), 90]).said() == [("pending", 0), ("raised", 5), ("cleared", 61)]


def test_a_door_closed_within_the_delay_raises_no_alarm() -> None:
    assert Judged(SWITCH, [(0, 1), (4, 0), 90]).said() == [("pending", 0), ("dismissed", 4)]


def test_a_held_value_is_unknown_after_a_fault() -> None:
    assert Judged(SWITCH, [(0, 1), (1, None), 90]).said() == [("pending", 0)]
    assert Judged(SWITCH, [(0, 1), (1, None), (60, 1), 90]).said() == [("pending", 0), ("raised", 64)]


def test_a_held_value_is_unknown_after_the_no_data_delay() -> None:
    terms = msgspec.structs.replace(SWITCH, no_data=no_data(3))
    assert Judged(terms, [(0, 1), 90]).said("switch") == [("pending", 0)]


def test_power_raises_an_alarm_when_it_is_off() -> None:
    assert Judged(Terms(switch=(limit(0),)), each_minute(1, 0, 1)).said() == [("raised", 1), ("cleared", 2)]


def test_a_held_value_reaches_two_levels_one_after_another() -> None:
    terms = Terms(high=(limit(5, delay=2), limit(8, "critical", delay=4)), holds=True)
    assert Judged(terms, [(0, 9), 60]).said() == [("pending", 0), ("raised", 2), ("worsened", 4)]


# Rate

RATE = Terms(rate=(limit(3, within=5),))


def test_a_change_above_the_limit_within_the_span_raises() -> None:
    judged = Judged(RATE, each_minute(20, 20, 22, 24, 24))
    assert judged.said() == [("raised", 3)]
    assert (judged.last.value, judged.last.peak) == (4, 4)


def test_a_fall_counts_like_a_rise() -> None:
    assert Judged(RATE, each_minute(20, 16)).last.peak == -4


def test_a_slow_change_raises_no_alarm() -> None:
    assert Judged(RATE, each_minute(*(20 + minute / 2 for minute in range(30)))).said() == []


def test_a_rate_alarm_clears_when_the_span_is_steady() -> None:
    assert Judged(RATE, each_minute(20, 24, *[24] * 6)).said() == [("raised", 1), ("cleared", 6)]


# Late readings, duplicates, corrections


def test_a_late_reading_out_of_limits_creates_a_past_episode() -> None:
    judged = Judged(high(), each_minute(4, 4, 4)).apply([(0.5, 6)])
    assert judged.said() == [("cleared", 1)]
    assert (judged.last.since, judged.last.raised, judged.last.cleared) == (0.5 * MINUTE, 0.5 * MINUTE, MINUTE)


def test_a_late_reading_within_limits_withdraws_an_alarm() -> None:
    judged = Judged(high(delay=2), [(0, 6), (2, 6)]).apply([(1, 4)])
    assert judged.said() == [("pending", 0), ("raised", 2), ("withdrawn", 1), ("pending", 2)]


def test_a_late_reading_may_end_an_episode_earlier() -> None:
    judged = Judged(high(), [(0, 6), (9, 4)]).apply([(5, 4)])
    assert judged.last.cleared == 5 * MINUTE


def test_a_late_reading_may_worsen_an_episode() -> None:
    judged = Judged(TWO, [*each_minute(6, 6, 6), (4, 9)]).forget().apply([(3, 9)])
    assert judged.said() == [("worsened", 3)]
    assert judged.last.severity == "critical"


def test_a_late_reading_before_an_episode_replaces_it() -> None:
    judged = Judged(high(), [(0, 4), (2, 6)]).apply([(1, 7)])
    assert judged.said() == [("raised", 2), ("withdrawn", 1), ("raised", 1)]
    assert (judged.last.since, judged.last.peak, judged.last.value) == (MINUTE, 7, 6)


def test_a_duplicate_changes_nothing() -> None:
    judged = Judged(high(), each_minute(4, 6, 7))
    state = judged.state
    assert judged.forget().apply(each_minute(4, 6, 7)).changes == []
    assert judged.state == state


def test_a_corrected_reading_is_judged_again() -> None:
    judged = Judged(high(), each_minute(4, 60, 4)).apply([(1, 4.0)])
    assert judged.said() == [("raised", 1), ("cleared", 2), ("withdrawn", 1)]


def test_the_later_row_counts_at_the_same_time() -> None:
    state = initial_state(SENSOR)
    for rank, value in enumerate((1.0, 0.0, 1.0)):
        state, changes = judge(SWITCH, state, Reading(0.0, value, rank))
    assert [change.what for change in changes] == ["pending"]
    assert judge(SWITCH, state, Reading(0.0, 0.0, 1)) == (state, [])


def test_a_late_door_reading_withdraws_an_alarm() -> None:
    judged = Judged(SWITCH, [(0, 1), 6]).apply([(2, 0)])
    assert judged.said() == [("pending", 0), ("raised", 5), ("withdrawn", 2)]


def test_readings_older_than_the_history_are_ignored() -> None:
    judged = Judged(high(), each_minute(*[4] * (3 * HISTORY_READINGS)))
    state = judged.state
    assert judged.apply([(0.5, 6)]).changes == []
    assert judged.state == state


def test_a_late_reading_within_the_history_is_judged() -> None:
    judged = Judged(high(), each_minute(*[4] * (3 * HISTORY_READINGS))).apply([(2 * HISTORY_READINGS + 0.5, 6)])
    assert judged.said() == [("cleared", 2 * HISTORY_READINGS + 1)]


def test_readings_beyond_the_maximum_lateness_are_ignored() -> None:
    late = MAX_LATE_S / MINUTE + 1
    assert Judged(high(), [(0, 4), (late + 1, 4)]).apply([(0.5, 6)]).changes == []


def test_the_size_of_the_history_is_limited() -> None:
    assert len(msgspec.msgpack.encode(Judged(high(), each_minute(*[4] * 1000)).state)) < 2 * HISTORY_READINGS * 24 + 300


# A history


def test_a_replay_returns_the_final_state_of_each_episode() -> None:
    values = [6, 4, 6, 6, 6, 7, 4, 6]
    history = [Reading(minute * MINUTE, value) for minute, value in enumerate(values)]
    episodes = replay(msgspec.structs.replace(high(delay=2), no_data=no_data(3)), SENSOR, history, until=60 * MINUTE)
    assert [(each.kind, each.since / MINUTE, each.state, each.peak) for each in episodes] == [
        ("high", 2, "cleared", 7),
        ("high", 7, "pending", 6),
        ("no_data", 7, "active", None),
    ]


# New limits, closing by hand, snapshots


def test_an_open_episode_continues_under_new_limits() -> None:
    judged = Judged(high(), each_minute(6)).forget()
    judged.terms = high(8)
    judged.apply([(1, 9), (2, 7)])
    assert judged.said() == [("cleared", 2)]
    assert (judged.last.since, judged.last.limit) == (0, 8)


def test_an_open_episode_falls_back_to_the_worst_remaining_limit() -> None:
    judged = Judged(TWO, each_minute(9, 9)).forget()
    judged.terms = msgspec.structs.replace(TWO, high=TWO.high[:1])
    assert judged.apply([(2, 9), (3, 4)]).said() == [("cleared", 3)]
    assert judged.last.severity == "warning"


def test_new_limits_do_not_restart_the_no_data_delay() -> None:
    judged = Judged(Terms(no_data=no_data(60), holds=True), [(0, 1)])
    judged.terms = msgspec.structs.replace(SWITCH, no_data=no_data(60))
    assert judged.apply([50, 61]).said("no_data") == [("raised", 60)]


def test_removing_the_limits_of_a_kind_clears_its_episode() -> None:
    judged = Judged(high(), each_minute(6)).forget()
    judged.terms = Terms(low=(limit(0),))
    assert judged.apply([(1, 9)]).said() == [("cleared", 1)]
    judged = Judged(NO_DATA, [(0, 1), 3]).forget()
    judged.terms = high()
    assert judged.apply([4]).said() == [("cleared", 4)]


def test_new_limits_do_not_apply_to_past_readings() -> None:
    judged = Judged(high(8), each_minute(6, 6, 4))
    judged.terms = high()
    assert judged.apply([(3, 4), (0.5, 6)]).said() == []


def test_new_limits_apply_to_a_held_value_at_once() -> None:
    judged = Judged(Terms(holds=True), [(0, 1)])
    judged.terms = SWITCH
    assert judged.apply([10, 15]).said() == [("pending", 10), ("raised", 15)]


def test_an_alarm_closed_by_hand_stays_quiet_until_normal() -> None:
    judged = Judged(high(hysteresis=1), each_minute(6, 7)).forget().close("high", 1.5)
    assert judged.apply([(2, 8), (3, 4.5), (4, 8)]).changes == []
    assert judged.apply([(5, 4), (6, 8)]).said() == [("raised", 6)]


def test_closed_no_data_stays_quiet_until_the_sensor_reports() -> None:
    judged = Judged(NO_DATA, [(0, 1), 3]).forget().close("no_data", 4)
    assert judged.apply([5, 600]).changes == []
    assert judged.apply([(601, 1), 604]).said() == [("raised", 604)]


@pytest.mark.parametrize("values", [(6, 7, 4), (6, 7, 4, 8)])
def test_a_violation_after_closing_by_hand_is_a_new_episode(
    values: tuple[float, ...],
) -> None:
    """The result is the same whether the judge learns of the closing before or after the new violation."""
    judged = Judged(high(reopen=10), each_minute(*values)).forget().close("high", 1.5)
    judged.apply(each_minute(*(6, 7, 4, 8)[len(values) :], start=len(values)))
    assert judged.said() == [("raised", 3)]
    assert judged.last.since == 3 * MINUTE
    assert judged.apply([(4, 4), (5, 8)]).said() == [("raised", 3), ("cleared", 4), ("reopened", 5)]


def test_late_readings_do_not_reopen_an_alarm_closed_by_hand() -> None:
    judged = Judged(high(reopen=10), each_minute(6, 7, 4, 8)).forget().close("high", 1.5).forget()
    assert judged.apply([(0.5, 9), (1.2, 9)]).said() == []
    assert judged.apply([(3.5, 9)]).said() == []


def test_no_data_after_closing_by_hand_is_a_new_episode() -> None:
    """In this test, the gap in the data ends before the judge learns that the alarm was closed."""
    judged = Judged(Terms(no_data=no_data(3, reopen=60)), [(0, 1), 3, (4, 1)]).forget().close("no_data", 3.5)
    assert judged.apply([7]).said() == [("raised", 7)]
    assert judged.last.since == 4 * MINUTE


@pytest.mark.parametrize("levels", [1, 2])
def test_an_adopted_open_episode_continues(levels: int) -> None:
    terms = msgspec.structs.replace(TWO, high=TWO.high[:levels])
    open_episode = Judged(terms, each_minute(6, 6, 6)).last
    judged = Judged(terms, state=adopt(initial_state(SENSOR), open_episode)).apply([(0, 4), (3, 6), (4, 4)])
    assert judged.said() == [("cleared", 4)]
    assert judged.last.since == open_episode.since


def test_an_adopted_no_data_episode_continues() -> None:
    open_episode = Judged(NO_DATA, [(0, 1), 3]).last
    judged = Judged(NO_DATA, [5, (6, 1)], adopt(initial_state(SENSOR), open_episode))
    assert judged.said() == [("cleared", 6)]


EVENTS: Sequence[Event] = [*each_minute(4, 6, 6, 9, 9, 6), 6, (8, 6), (7, 4), 14, (15, 4)]


@pytest.mark.parametrize("at", range(len(EVENTS) + 1))
def test_judging_from_a_snapshot_gives_the_same_changes(at: int) -> None:
    terms = msgspec.structs.replace(TWO, no_data=no_data(4), rate=RATE.rate)
    whole = Judged(terms, EVENTS)
    before = Judged(terms, EVENTS[:at])
    state: Any = msgspec.msgpack.decode(msgspec.msgpack.encode(before.state), type=State)
    after = Judged(terms, EVENTS[at:], state)
    assert before.changes + after.changes == whole.changes
    assert after.state == whole.state
