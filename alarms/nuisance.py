"""Counts the nuisance alarms of each sensor, and recommends a delay or hysteresis that would have prevented them.

A nuisance alarm (ISA-18.2) is a short alarm that nobody acknowledged.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from alarms.model import NO_DATA, Limit

DELAY_STEP_S = 60.0
"""Step of the recommended delay, in seconds."""
HYSTERESIS_STEP = 0.1
"""Step of the recommended hysteresis, in the sensor's unit."""
MAX_HYSTERESIS = 2.0
"""Largest recommended hysteresis. With a larger hysteresis, alarms would rarely be cleared."""


class AlarmOccurrence(NamedTuple):
    """An alarm that was raised. Times are seconds since 1970; `cleared` is None while the alarm is open.

    - `limit`: the worst limit that the alarm violated.
    - `interval_s`: the time between the sensor's readings, in seconds; 0 if the sensor only reports changes.
    - `inside_by`: how far the values between the previous alarm and this alarm were inside the limit at most; None if
      this is unknown or the previous alarm was long ago.
    """

    sensor: str
    kind: str
    since: float
    raised: float
    cleared: float | None
    acknowledged: bool
    limit: Limit
    interval_s: float = 0.0
    inside_by: float | None = None

    @property
    def violated_s(self) -> float:
        """Time from the alarm's first reading outside the limit to the first reading back within it, in seconds."""
        return math.inf if self.cleared is None else self.cleared - self.limit.clear_delay - self.since

    def is_nuisance(self, shorter_than_s: float) -> bool:
        """Return whether the alarm was shorter than `shorter_than_s` and nobody acknowledged it."""
        return not self.acknowledged and self.cleared is not None and self.cleared - self.raised < shorter_than_s


class Recommendation(NamedTuple):
    """A recommended setting of a limit, and the number of nuisance alarms that it would have prevented.

    `value` is a delay in seconds, a hysteresis, or the limit of a no-data alarm in seconds.
    """

    value: float
    prevented: int


class NuisanceAlarms(NamedTuple):
    """The numbers of alarms and nuisance alarms of one kind at a sensor, and the recommendations to prevent them."""

    sensor: str
    kind: str
    alarms: int
    nuisances: int
    delay: Recommendation | None
    hysteresis: Recommendation | None


def nuisance_alarms(alarms: Iterable[AlarmOccurrence], shorter_than_s: float) -> list[NuisanceAlarms]:
    """Return one summary for each sensor and kind of alarm. The summary with the most alarms comes first.

    `shorter_than_s` is the duration below which an alarm that nobody acknowledged is a nuisance alarm, in seconds.
    """
    groups: dict[tuple[str, str], list[AlarmOccurrence]] = defaultdict(list)
    for alarm in alarms:
        groups[alarm.sensor, alarm.kind].append(alarm)
    summaries = [_summary(sensor, kind, group, shorter_than_s) for (sensor, kind), group in groups.items()]
    return sorted(summaries, key=lambda summary: (-summary.alarms, summary.sensor, summary.kind))


def _summary(sensor: str, kind: str, group: Sequence[AlarmOccurrence], shorter_than_s: float) -> NuisanceAlarms:
    needed = [alarm for alarm in group if not alarm.is_nuisance(shorter_than_s)]
    nuisances = [alarm for alarm in group if alarm.is_nuisance(shorter_than_s)]
    return NuisanceAlarms(
        sensor, kind, len(group), len(nuisances), _delay(kind, needed, nuisances), _hysteresis(nuisances)
    )


def _delay(kind: str, needed: Sequence[AlarmOccurrence], nuisances: Sequence[AlarmOccurrence]) -> Recommendation | None:
    """Return the delay that prevents the most nuisance alarms; None if it is not longer than the present delay.

    With the returned delay, every needed alarm would still be raised before its last reading outside the limit.
    """
    longest = min((alarm.violated_s - alarm.interval_s for alarm in needed), default=math.inf)
    delays = ((alarm.violated_s // DELAY_STEP_S + 1) * DELAY_STEP_S for alarm in nuisances)
    best = max((delay for delay in delays if delay <= longest), default=0.0)
    present = max((alarm.limit.limit if kind == NO_DATA else alarm.limit.delay for alarm in nuisances), default=0.0)
    return Recommendation(best, sum(alarm.violated_s < best for alarm in nuisances)) if best > present else None


def _hysteresis(nuisances: Sequence[AlarmOccurrence]) -> Recommendation | None:
    """Return the hysteresis that prevents the most nuisance alarms; None if it is not larger than the present one.

    With the returned hysteresis, these nuisance alarms would be part of the alarm before them.
    """
    insides = [alarm.inside_by for alarm in nuisances if alarm.inside_by is not None]
    steps = (round((math.floor(round(inside / HYSTERESIS_STEP, 6)) + 1) * HYSTERESIS_STEP, 6) for inside in insides)
    best = max((step for step in steps if step <= MAX_HYSTERESIS), default=0.0)
    present = max((alarm.limit.hysteresis for alarm in nuisances), default=0.0)
    return Recommendation(best, sum(inside < best for inside in insides)) if best > present else None
