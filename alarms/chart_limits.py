"""Finds the limits that a chart shows: the limits of the rules in force, and the limits of earlier rules."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from alarms import rules
from alarms.rules import Rule, Terms
from ask.answers import ChartLimits, FormerChartLimits
from ask.sensors import Sensor

FormerRules = tuple[datetime, datetime, Sequence[Rule]]
"""A past time span (its start and its end), and the rules that were in force during this time span."""


def chart_limits(terms: Terms) -> ChartLimits:
    """Return the high and low limits that a chart of a sensor shows. `terms` contains the sensor's limits."""
    high, low = ([limit.limit for limit in limits] + [None, None] for limits in (terms.high, terms.low))
    return ChartLimits(high=high[0], high_high=high[1], low=low[0], low_low=low[1])


def former_chart_limits(
    former_rules: Sequence[FormerRules], sensor: Sensor, *, defaults: bool
) -> list[FormerChartLimits]:
    """Return the limits that earlier rules set for a sensor, each with its time span, in chronological order.

    If two consecutive time spans have equal limits, the result contains one time span for both.
    """
    spans: list[tuple[ChartLimits, datetime, datetime]] = []
    for start, end, in_force in former_rules:
        limits = chart_limits(rules.terms(in_force, sensor, defaults=defaults))
        if spans and spans[-1][0] == limits:
            start = spans.pop()[1]
        spans.append((limits, start, end))
    return [FormerChartLimits(**msgspec.structs.asdict(limits), start=start, end=end) for limits, start, end in spans]
