"""Alarm rules: which limits apply to which sensor.

Rules have the same format in the settings, in Storewatch's own tables and in events. A rule sets bounds for the sensors
in its scope. A bound is a limit with its delays and hysteresis, such as `high` or `high_high`. If several rules set the
same bound for a sensor, the bound in the most specific of these rules applies. From most to least specific, the scopes
are: sensor, storehouse and metric, storehouse, metric, whole site. A default bound applies if no rule sets this bound.
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
from errors import Reason
from settings import duration

NO_DATA_INTERVALS = 3
"""The default no-data limit of a sensor is its reporting interval, multiplied by this number."""
MIN_NO_DATA_S = 180.0
"""The default no-data limit of a sensor is at least this number of seconds."""

Duration = float | str
"""A number of seconds, or a text such as 90s, 15m, 1h or 2d."""
Profile = Literal["frozen", "chilled", "pharma_2_8", "pharma_15_25", "general"]


ScopeId = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str
"""The id of a storehouse or sensor in the scope of a rule. A number must fit into 64 bits.

Rules are stored as JSON in the database, and some JSON parsers cannot read longer numbers.
"""


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A limit with its delays and hysteresis, in the format in which users write it in a rule."""

    limit: Duration | None = None
    """The limit, in the sensor's unit.

    For a switch, it is the state that raises the alarm, 0 or 1. For no data, it is the longest allowed time without a
    reading.
    """
    severity: Severity | None = None
    """Severity of the alarm. Default: critical for `high_high`, `low_low` and `switch`, otherwise warning."""
    delay: Duration = 0.0
    clear_delay: Duration = 0.0
    hysteresis: float = 0.0
    reopen: Duration = 600.0
    within: Duration = 0.0


RuleBound = Bound | float | str | None | msgspec.UnsetType
"""The value of a bound such as `high` in a rule: a `Bound`, only its limit, None, or UNSET.

None turns the bound off. UNSET means that the rule does not set the bound, so a more general rule may set it.
"""


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The sensors to which a rule applies. A sensor must match every field that is set.

    A scope without any field matches all sensors.
    """

    store_house_id: ScopeId | None = None
    sensor_id: ScopeId | None = None
    sensor_name: str | None = None
    metric: str | None = None

    def includes(self, sensor: Sensor) -> bool:
        """Return whether the sensor is in this scope. The text `7` in the scope also matches the number 7 as an id."""
        return (
            self.store_house_id in (None, sensor.store_house_id, str(sensor.store_house_id))
            and self.sensor_id in (None, sensor.sensor_id, str(sensor.sensor_id))
            and self.sensor_name in (None, sensor.sensor_name)
            and self.metric in (None, sensor.metric)
        )

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """Sort key of a scope. A more specific scope has a larger sort key."""
        names_sensor = self.sensor_id is not None or self.sensor_name is not None
        return names_sensor, self.store_house_id is not None, self.metric is not None


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An alarm rule for the sensors in a scope.

    The rule may use a profile of predefined limits. The limits of the rule itself override the limits of the profile.
    """

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
        """Return the bounds that the rule and its profile set for sensors of this metric.

        A bound is a limit with its delays and hysteresis. The keys are the names `high`, `high_high` and so on.
        """
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
"""The names under which a rule can set limits, each with the kind of alarm that the limit raises."""
SEVERE = {"high_high", "low_low", "switch"}
"""The names of limits in a rule whose alarms are critical by default."""


