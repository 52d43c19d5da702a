"""Counts the nuisance alarms of each sensor, and recommends a delay or hysteresis that would have prevented them.

A nuisance alarm (ISA-18.2) is a short alarm that nobody acknowledged.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from alarms.model import NO_DATA, Limit

DELAY_STEP_S = 60.0
"""A recommended delay is a multiple of this time, in seconds."""
HYSTERESIS_STEP = 0.1
"""A recommended hysteresis is a multiple of this value, in the sensor's unit."""
MAX_HYSTERESIS = 2.0
"""Largest recommended hysteresis. With a larger hysteresis, alarms would rarely be cleared."""


class AlarmOccurrence(NamedTuple):
    """An alarm that was raised. Times are seconds since 1970; `cleared` is None while the alarm is open.

    - `limit`: the worst limit that the alarm violated.
    - `interval_s`: the time between two readings of the sensor, in seconds; 0 if the sensor only reports changes.
    - `inside_by`: how far the values went back inside the limit between the previous alarm of this kind and this alarm.
      It is None if this distance is unknown or the previous alarm was long ago.
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
        """Time for which the alarm's readings violated the limit, in seconds; infinite while the alarm is open."""
        return math.inf if self.cleared is None else self.cleared - self.limit.clear_delay - self.since

    def is_nuisance(self, shorter_than_s: float) -> bool:
        """Return whether the alarm was shorter than `shorter_than_s` seconds and nobody acknowledged it."""
        return not self.acknowledged and self.cleared is not None and self.cleared - self.raised < shorter_than_s


class Recommendation(NamedTuple):
    """A recommended setting of an alarm limit, and the number of nuisance alarms that it would have prevented.

    `value` is the recommended delay in seconds, the recommended hysteresis, or the recommended no-data limit in
    seconds.
    """

    value: float
    prevented: int


class NuisanceAlarms(NamedTuple):
    """The number of alarms and the number of nuisance alarms, for one kind of alarm at one sensor.

    `delay` and `hysteresis` are recommended settings that would have prevented nuisance alarms.
    """

    sensor: str
    kind: str
    alarms: int
    nuisances: int
    delay: Recommendation | None
    hysteresis: Recommendation | None


def nuisance_alarms(alarms: Iterable[AlarmOccurrence], shorter_than_s: float) -> list[NuisanceAlarms]:
    """Count the alarms and nuisance alarms of each sensor and kind of alarm, and return one summary for each.

    The summary with the most alarms comes first. An alarm is a nuisance alarm if it was shorter than `shorter_than_s`
    seconds and nobody acknowledged it.
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
    """Return the delay that would have prevented the most nuisance alarms. For no-data alarms, it is the no-data limit.

    Return None if this delay is not longer than the present delay. `needed` contains the alarms that are not nuisance
    alarms. With the recommended delay, each of these alarms would still have been raised before its last reading
    outside the limit.
    """
    longest = min((alarm.violated_s - alarm.interval_s for alarm in needed), default=math.inf)
    delays = ((alarm.violated_s // DELAY_STEP_S + 1) * DELAY_STEP_S for alarm in nuisances)
    best = max((delay for delay in delays if delay <= longest), default=0.0)
    present = max((alarm.limit.limit if kind == NO_DATA else alarm.limit.delay for alarm in nuisances), default=0.0)
    return Recommendation(best, sum(alarm.violated_s < best for alarm in nuisances)) if best > present else None


def _hysteresis(nuisances: Sequence[AlarmOccurrence]) -> Recommendation | None:
    """Return the hysteresis that would have prevented the most nuisance alarms.

    Return None if this hysteresis is not larger than the present hysteresis. With the recommended hysteresis, each
    prevented alarm would have been part of the alarm before it.
    """
    insides = [alarm.inside_by for alarm in nuisances if alarm.inside_by is not None]
    steps = (round((math.floor(round(inside / HYSTERESIS_STEP, 6)) + 1) * HYSTERESIS_STEP, 6) for inside in insides)
    best = max((step for step in steps if step <= MAX_HYSTERESIS), default=0.0)
    present = max((alarm.limit.hysteresis for alarm in nuisances), default=0.0)
    return Recommendation(best, sum(inside < best for inside in insides)) if best > present else None
