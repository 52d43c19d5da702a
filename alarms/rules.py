"""Rules: which limits apply to which sensor. They have the same shape in the settings, in our tables and on the wire.

A rule sets bounds for the sensors of its scope, kind by kind. For each kind of a sensor only the most specific rule
with a bound of that kind applies: sensor, storehouse and metric, storehouse, metric, the whole site, then the defaults.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal
from zlib import crc32

import msgspec

from alarms.model import HIGH, LOW, NO_DATA, RATE, SWITCH, Limit
from ask.sensors import Sensor
from common.severity import Severity
from settings import duration

NO_DATA_INTERVALS = 3
MIN_NO_DATA_S = 180.0
"""No data means: this many intervals without a reading, and at least this long."""

Duration = float | str
"""Seconds, or a number and s, m, h or d."""
Profile = Literal["frozen", "chilled", "pharma_2_8", "pharma_15_25", "general"]


ScopeId = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str
"""An id that fits a database column: rules are stored, and sent to clients that cannot read longer numbers."""


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One limit and its terms, as people write them."""

    limit: Duration | None = None
    """In the sensor's unit; of a switch the alarming state, 0 or 1; of no data the time without a reading."""
    severity: Severity | None = None
    """Default: critical for `high_high`, `low_low` and `switch`, otherwise warning."""
    delay: Duration = 0.0
    clear_delay: Duration = 0.0
    hysteresis: float = 0.0
    reopen: Duration = 600.0
    within: Duration = 0.0


RuleBound = Bound | float | str | None | msgspec.UnsetType
"""A bound; its limit alone; null: off, whatever a more general rule says; left out: as a more general rule says."""


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The sensors to which a rule applies: those that match all of its fields. Without any field: the whole site."""

    store_house_id: ScopeId | None = None
    sensor_id: ScopeId | None = None
    sensor_name: str | None = None
    metric: str | None = None

    def includes(self, sensor: Sensor) -> bool:
        """Return whether the sensor is in this scope; an id in digits matches a number, too."""
        return (
            self.store_house_id in (None, sensor.store_house_id, str(sensor.store_house_id))
            and self.sensor_id in (None, sensor.sensor_id, str(sensor.sensor_id))
            and self.sensor_name in (None, sensor.sensor_name)
            and self.metric in (None, sensor.metric)
        )

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """The higher, the more specific."""
        names_sensor = self.sensor_id is not None or self.sensor_name is not None
        return names_sensor, self.store_house_id is not None, self.metric is not None


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What applies to the sensors of a scope: a profile, and bounds that override it."""

    scope: Scope = Scope()
    profile: Profile | None = None
    high: RuleBound = msgspec.UNSET
    high_high: RuleBound = msgspec.UNSET
    low: RuleBound = msgspec.UNSET
    low_low: RuleBound = msgspec.UNSET
    rate: RuleBound = msgspec.UNSET
    switch: RuleBound = msgspec.UNSET
    no_data: RuleBound = msgspec.UNSET

    def bounds(self, metric: str) -> dict[str, RuleBound]:
        """Return the rule's bounds for sensors of this metric, by slot."""
        of_profile = PROFILES[self.profile].get(metric, {}) if self.profile else {}
        of_rule = {slot: getattr(self, slot) for slot in SLOTS}
        return {**of_profile, **{slot: bound for slot, bound in of_rule.items() if bound is not msgspec.UNSET}}


SLOTS = {
    "high": HIGH,
    "high_high": HIGH,
    "low": LOW,
    "low_low": LOW,
    "rate": RATE,
    "switch": SWITCH,
    "no_data": NO_DATA,
}
"""The kind of alarm that each bound of a rule is for."""
SEVERE = {"high_high", "low_low", "switch"}