class Terms(msgspec.Struct, frozen=True, dict=True):
    """The limits in force for one sensor, by kind of alarm. The limits of each kind are ordered, the mildest first.

    The limit of `switch` is the state that raises the alarm. The limit of `no_data` is a time in seconds. `holds` is
    true if the sensor only reports changes. The value of such a sensor is valid until the next reading.
    """

    high: tuple[Limit, ...] = ()
    low: tuple[Limit, ...] = ()
    rate: tuple[Limit, ...] = ()
    switch: tuple[Limit, ...] = ()
    no_data: tuple[Limit, ...] = ()
    holds: bool = False

    def of(self, kind: str) -> tuple[Limit, ...]:
        """Return the limits of a kind of alarm."""
        limits: tuple[Limit, ...] = getattr(self, kind)
        return limits

    @cached_property
    def no_data_after_s(self) -> float:
        """No-data limit of the sensor, in seconds; infinite if the sensor has no such limit."""
        return self.no_data[0].limit if self.no_data else math.inf

    @cached_property
    def judged(self) -> tuple[tuple[str, tuple[Limit, ...]], ...]:
        """Kinds of alarm that depend on values, each with its limits. Kinds without a limit are left out."""
        kinds = (HIGH, LOW, RATE, SWITCH)
        return tuple((kind, self.of(kind)) for kind in kinds if self.of(kind))

    @cached_property
    def normal_range(self) -> tuple[float, float]:
        """Lowest and highest value of a range in which no value violates a limit.

        The range is empty if the rate of change has a limit.
        """
        if self.rate:
            return math.inf, -math.inf
        lowest, highest = -math.inf, math.inf
        if self.switch:
            lowest = highest = 0.0 if self.switch[0].limit else 1.0
        lowest = max([lowest, *(limit.limit for limit in self.low)])
        return lowest, min([highest, *(limit.limit for limit in self.high)])

    @cached_property
    def fingerprint(self) -> int:
        """Checksum of the limits. It is the same in every process, and it changes if the limits change."""
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
"""Predefined limits for the air of a storehouse, by profile and metric. The delays tolerate a defrost or a delivery.

- frozen: -18 °C or colder, with short excursions of up to 3 K. Sources: Codex CAC/RCP 8-1976, EU directive 89/108/EEC,
  GB/T 24616-2019.
- chilled: 5 °C (41 °F) is from FDA Food Code 3-501.16. The maximum of 8 °C is from the UK's Food Safety (Temperature
  Control) Regulations 1995. Goods freeze below 0 °C.
- frozen and chilled have no humidity limit, because the goods determine the humidity of a cold room.
- pharma_2_8: "refrigerator" in WHO TRS 961 annex 9 and in the EU's GDP guidelines 2013/C 343/01. USP <659> allows
  excursions up to 15 °C. Below 0 °C vaccines are destroyed immediately.
- pharma_15_25: room temperature in WHO TRS 961 annex 9. USP <659> allows excursions up to 30 °C.
- pharma_2_8 and pharma_15_25 limit relative humidity to 35 to 75 %, as China's GSP does (2016, article 83).
- general: not from a standard. Frost bursts pipes and bottles. In damp air, cartons weaken and mould grows.
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
"""Default limits by metric. A default limit such as `high` applies if no rule sets this limit.

Temperature, light and pressure have no defaults, because their limits depend on the goods.

- humidity: above 80 % mould grows on surfaces (WHO guidelines on dampness and mould, 2009).
- co2: 5,000 ppm is the limit for eight hours of work (OSHA 29 CFR 1910.1000 table Z-1). 30,000 ppm is the limit for 15
  minutes (ACGIH, NIOSH).
- pm25: 75 µg/m³ is the daily limit of GB 3095-2012, second class. Above 150 µg/m³ the air is heavily polluted (HJ
  633-2012).
