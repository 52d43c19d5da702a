"""A drill: a test reading is judged like any other, so that its alarm goes the whole way to a person and back."""

import msgspec

from alarms.judge import begin, judge
from alarms.model import Change, Limit, Reading
from alarms.rules import Terms
from ask.sensors import Sensor

DRILL = "drill"
"""The kind of its alarms: a real one of the same sensor has another, and neither stands in the other's way."""
TERMS = Terms(high=(Limit(0.0, "critical"),))
OUT, BACK = 1.0, 0.0
"""The test readings."""


def drill(sensor: Sensor, begun: float, ended: float | None) -> list[Change]:
    """Return what happens to the drill's alarm from its test reading on, up to the one that ends it."""
    state, changes = judge(TERMS, begin(sensor), Reading(begun, OUT))
    if ended is not None:
        changes += judge(TERMS, state, Reading(ended, BACK))[1]
    return [change._replace(episode=msgspec.structs.replace(change.episode, kind=DRILL)) for change in changes]