class Terms(msgspec.Struct, frozen=True, dict=True):
    """The limits in force for one sensor, by kind, the mildest first.

    Of `switch` the limit is the alarming state, of `no_data` the span in seconds. `holds`: the sensor reports changes
    only, so its value holds until the next.
    """

    high: tuple[Limit, ...] = ()
    low: tuple[Limit, ...] = ()
    rate: tuple[Limit, ...] = ()
    switch: tuple[Limit, ...] = ()
    no_data: tuple[Limit, ...] = ()
    holds: bool = False

    def of(self, kind: str) -> tuple[Limit, ...]:
        """The limits of a kind."""
        limits: tuple[Limit, ...] = getattr(self, kind)
        return limits

    @cached_property
    def no_data_after_s(self) -> float:
        """Seconds without a good reading that are too many; infinite where none are."""
        return self.no_data[0].limit if self.no_data else math.inf

    @cached_property
    def judged(self) -> tuple[tuple[str, tuple[Limit, ...]], ...]:
        """The kinds by which values are judged, with their limits."""
        kinds = (HIGH, LOW, RATE, SWITCH)
        return tuple((kind, self.of(kind)) for kind in kinds if self.of(kind))

    @cached_property
    def normal_range(self) -> tuple[float, float]:
        """The lowest and the highest value that are sure to violate no limit."""
        if self.rate:
            return math.inf, -math.inf
        lowest, highest = -math.inf, math.inf
        if self.switch:
            lowest = highest = 0.0 if self.switch[0].limit else 1.0
        lowest = max([lowest, *(limit.limit for limit in self.low)])
        return lowest, min([highest, *(limit.limit for limit in self.high)])

    @cached_property
    def fingerprint(self) -> int:
        """A checksum that differs for other terms and is the same in every process."""
        return crc32(msgspec.msgpack.encode(self))


_PHARMACY_HUMIDITY: dict[str, RuleBound] = {
    "low": Bound(35.0, delay="30m", hysteresis=2.0),
    "high": Bound(75.0, delay="30m", hysteresis=2.0),
}
_COLD_HUMIDITY: dict[str, RuleBound] = {"high": None}

PROFILES: Mapping[str, Mapping[str, Mapping[str, RuleBound]]] = {
    "frozen": {
        "temperature": {
            "high": Bound(-18.0, delay="1h", hysteresis=0.5),
            "high_high": Bound(-15.0, delay="30m", hysteresis=0.5),
        },
        "humidity": _COLD_HUMIDITY,
    },
    "chilled": {
        "temperature": {
            "low": Bound(0.0, delay="30m", hysteresis=0.5),
            "high": Bound(5.0, delay="30m", hysteresis=0.5),
            "high_high": Bound(8.0, delay="15m", hysteresis=0.5),
        },
        "humidity": _COLD_HUMIDITY,
    },
    "pharma_2_8": {
        "temperature": {
            "low_low": Bound(0.0, hysteresis=0.3),
            "low": Bound(2.0, delay="10m", hysteresis=0.3),
            "high": Bound(8.0, delay="10m", hysteresis=0.3),
            "high_high": Bound(15.0, hysteresis=0.3),
        },
        "humidity": _PHARMACY_HUMIDITY,
    },
    "pharma_15_25": {
        "temperature": {
            "low": Bound(15.0, delay="30m", hysteresis=0.3),
            "high": Bound(25.0, delay="30m", hysteresis=0.3),
            "high_high": Bound(30.0, delay="10m", hysteresis=0.3),
        },
        "humidity": _PHARMACY_HUMIDITY,
    },
    "general": {
        "temperature": {
            "low": Bound(3.0, delay="30m", hysteresis=0.5),
            "low_low": Bound(0.0, delay="10m", hysteresis=0.5),
            "high": Bound(35.0, delay="1h", hysteresis=0.5),
        },
        "humidity": {"high": Bound(75.0, delay="1h", hysteresis=2.0)},
    },
}
"""Ready limits for the air of a storehouse, by metric. The delays let a defrost or a delivery pass.

frozen: -18 °C or colder, and briefly 3 K more: Codex CAC/RCP 8-1976, EU directive 89/108/EEC, GB/T 24616-2019.
chilled: 41 °F (5 °C) of the FDA Food Code 3-501.16, at most 8 °C by the UK's Food Safety (Temperature Control)
Regulations 1995; below 0 °C goods freeze. Cold rooms are as damp as their goods want them, so that is no alarm there.
pharma_2_8: "refrigerator" of WHO TRS 961 annex 9 and the EU's GDP guidelines 2013/C 343/01; up to 15 °C as an
excursion by USP <659>; below 0 °C vaccines are lost at once. pharma_15_25: room temperature of WHO TRS 961 annex 9,
up to 30 °C as an excursion by USP <659>. Both with 35 to 75 % relative humidity as China's GSP (2016, article 83).
general: no standard. Frost bursts pipes and bottles; cartons weaken and mould grows in damp.
"""

