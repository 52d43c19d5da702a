"""Limits as a chart has them: those in force, and those that were."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from alarms import rules
from alarms.rules import Rule, Terms
from ask.answers import ChartLimits, PastChartLimits
from ask.sensors import Sensor

Former = tuple[datetime, datetime, Sequence[Rule]]
"""From when to when these rules held."""


def drawn(terms: Terms) -> ChartLimits:
    """Return the limits of a value."""
    high, low = ([limit.limit for limit in limits] + [None, None] for limits in (terms.high, terms.low))
    return ChartLimits(high=high[0], high_high=high[1], low=low[0], low_low=low[1])


def past(former: Sequence[Former], sensor: Sensor, *, defaults: bool) -> list[PastChartLimits]:
    """Return the limits that a sensor had by former rules, in order of time, the same of several changes as one."""
    found: list[tuple[ChartLimits, datetime, datetime]] = []
    for start, end, held in former:
        limits = drawn(rules.terms(held, sensor, defaults=defaults))
        if found and found[-1][0] == limits:
            start = found.pop()[1]
        found.append((limits, start, end))
    return [PastChartLimits(**msgspec.structs.asdict(limits), start=start, end=end) for limits, start, end in found]
