"""The metrics that Storewatch knows, with their units, decimals, kinds, and names in Chinese and English.

This is the only list of metrics. The server reads it here. The browser reads `dashboard/data/metrics.js`, which
`python -m contract` generates from this list. Any other metric is the site's own: the dashboard shows it under the
site's own name, with the unit of its sensor. `alarms/rules.py` contains the default limits, under the metric names of
this list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["measurement", "switch"]

GREATEST = 1e15
"""The greatest absolute value that counts as a measured value. A greater number is no value of any sensor: it means
"no value", such as the largest double, or it is an error. The reading is then bad."""


class Term(NamedTuple):
    """A word or phrase in English and Chinese."""

    en: str
    zh: str


@dataclass(frozen=True)
class Metric:
    """A metric. The dashboard shows `name` and `switch_words`. Notifications use the fields `..._in_messages`."""

    name: Term
    name_in_messages: Term
    unit: str = ""
    """Unit of the metric, for sensors that have no unit of their own."""
    decimals: int | None = None
    """Number of decimals that the dashboard shows. None means as many as needed, at most three."""
    kind: Kind = "measurement"
    """Whether the metric is a measurement or a switch. The value of a switch is 0 or 1. If a sensor of a switch metric
    has a unit, such as power in kW, its readings count as measurements."""
    trend_step: float | None = None
    """Minimum change of a value within 15 minutes for which the dashboard shows a trend. None means that the dashboard
    never shows a trend."""
    switch_words: tuple[Term, Term] | None = None
    """The words that the dashboard shows for the values 0 and 1 of a switch."""
    switch_words_in_messages: tuple[Term, Term] | None = None


METRICS: Mapping[str, Metric] = {
    "temperature": Metric(Term("Temperature", "温度"), Term("temperature", "温度"), "°C", 1, trend_step=0.5),
    "humidity": Metric(Term("Humidity", "湿度"), Term("humidity", "湿度"), "%", 1, trend_step=2),
    "light": Metric(Term("Light", "照度"), Term("light", "照度"), "lx", 0),
    "co2": Metric(Term("CO₂", "二氧化碳"), Term("CO₂", "CO₂"), "ppm", 0, trend_step=50),
    "pm25": Metric(Term("PM2.5", "PM2.5"), Term("PM2.5", "PM2.5"), "µg/m³", 0, trend_step=10),
    "pressure": Metric(Term("Pressure", "压力"), Term("pressure", "压力"), "hPa", 1, trend_step=2),
    "dew_point": Metric(Term("Dew point", "露点"), Term("dew point", "露点"), "°C", 1, trend_step=0.5),
    "smoke": Metric(
        Term("Smoke", "烟雾"),
        Term("smoke", "烟雾"),
        kind="switch",
        switch_words=(Term("No smoke", "无烟"), Term("Smoke", "有烟")),
        switch_words_in_messages=(Term("no smoke", "无烟"), Term("smoke", "有烟")),
    ),
    "door": Metric(
        Term("Door", "门"),
        Term("door", "门"),
        kind="switch",
        switch_words=(Term("Closed", "关闭"), Term("Open", "打开")),
        switch_words_in_messages=(Term("closed", "关闭"), Term("open", "打开")),
    ),
    "water": Metric(
        Term("Water", "水浸"),
        Term("water", "水浸"),
        kind="switch",
        switch_words=(Term("Dry", "无水"), Term("Water", "有水")),
        switch_words_in_messages=(Term("dry", "无水"), Term("water", "有水")),
    ),
    "power": Metric(
        Term("Power", "功率"),
        Term("power", "功率"),
        decimals=2,
        kind="switch",
        switch_words=(Term("No power", "断电"), Term("Power on", "供电正常")),
        switch_words_in_messages=(Term("no power", "断电"), Term("power on", "供电正常")),
    ),
}


def unit_of(metric: str) -> str:
    """Return the default unit of a metric. It is empty for a switch and for a site's own metric."""
    return METRICS[metric].unit if metric in METRICS else ""