DEFAULTS: Mapping[str, Mapping[str, RuleBound]] = {
    "humidity": {"high": Bound(80.0, delay="1h", hysteresis=3.0)},
    "co2": {
        "high": Bound(5_000.0, delay="5m", hysteresis=250.0),
        "high_high": Bound(30_000.0, hysteresis=1_000.0),
    },
    "pm25": {
        "high": Bound(75.0, delay="1h", hysteresis=5.0),
        "high_high": Bound(150.0, delay="30m", hysteresis=10.0),
    },
    "smoke": {"switch": Bound(1.0)},
    "water": {"switch": Bound(1.0)},
    "door": {"switch": Bound(1.0, "warning", delay="5m")},
    "power": {"switch": Bound(0.0, delay="10s")},
}
"""Bounds that apply where no rule has one, by metric. None for temperature, light and pressure: the goods decide.

humidity: above 80 % mould grows on surfaces (WHO guidelines on dampness and mould, 2009). co2: 5,000 ppm is the limit
for eight hours of work (OSHA 29 CFR 1910.1000 table Z-1), 30,000 ppm that for a quarter of an hour (ACGIH, NIOSH).
pm25: 75 µg/m³ is the daily limit of GB 3095-2012, second class; above 150 the air is heavily polluted (HJ 633-2012).
smoke, water: at once. door: what controllers of cold rooms commonly allow. power: a stand-by supply must have taken
over within 10 s (NFPA 110, type 10).
"""


def parse(data: Any) -> list[Rule]:
    """Return the rules in `data`, a list as it comes from YAML or JSON.

    Raises ValueError that says which rule is wrong, and why.
    """
    if not isinstance(data, list):
        raise ValueError("rules: must be a list")
    rules = []
    for number, item in enumerate(data, 1):
        try:
            rules.append(msgspec.convert(item, Rule))
        except msgspec.ValidationError as error:
            raise ValueError(f"rule {number}: {error}") from None
    check(rules)
    return rules


def check(rules: Sequence[Rule]) -> None:
    """Raise ValueError that says which rule is wrong, and why."""
    for number, rule in enumerate(rules, 1):
        for slot in SLOTS:
            try:
                _check_bound(slot, getattr(rule, slot))
            except ValueError as error:
                raise ValueError(f"rule {number}, {slot}: {error}") from None
        try:
            _check_order(rule)
        except ValueError as error:
            raise ValueError(f"rule {number}, {error}") from None
    scopes = Counter(rule.scope for rule in rules)
    for number, rule in enumerate(rules, 1):
        if scopes[rule.scope] > 1:
            raise ValueError(f"rule {number}: another rule has the same scope; make them one")


