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
    """Return the severity of an alarm.

    If the site's own alarm system uses an unknown word for the severity, return `warning`.
    """
    return _or_warning(alarm.severity)


def storehouse_summary(
    storehouse: Storehouse, envs: Sequence[Env], alarms: Collection[Alarm], spark: list[float | None]
) -> OverviewStorehouse:
    """Return the overview's summary of a storehouse: name, state, some readings, open alarms and hourly means."""
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
    """Return one reading for each metric, but at most four readings.

    Readings of the sensors in `alarmed` (sensors with an open alarm) come first.
    """
    of_metric: dict[str, list[Env]] = {}
    for env in envs:
        of_metric.setdefault(env.metric, []).append(env)
    selected = [_select(of_one_metric, alarmed) for of_one_metric in of_metric.values()]
    return sorted(selected, key=lambda env: env.sensor_id not in alarmed)[:MOST_ENVS]


def _select(envs: list[Env], alarmed: Collection[Id]) -> Env:
    """Return the reading that the overview shows for a metric.

    Candidates are the good readings of sensors with an open alarm. If there are none, all good readings are candidates.
    Return the candidate whose value is furthest from the median of all good readings. If no reading is good, return the
    newest reading.
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
    """Return the sensor whose values the sparkline (small chart) of a storehouse shows.

    This is the first temperature sensor. If there is no temperature sensor, it is the first sensor.
    """
    return next((sensor for sensor in sensors if sensor.metric == "temperature"), sensors[0] if sensors else None)


def _state(worst: str | None, envs: Sequence[Env]) -> StorehouseState:
    if worst is not None:
        return _or_warning(worst)
    if not envs:
        return "empty"
    return "good" if all(env.quality == "good" for env in envs) else "stale"


def _or_warning(severity: str) -> Severity:
    """Return the severity. For an unknown word from the site's own alarm system, return `warning`."""
    return SEVERITIES[_rank(severity)]


def _rank(severity: str) -> int:
    return rank(severity, unknown=WARNING_RANK)
