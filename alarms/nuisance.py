"""Which sensors ring most, which of their alarms nobody needed, and what would have silenced those alone."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from alarms.model import NO_DATA, Limit

STEP_S = 60.0
STEP = 0.1
"""Delays are advised in whole minutes, hysteresis in tenths."""
MOST_HYSTERESIS = 2.0
"""With more an alarm would hardly ever be over."""


class AlarmOccurrence(NamedTuple):
    """An alarm that has rung; times are seconds, `cleared` None while it is open.

    `limit`: the worst that was broken. `interval_s`: seconds between the sensor's readings, 0 where it reports changes
    only. `inside`: how far inside the limit values had been since the alarm before, None where that is long ago.
    """

    sensor: str
    kind: str
    since: float
    raised: float
    cleared: float | None
    acknowledged: bool
    limit: Limit
    interval_s: float = 0.0
    inside: float | None = None

    @property
    def lasted(self) -> float:
        """Seconds from its first reading out of limits to the first back within."""
        return math.inf if self.cleared is None else self.cleared - self.limit.clear_delay - self.since

    def was_needed(self, shorter_than_s: float) -> bool:
        """Whether somebody acknowledged it, or it was not so short."""
        return self.acknowledged or self.cleared is None or self.cleared - self.raised >= shorter_than_s


class Advice(NamedTuple):
    """A delay in seconds (of no data: the span) or a hysteresis, and how many alarms it would have silenced."""

    value: float
    silences: int


class Nuisance(NamedTuple):
    """How often one kind of alarm has rung at a sensor, and how many of these nobody needed."""

    sensor: str
    kind: str
    rung: int
    unneeded: int
    delay: Advice | None
    hysteresis: Advice | None


def noise(rungs: Iterable[AlarmOccurrence], shorter_than_s: float) -> list[Nuisance]:
    """Return what rings, the most first. Nobody needed what was shorter and never acknowledged."""
    groups: dict[tuple[str, str], list[AlarmOccurrence]] = defaultdict(list)
    for rung in rungs:
        groups[rung.sensor, rung.kind].append(rung)
    found = [_noise(sensor, kind, group, shorter_than_s) for (sensor, kind), group in groups.items()]
    return sorted(found, key=lambda each: (-each.rung, each.sensor, each.kind))


def _noise(sensor: str, kind: str, group: Sequence[AlarmOccurrence], shorter_than_s: float) -> Nuisance:
    needed = [rung for rung in group if rung.was_needed(shorter_than_s)]
    unneeded = [rung for rung in group if not rung.was_needed(shorter_than_s)]
    return Nuisance(sensor, kind, len(group), len(unneeded), _delay(kind, needed, unneeded), _hysteresis(unneeded))


def _delay(kind: str, needed: Sequence[AlarmOccurrence], unneeded: Sequence[AlarmOccurrence]) -> Advice | None:
    """The delay that silences the most and still lets each needed one ring before its last reading out of limits."""
    most = min((rung.lasted - rung.interval_s for rung in needed), default=math.inf)
    delays = ((rung.lasted // STEP_S + 1) * STEP_S for rung in unneeded)
    best = max((delay for delay in delays if delay <= most), default=0.0)
    now = max((rung.limit.limit if kind == NO_DATA else rung.limit.delay for rung in unneeded), default=0.0)
    return Advice(best, sum(rung.lasted < best for rung in unneeded)) if best > now else None


def _hysteresis(unneeded: Sequence[AlarmOccurrence]) -> Advice | None:
    """The hysteresis with which the most would have gone on with the alarm before, and so would not have rung anew."""
    insides = [rung.inside for rung in unneeded if rung.inside is not None]
    steps = (round((math.floor(round(inside / STEP, 6)) + 1) * STEP, 6) for inside in insides)
    best = max((step for step in steps if step <= MOST_HYSTERESIS), default=0.0)
    now = max((rung.limit.hysteresis for rung in unneeded), default=0.0)
    return Advice(best, sum(inside < best for inside in insides)) if best > now else None
