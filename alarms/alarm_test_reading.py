"""Test alarms: a test reading is judged like any other, so its alarm goes the whole way to a person and back."""

import msgspec

from alarms.judge import initial_state, judge
from alarms.model import Change, Limit, Reading
from alarms.rules import Terms
from ask.sensors import Sensor

TEST_ALARM = "drill"
"""The kind of a test alarm, in the database and on the wire: it never mixes with a real alarm of the same sensor."""
TERMS = Terms(high=(Limit(0.0, "critical"),))
HIGH_VALUE, NORMAL_VALUE = 1.0, 0.0
"""The test readings."""


def changes_of_test_alarm(sensor: Sensor, start: float, end: float | None) -> list[Change]:
    """Return the changes of a test alarm from its first test reading to the one that ends it; `end` None: still open.

    `start` and `end` are seconds since 1970.
    """
    state, changes = judge(TERMS, initial_state(sensor), Reading(start, HIGH_VALUE))
    if end is not None:
        changes += judge(TERMS, state, Reading(end, NORMAL_VALUE))[1]
    return [change._replace(episode=msgspec.structs.replace(change.episode, kind=TEST_ALARM)) for change in changes]
