"""Which limits apply to which sensor, and which rules are refused."""

from typing import Any

import msgspec
import pytest

from alarms.model import Limit
from alarms.rules import DEFAULTS, PROFILES, Rule, check, parse, terms
from ask.sensors import Sensor


def sensor(metric: str = "temperature", interval_s: float | None = 60.0, unit: str = "") -> Sensor:
    return Sensor(3, 7, "冷库1 T", metric, unit, interval_s, (3, None))


SCOPES: list[dict[str, Any]] = [
    {},
    {"metric": "temperature"},
    {"store_house_id": 7},
    {"store_house_id": 7, "metric": "temperature"},
    {"sensor_name": "冷库1 T"},
]


@pytest.mark.parametrize("most", range(len(SCOPES)))
def test_the_most_specific_rule_applies_in_any_order(most: int) -> None:
    rules = [{"scope": scope, "high": index} for index, scope in enumerate(SCOPES[: most + 1])]
    for order in (rules, rules[::-1]):
        assert [limit.limit for limit in terms(parse(order), sensor()).high] == [most]


@pytest.mark.parametrize(
    "scope",
    [{"sensor_id": 4}, {"sensor_name": "other"}, {"store_house_id": 8}, {"metric": "humidity"}, {"sensor_id": "x3"}],
)
def test_a_rule_for_other_sensors_does_not_apply(scope: dict[str, Any]) -> None:
    assert terms(parse([{"scope": scope, "high": 5}]), sensor()).high == ()


def test_a_string_of_digits_matches_a_numeric_id() -> None:
    rules = parse([{"scope": {"store_house_id": "7", "sensor_id": "3"}, "high": 5}])
    assert terms(rules, sensor()).high == (Limit(5.0, "warning"),)


def test_each_kind_is_resolved_separately() -> None:
    rules = parse([{"high": 8, "low": 2}, {"scope": {"sensor_id": 3}, "high": 9}])
    limits = terms(rules, sensor())
    assert (limits.high, limits.low) == ((Limit(9.0, "warning"),), (Limit(2.0, "warning"),))


def test_null_disables_a_limit_of_a_more_general_rule() -> None:
    rules = parse([{"high": 8, "no_data": "5m"}, {"scope": {"sensor_id": 3}, "high": None, "no_data": None}])
    limits = terms(rules, sensor())
    assert (limits.high, limits.no_data) == ((), ())


def test_a_site_rule_overrides_the_defaults() -> None:
    limits = terms(parse([{"high_high": None}]), sensor("co2"))
    assert [limit.limit for limit in limits.high] == [5_000.0]


def test_the_defaults_can_be_disabled() -> None:
    limits = terms([], sensor("smoke"), defaults=False)
    assert all(limits.of(kind) == () for kind in ("high", "low", "rate", "switch", "no_data"))


def test_a_profile_applies_only_to_its_metrics() -> None:
    rules = parse([{"scope": {"store_house_id": 7}, "profile": "pharma_2_8"}])
    limits = terms(rules, sensor())
    assert [limit.limit for limit in limits.low] == [2.0, 0.0]
    assert [limit.limit for limit in limits.high] == [8.0, 15.0]
    assert [limit.limit for limit in terms(rules, sensor("humidity")).high] == [75.0]
    assert terms(rules, sensor("light")).high == ()


def test_the_limits_in_a_rule_override_its_profile() -> None:
    limits = terms(parse([{"profile": "chilled", "high": 6, "low": None}]), sensor())
    assert ([limit.limit for limit in limits.high], limits.low) == ([6.0, 8.0], ())


def test_the_frozen_profile_removes_the_humidity_limit() -> None:
    assert terms(parse([{"profile": "frozen"}]), sensor("humidity")).high == ()
    assert terms([], sensor("humidity")).high != ()


def test_temperature_has_no_default_limits() -> None:
    limits = terms([], sensor())
    assert (limits.high, limits.low, limits.rate) == ((), (), ())


@pytest.mark.parametrize(("interval_s", "limit_s"), [(1.0, 180.0), (60.0, 180.0), (900.0, 2700.0)])
def test_the_no_data_default_is_three_intervals_with_a_minimum(interval_s: float, limit_s: float) -> None:
    assert terms([], sensor(interval_s=interval_s)).no_data_after_s == limit_s


def test_a_sensor_without_interval_needs_an_explicit_no_data_limit() -> None:
    reporting_changes = sensor("door", None)
    assert terms([], reporting_changes).no_data == ()
    assert terms(parse([{"no_data": {"severity": "info"}}]), reporting_changes).no_data == ()
    assert terms(parse([{"no_data": "1d"}]), reporting_changes).no_data_after_s == 86_400.0


