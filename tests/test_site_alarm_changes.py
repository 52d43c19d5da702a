"""What counts as a transition of an alarm."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from alarm_service.site_alarm_changes import next_steps
from ask.answers import Alarm
from record.journal import Step

BEGUN = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW = BEGUN + timedelta(hours=1)
RAISED = BEGUN + timedelta(minutes=5)

ALARM = Alarm(1, 7, 3, "T", "temperature", "high", "warning", "active", False, 9.0, 5.0, RAISED, None)


def but(**changes: Any) -> Alarm:
    return msgspec.structs.replace(ALARM, **changes)


CLEARED = but(state="cleared", cleared=RAISED + timedelta(minutes=9))


def test_an_alarm_that_is_new_is_a_first_step() -> None:
    assert next_steps({}, [ALARM], BEGUN, NOW) == [Step(1, ALARM)]


def test_an_alarm_that_is_as_it_was_is_none() -> None:
    assert next_steps({1: Step(1, ALARM)}, [ALARM], BEGUN, NOW) == []


def test_another_value_of_an_open_alarm_is_none() -> None:
    assert next_steps({1: Step(1, ALARM)}, [but(value=12.0, sensor_name="renamed")], BEGUN, NOW) == []


def test_worsening_acknowledging_and_clearing_are_steps_each() -> None:
    worse = but(severity="critical")
    seen = but(severity="critical", acknowledged=True)
    last_steps: dict[int | str, Step] = {1: Step(1, ALARM)}
    for number, alarm in enumerate([worse, seen, CLEARED], 2):
        new = next_steps(last_steps, [alarm], BEGUN, NOW)
        assert new == [Step(number, alarm)]
        last_steps = {1: new[0]}


def test_an_alarm_that_was_over_before_anybody_looked_is_history() -> None:
    old = but(raised=BEGUN - timedelta(hours=2), cleared=BEGUN - timedelta(hours=1), state="cleared")
    assert next_steps({}, [old], BEGUN, NOW) == []


def test_an_old_alarm_that_is_still_open_is_news() -> None:
    old = but(raised=BEGUN - timedelta(days=9))
    assert next_steps({}, [old], BEGUN, NOW) == [Step(1, old)]


def test_an_alarm_that_came_and_went_between_two_looks_is_told() -> None:
    assert next_steps({}, [CLEARED], BEGUN, NOW) == [Step(1, CLEARED)]


def test_an_open_alarm_that_is_not_there_any_more_is_over_now() -> None:
    assert next_steps({1: Step(4, ALARM)}, [], BEGUN, NOW) == [Step(5, but(state="cleared", cleared=NOW))]


def test_a_cleared_alarm_that_is_not_there_any_more_is_nothing() -> None:
    assert next_steps({1: Step(4, CLEARED)}, [], BEGUN, NOW) == []


def test_steps_stand_in_the_order_of_what_happened() -> None:
    later = but(alarm_id=2, raised=RAISED + timedelta(minutes=1))
    assert [step.alarm.alarm_id for step in next_steps({}, [later, ALARM], BEGUN, NOW)] == [1, 2]