def _check_bound(slot: str, bound: RuleBound) -> None:
    if bound is None or isinstance(bound, msgspec.UnsetType):
        return
    limit = _limit(slot, bound, 1.0)
    if not all(map(math.isfinite, (limit.limit, limit.hysteresis))) or limit.hysteresis < 0:
        raise ValueError("limit and hysteresis must be numbers, and the hysteresis not below 0")
    if not all(0 <= span < math.inf for span in (limit.delay, limit.clear_delay, limit.reopen, limit.within)):
        raise ValueError("spans must not be below 0")
    if slot == "switch" and limit.limit not in (0, 1):
        raise ValueError("the limit is the alarming state, 0 or 1")
    if slot in ("rate", "no_data") and limit.limit <= 0:
        raise ValueError("the limit must be above 0")
    if (slot == "rate") != (limit.within > 0):
        raise ValueError("give `within`, the span of the change" if slot == "rate" else "`within` is for rate alone")


def _check_order(rule: Rule) -> None:
    for mild, severe, sign in (("high", "high_high", 1), ("low", "low_low", -1)):
        pair = [getattr(rule, slot) for slot in (mild, severe)]
        if any(bound is None or bound is msgspec.UNSET for bound in pair):
            continue
        nearer, further = (sign * _limit(mild, bound, None).limit for bound in pair)
        if nearer >= further:
            raise ValueError(f"{severe}: must lie further out than {mild}")


def terms(rules: Sequence[Rule], sensor: Sensor, *, defaults: bool = True) -> Terms:
    """Return the limits in force for a sensor; `defaults`: `DEFAULTS` apply where no rule has a bound."""
    bounds: dict[str, RuleBound] = {"no_data": Bound(), **DEFAULTS.get(sensor.metric, {})} if defaults else {}
    # Of two equally specific rules, one with an id and one with a name, the later one applies.
    for rule in sorted((rule for rule in rules if rule.scope.includes(sensor)), key=lambda rule: rule.scope.rank):
        bounds |= rule.bounds(sensor.metric)
    no_data_s = max(NO_DATA_INTERVALS * sensor.interval_s, MIN_NO_DATA_S) if sensor.interval_s else None
    kinds: dict[str, list[Limit]] = {kind: [] for kind in SLOTS.values()}
    for slot, bound in bounds.items():
        if bound is not None and not isinstance(bound, msgspec.UnsetType) and _fits(slot, bound, sensor):
            kinds[SLOTS[slot]].append(_limit(slot, bound, no_data_s))
    # high and high_high may come from two rules, and then in any order.
    kinds[HIGH].sort(key=lambda limit: limit.limit)
    kinds[LOW].sort(key=lambda limit: -limit.limit)
    return Terms(**{kind: tuple(limits) for kind, limits in kinds.items()}, holds=sensor.interval_s is None)


def _fits(slot: str, bound: Bound | float | str, sensor: Sensor) -> bool:
    if slot == "switch":
        # Power may be that of a meter.
        return not sensor.unit
    if slot == "no_data":
        has_limit = not isinstance(bound, Bound) or bound.limit is not None
        return has_limit or sensor.interval_s is not None
    # A sensor that reports changes only does not say how fast its value changed.
    return slot != "rate" or sensor.interval_s is not None


def _limit(slot: str, bound: Bound | float | str, no_data_s: float | None) -> Limit:
    if not isinstance(bound, Bound):
        bound = Bound(bound)
    limit = no_data_s if bound.limit is None and slot == "no_data" else bound.limit
    if limit is None:
        raise ValueError("a limit is missing")
    if isinstance(limit, str) and slot != "no_data":
        raise ValueError(f"the limit must be a number, not {limit!r}")
    return Limit(
        limit=_seconds(limit),
        severity=bound.severity or ("critical" if slot in SEVERE else "warning"),
        delay=_seconds(bound.delay),
        clear_delay=_seconds(bound.clear_delay),
        hysteresis=float(bound.hysteresis),
        reopen=_seconds(bound.reopen),
        within=_seconds(bound.within),
    )


def _seconds(span: Duration) -> float:
    if isinstance(span, str):
        return duration(span).total_seconds()
    return float(span)