def test_a_no_data_rule_without_limit_keeps_the_default_limit() -> None:
    limits = terms(parse([{"no_data": {"severity": "critical"}}]), sensor())
    assert limits.no_data == (Limit(180.0, "critical"),)


@pytest.mark.parametrize(("metric", "state"), [("smoke", 1.0), ("water", 1.0), ("door", 1.0), ("power", 0.0)])
def test_a_switch_has_a_default_alarm_state(metric: str, state: float) -> None:
    assert [limit.limit for limit in terms([], sensor(metric)).switch] == [state]


def test_power_in_kilowatts_is_not_a_switch() -> None:
    assert terms([], sensor("power", unit="kW")).switch == ()


def test_a_rate_limit_requires_a_sensor_interval() -> None:
    rules = parse([{"rate": {"limit": 4, "within": "10m"}}])
    assert [(limit.limit, limit.within) for limit in terms(rules, sensor()).rate] == [(4.0, 600.0)]
    assert terms(rules, sensor(interval_s=None)).rate == ()


def test_limits_of_several_rules_are_sorted_mildest_first() -> None:
    rules = parse([{"high_high": 4, "low_low": 1}, {"scope": {"sensor_id": 3}, "high": 8, "low": 0}])
    limits = terms(rules, sensor())
    assert [limit.limit for limit in limits.high] == [4.0, 8.0]
    assert [limit.limit for limit in limits.low] == [1.0, 0.0]


def test_a_duration_is_in_seconds_or_has_a_unit() -> None:
    rules = parse([{"high": {"limit": 5, "delay": "45m", "clear_delay": 30, "reopen": "1.5h"}}])
    (limit,) = terms(rules, sensor()).high
    assert (limit.delay, limit.clear_delay, limit.reopen) == (2700.0, 30.0, 5400.0)


def test_a_rule_survives_a_json_round_trip() -> None:
    data = [{"scope": {"sensor_id": 3}, "profile": "frozen", "high": {"limit": -17.0, "delay": "45m"}, "low": None}]
    assert msgspec.json.decode(msgspec.json.encode(parse(data))) == data


def test_different_terms_have_different_fingerprints() -> None:
    first, second = (terms(parse([{"high": limit}]), sensor()) for limit in (5, 6))
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == terms(parse([{"high": 5}]), sensor()).fingerprint


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"high": "5m"}, "rule 1, high: the limit must be a number, not '5m'"),
        ({"high": {"delay": "45m"}}, "rule 1, high: the limit is missing"),
        ({"high": {"limit": 5, "dely": "45m"}}, "rule 1: Object contains unknown field `dely`"),
        ({"high": {"limit": 5, "delay": "45"}}, "rule 1, high: '45' is not a valid duration; use 90s"),
        ({"high": {"limit": 5, "delay": -1}}, "rule 1, high: delay, clear_delay, reopen and within must be 0"),
        ({"high": {"limit": 5, "hysteresis": -1}}, "the hysteresis must be 0 or more"),
        ({"high": {"limit": 5, "severity": "bad"}}, "Invalid enum value 'bad'"),
        ({"high": {"limit": 5, "within": 60}}, "remove `within`: only rate has it"),
        ({"high": float("nan")}, "must be finite numbers"),
        ({"high": 5, "high_high": 5}, "rule 1, high_high: must be above high"),
        ({"low": 5, "low_low": 6}, "rule 1, low_low: must be below low"),
        ({"rate": 4}, "rule 1, rate: `within` is required"),
        ({"switch": 2}, "rule 1, switch: the limit must be 0 or 1"),
        ({"no_data": 0}, "rule 1, no_data: the limit must be above 0"),
        ({"profile": "icy"}, "Invalid enum value 'icy'"),
        ({"hgih": 5}, "unknown field `hgih`"),
        ({"scope": {"sensor": 5}}, "unknown field `sensor`"),
    ],
)
def test_an_invalid_rule_is_refused_with_the_reason(rule: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match="rule 1") as refused:
        parse([rule])
    assert why in str(refused.value)


def test_two_rules_for_the_same_scope_are_refused() -> None:
    with pytest.raises(ValueError, match="rule 1: another rule has the same scope"):
        check([Rule(high=5.0), Rule(low=1.0)])


def test_rules_must_be_a_list() -> None:
    with pytest.raises(ValueError, match="must be a list"):
        parse({"high": 5})


def test_the_defaults_and_profiles_are_valid_rules() -> None:
    for fields in (*DEFAULTS.values(), *(bounds for profile in PROFILES.values() for bounds in profile.values())):
        check([msgspec.structs.replace(Rule(), **fields)])
