"""Evaluates test readings like real readings, so that a test alarm goes through the same steps as a real alarm."""

import msgspec

from alarms.judge import initial_state, judge
from alarms.model import Change, Limit, Reading
from alarms.rules import Terms
from ask.sensors import Sensor

TEST_ALARM = "drill"
"""The kind of every test alarm in the database and in events. It keeps test alarms separate from real alarms."""
TERMS = Terms(high=(Limit(0.0, "critical"),))
HIGH_VALUE, NORMAL_VALUE = 1.0, 0.0
"""Values of the test reading that raises a test alarm, and of the test reading that clears it."""


def changes_of_test_alarm(sensor: Sensor, start: float, end: float | None) -> list[Change]:
    """Evaluate the test readings of a test alarm. Return the alarm's changes: raised and, if `end` is given, cleared.

    `start` is the time of the reading that raises the alarm. `end` is the time of the reading that clears the alarm, or
    None while the alarm is open. Times are seconds since 1970.
    """
    state, changes = judge(TERMS, initial_state(sensor), Reading(start, HIGH_VALUE))
    if end is not None:
        changes += judge(TERMS, state, Reading(end, NORMAL_VALUE))[1]
    return [change._replace(episode=msgspec.structs.replace(change.episode, kind=TEST_ALARM)) for change in changes]
