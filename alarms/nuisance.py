"""Nuisance alarms: which sensors alarm most, which of their alarms nobody needed, and what would have prevented those.

A nuisance alarm (ISA-18.2) is one that was short and that nobody acknowledged.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from alarms.model import NO_DATA, Limit

DELAY_STEP_S = 60.0
HYSTERESIS_STEP = 0.1
"""Delays are recommended in whole minutes, hysteresis in tenths."""
MAX_HYSTERESIS = 2.0
"""With more an alarm would hardly ever be cleared."""


class AlarmOccurrence(NamedTuple):
    """An alarm that was raised; times are seconds since 1970, `cleared` None while it is open.

    `limit`: the worst limit violated. `interval_s`: seconds between the sensor's readings, 0 where it reports changes
    only. `inside_by`: how far inside the limit values had been since the alarm before, None where that is long ago.
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
        """Seconds from its first reading out of limits to the first back within."""
        return math.inf if self.cleared is None else self.cleared - self.limit.clear_delay - self.since

    def is_nuisance(self, shorter_than_s: float) -> bool:
        """Return whether it was shorter than this, and nobody acknowledged it."""
        return not self.acknowledged and self.cleared is not None and self.cleared - self.raised < shorter_than_s


class Recommendation(NamedTuple):
    """A delay in seconds (of no data: its limit) or a hysteresis, and how many alarms it would have prevented."""

    value: float
    prevented: int


class NuisanceAlarms(NamedTuple):
    """How many alarms of one kind a sensor had, how many were nuisances, and what would have prevented those."""

    sensor: str
    kind: str
    alarms: int
    nuisances: int
    delay: Recommendation | None
    hysteresis: Recommendation | None


def nuisance_alarms(alarms: Iterable[AlarmOccurrence], shorter_than_s: float) -> list[NuisanceAlarms]:
    """Return the alarms by sensor and kind, the most frequent first; a nuisance is shorter than `shorter_than_s`."""
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
    """Return the delay that prevents the most.

    It still raises each needed alarm before its last reading out of limits.
    """
    longest = min((alarm.violated_s - alarm.interval_s for alarm in needed), default=math.inf)
    delays = ((alarm.violated_s // DELAY_STEP_S + 1) * DELAY_STEP_S for alarm in nuisances)
    best = max((delay for delay in delays if delay <= longest), default=0.0)
    present = max((alarm.limit.limit if kind == NO_DATA else alarm.limit.delay for alarm in nuisances), default=0.0)
    return Recommendation(best, sum(alarm.violated_s < best for alarm in nuisances)) if best > present else None


def _hysteresis(nuisances: Sequence[AlarmOccurrence]) -> Recommendation | None:
    """Return the hysteresis with which the most would have been part of the alarm before."""
    insides = [alarm.inside_by for alarm in nuisances if alarm.inside_by is not None]
    steps = (round((math.floor(round(inside / HYSTERESIS_STEP, 6)) + 1) * HYSTERESIS_STEP, 6) for inside in insides)
    best = max((step for step in steps if step <= MAX_HYSTERESIS), default=0.0)
    present = max((alarm.limit.hysteresis for alarm in nuisances), default=0.0)
    return Recommendation(best, sum(inside < best for inside in insides)) if best > present else None