- smoke, water: the alarm is raised without a delay.
- door: a delay of 5 minutes is common in controllers of cold rooms.
- power: the delay is 10 s, because a stand-by supply must take over within 10 s (NFPA 110, type 10).
"""


class InvalidRule(ValueError):
    """The error for an invalid rule. The message names the rule.

    `reason` is the kind of error. A browser builds a sentence in the user's language from `reason` and `values`.
    """

    def __init__(self, message: str, reason: Reason = "invalid_rule", **values: float | str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.values = values


def parse(data: Any) -> list[Rule]:
    """Convert `data`, a list that was decoded from YAML or JSON, to rules.

    Raise `InvalidRule`, a subclass of ValueError, if the data is invalid. The message names the rule and the reason.
    """
    if not isinstance(data, list):
        raise InvalidRule("rules must be a list")
    rules = []
    for number, item in enumerate(data, 1):
        try:
            rules.append(msgspec.convert(item, Rule))
        except msgspec.ValidationError as error:
            raise InvalidRule(f"rule {number}: {error}") from None
    check(rules)
    return rules


def check(rules: Sequence[Rule]) -> None:
    """Raise `InvalidRule` if a rule is invalid, or if two rules have the same scope."""
    for number, rule in enumerate(rules, 1):
        for slot in SLOTS:
            try:
                _check_bound(slot, getattr(rule, slot))
            except ValueError as error:
                raise InvalidRule(f"rule {number}, {slot}: {error}", "invalid_limit", limit=slot) from None
        _check_order(number, rule)
    scopes = Counter(rule.scope for rule in rules)
    for number, rule in enumerate(rules, 1):
        if scopes[rule.scope] > 1:
            message = f"rule {number}: another rule has the same scope; combine the two rules into one"
            raise InvalidRule(message, "same_scope")


def _check_bound(slot: str, bound: RuleBound) -> None:
    if bound is None or isinstance(bound, msgspec.UnsetType):
        return
    limit = _limit(slot, bound, 1.0)
    if not all(map(math.isfinite, (limit.limit, limit.hysteresis))) or limit.hysteresis < 0:
        raise ValueError("limit and hysteresis must be finite numbers, and the hysteresis must be 0 or more")
    if not all(0 <= span < math.inf for span in (limit.delay, limit.clear_delay, limit.reopen, limit.within)):
        raise ValueError("delay, clear_delay, reopen and within must be 0 or more")
    if slot == "switch" and limit.limit not in (0, 1):
        raise ValueError("the limit must be 0 or 1: the state that raises the alarm")
    if slot in ("rate", "no_data") and limit.limit <= 0:
        raise ValueError("the limit must be above 0")
    if (slot == "rate") != (limit.within > 0):
        required = "`within` is required: the time span of the change"
        raise ValueError(required if slot == "rate" else "remove `within`: only rate has it")


def _check_order(number: int, rule: Rule) -> None:
    for mild, severe, sign in (("high", "high_high", 1), ("low", "low_low", -1)):
        pair = [getattr(rule, slot) for slot in (mild, severe)]
        if any(bound is None or bound is msgspec.UNSET for bound in pair):
            continue
        nearer, further = (sign * _limit(mild, bound, None).limit for bound in pair)
        if nearer >= further:
            raise InvalidRule(
                f"rule {number}, {severe}: must be {'above' if sign > 0 else 'below'} {mild}",
                "high_high_not_above_high" if sign > 0 else "low_low_not_below_low",
            )


def terms(rules: Sequence[Rule], sensor: Sensor, *, defaults: bool = True) -> Terms:
    """Return the limits in force for a sensor.

    If `defaults` is true, default limits apply where no rule sets a limit.
    """
    bounds: dict[str, RuleBound] = {"no_data": Bound(), **DEFAULTS.get(sensor.metric, {})} if defaults else {}
    # If two rules are equally specific (one names the sensor's id, the other its name), the later rule applies.
    for rule in sorted((rule for rule in rules if rule.scope.includes(sensor)), key=lambda rule: rule.scope.rank):
        bounds |= rule.bounds(sensor.metric)
    no_data_s = max(NO_DATA_INTERVALS * sensor.interval_s, MIN_NO_DATA_S) if sensor.interval_s else None
    kinds: dict[str, list[Limit]] = {kind: [] for kind in SLOTS.values()}
    for slot, bound in bounds.items():
        if bound is not None and not isinstance(bound, msgspec.UnsetType) and _fits(slot, bound, sensor):
            kinds[SLOTS[slot]].append(_limit(slot, bound, no_data_s))
    # high and high_high may come from two rules, and therefore be in any order.
    kinds[HIGH].sort(key=lambda limit: limit.limit)
    kinds[LOW].sort(key=lambda limit: -limit.limit)
    return Terms(**{kind: tuple(limits) for kind, limits in kinds.items()}, holds=sensor.interval_s is None)


def _fits(slot: str, bound: Bound | float | str, sensor: Sensor) -> bool:
    if slot == "switch":
        # A sensor with a unit is not a switch: for example, the metric power may come from a meter, in kW.
        return not sensor.unit
    if slot == "no_data":
        has_limit = not isinstance(bound, Bound) or bound.limit is not None
        return has_limit or sensor.interval_s is not None
    # If a sensor only reports changes, the rate of change between two readings is unknown.
    return slot != "rate" or sensor.interval_s is not None


def _limit(slot: str, bound: Bound | float | str, no_data_s: float | None) -> Limit:
    if not isinstance(bound, Bound):
        bound = Bound(bound)
    limit = no_data_s if bound.limit is None and slot == "no_data" else bound.limit
    if limit is None:
        raise ValueError("the limit is missing")
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
