"""Computes the summary of a storehouse in the overview: its state and its most important readings."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from statistics import median

from ask.answers import Alarm, Env, Id, OpenAlarms, OverviewStorehouse, Storehouse, StorehouseState
from ask.sensors import Sensor
from common.severity import SEVERITIES, WARNING_RANK, Severity, rank

MOST_ENVS = 4
LONG_AGO = datetime.min.replace(tzinfo=UTC)


def is_raised(alarm: Alarm) -> bool:
    """Return whether an alarm is open and no longer pending."""
    return alarm.is_open and alarm.state != "pending"


def severity(alarm: Alarm) -> Severity:
    """Return the severity of an alarm. An unknown word from the site's own alarm system counts as `warning`."""
    return _or_warning(alarm.severity)


def storehouse_summary(
    storehouse: Storehouse, envs: Sequence[Env], alarms: Collection[Alarm], spark: list[float | None]
) -> OverviewStorehouse:
    """Summarise a storehouse from its newest readings, open alarms and hourly means."""
    worst = max((alarm.severity for alarm in alarms), key=_rank, default=None)
    unacknowledged = sum(not alarm.acknowledged for alarm in alarms)
    return OverviewStorehouse(
        storehouse.store_house_id,
        storehouse.store_house_name,
        storehouse.time_zone,
        _state(worst, envs),
        selected_envs(envs, {alarm.sensor_id for alarm in alarms if alarm.sensor_id is not None}),
        OpenAlarms(len(alarms), unacknowledged, worst),
        spark,
    )


def selected_envs(envs: Iterable[Env], alarmed: Collection[Id]) -> list[Env]:
    """Return one reading of each metric, at most four in all. Readings of `alarmed` sensors come first."""
    of_metric: dict[str, list[Env]] = {}
    for env in envs:
        of_metric.setdefault(env.metric, []).append(env)
    selected = [_select(of_one_metric, alarmed) for of_one_metric in of_metric.values()]
    return sorted(selected, key=lambda env: env.sensor_id not in alarmed)[:MOST_ENVS]


def _select(envs: list[Env], alarmed: Collection[Id]) -> Env:
    """Return the good reading furthest from the median, if possible of an alarmed sensor.

    If no reading is good, return the newest.
    """
    good = [env for env in envs if env.quality == "good"]
    if not good:
        return max(envs, key=lambda env: env.time or LONG_AGO)
    middle = median(env.value or 0.0 for env in good)

    def weight(env: Env) -> tuple[bool, float, float]:
        value = env.value or 0.0
        return env.sensor_id in alarmed, abs(value - middle), value

    return max(good, key=weight)


def spark_sensor(sensors: Sequence[Sensor]) -> Sensor | None:
    """Return the sensor of the sparkline: the first temperature sensor, or the first sensor if there is none."""
    return next((sensor for sensor in sensors if sensor.metric == "temperature"), sensors[0] if sensors else None)


def _state(worst: str | None, envs: Sequence[Env]) -> StorehouseState:
    if worst is not None:
        return _or_warning(worst)
    if not envs:
        return "empty"
    return "good" if all(env.quality == "good" for env in envs) else "stale"


def _or_warning(severity: str) -> Severity:
    """Return the severity, or "warning" for an unknown word from the site's own alarm system."""
    return SEVERITIES[_rank(severity)]


def _rank(severity: str) -> int:
    return rank(severity, unknown=WARNING_RANK)
