"""The metrics that Storewatch knows: unit, decimals, kind, and the words for them in Chinese and English.

This is the one list of them. The server reads it here; the browser reads `dashboard/data/metrics.js`, which
`python -m contract` writes from it. A metric that is not in the list is the site's own: it is shown by its own word,
with the unit that its sensor names. Default limits are in `alarms/rules.py`, by the names used here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["measurement", "switch"]


class Term(NamedTuple):
    """A word in both languages."""

    en: str
    zh: str


@dataclass(frozen=True)
class Metric:
    """A metric; the dashboard shows `name` and `switch_words`, notifications say those `..._in_messages`."""

    name: Term
    name_in_messages: Term
    unit: str = ""
    """Used where a sensor names no unit."""
    decimals: int | None = None
    """Shown on the dashboard; None: as many as needed, at most three."""
    kind: Kind = "measurement"
    """A switch is 0 or 1. Where its sensor has a unit, such as power in kW, it is a measurement all the same."""
    trend_step: float | None = None
    """The change within 15 minutes from which on a value rises or falls; None: no trend is shown."""
    switch_words: tuple[Term, Term] | None = None
    """For 0 and for 1."""
    switch_words_in_messages: tuple[Term, Term] | None = None


METRICS: Mapping[str, Metric] = {
    "temperature": Metric(Term("Temperature", "温度"), Term("temperature", "温度"), "°C", 1, trend_step=0.5),
    "humidity": Metric(Term("Humidity", "湿度"), Term("humidity", "湿度"), "%", 1, trend_step=2),
    "light": Metric(Term("Light", "照度"), Term("light", "光照"), "lx", 0),
    "co2": Metric(Term("CO₂", "二氧化碳"), Term("CO₂", "CO₂"), "ppm", 0, trend_step=50),
    "pm25": Metric(Term("PM2.5", "PM2.5"), Term("PM2.5", "PM2.5"), "µg/m³", 0, trend_step=10),
    "pressure": Metric(Term("Pressure", "压力"), Term("pressure", "气压"), "hPa", 1, trend_step=2),
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
        Term("Power", "电力"),
        Term("power", "供电"),
        decimals=2,
        kind="switch",
        switch_words=(Term("No power", "断电"), Term("Power on", "供电正常")),
        switch_words_in_messages=(Term("no power", "断电"), Term("power on", "供电正常")),
    ),
}


def unit_of(metric: str) -> str:
    """Return the unit of a metric whose sensors name none; empty for a switch and for a site's own metric."""
    return METRICS[metric].unit if metric in METRICS else ""
