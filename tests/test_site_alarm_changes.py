"""Which differences between two polls of a site's own alarms count as alarm transitions."""

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


def test_a_new_alarm_makes_a_first_step() -> None:
    assert next_steps({}, [ALARM], BEGUN, NOW) == [Step(1, ALARM)]


def test_an_unchanged_alarm_makes_no_step() -> None:
    assert next_steps({1: Step(1, ALARM)}, [ALARM], BEGUN, NOW) == []


def test_a_new_value_of_an_open_alarm_makes_no_step() -> None:
    assert next_steps({1: Step(1, ALARM)}, [but(value=12.0, sensor_name="renamed")], BEGUN, NOW) == []


def test_worsening_acknowledging_and_clearing_each_make_a_step() -> None:
    worse = but(severity="critical")
    seen = but(severity="critical", acknowledged=True)
    last_steps: dict[int | str, Step] = {1: Step(1, ALARM)}
    for number, alarm in enumerate([worse, seen, CLEARED], 2):
        new = next_steps(last_steps, [alarm], BEGUN, NOW)
        assert new == [Step(number, alarm)]
        last_steps = {1: new[0]}


def test_an_alarm_cleared_before_the_first_poll_makes_no_step() -> None:
    old = but(raised=BEGUN - timedelta(hours=2), cleared=BEGUN - timedelta(hours=1), state="cleared")
    assert next_steps({}, [old], BEGUN, NOW) == []


def test_an_old_open_alarm_makes_a_step() -> None:
    old = but(raised=BEGUN - timedelta(days=9))
    assert next_steps({}, [old], BEGUN, NOW) == [Step(1, old)]


def test_an_alarm_cleared_between_two_polls_makes_a_step() -> None:
    assert next_steps({}, [CLEARED], BEGUN, NOW) == [Step(1, CLEARED)]


def test_a_missing_open_alarm_is_cleared_now() -> None:
    assert next_steps({1: Step(4, ALARM)}, [], BEGUN, NOW) == [Step(5, but(state="cleared", cleared=NOW))]


def test_a_missing_cleared_alarm_makes_no_step() -> None:
    assert next_steps({1: Step(4, CLEARED)}, [], BEGUN, NOW) == []


def test_steps_are_in_chronological_order() -> None:
    later = but(alarm_id=2, raised=RAISED + timedelta(minutes=1))
    assert [step.alarm.alarm_id for step in next_steps({}, [later, ALARM], BEGUN, NOW)] == [1, 2]
