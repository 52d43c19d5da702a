"""A storehouse at a glance: how it is, and the few readings that say most. Pure."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from statistics import median

from alarm_service.site_alarm_changes import is_open
from ask.answers import Alarm, Env, Id, OpenAlarms, OverviewStorehouse, Storehouse
from ask.sensors import Sensor

MOST_ENVS = 4
SEVERITIES = ("info", "warning", "critical")
"""From the least to the worst."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)


def counts(alarm: Alarm) -> bool:
    """Return whether an alarm is open, and not only pending."""
    return is_open(alarm) and alarm.state != "pending"


def severity(alarm: Alarm) -> str:
    """Return how severe an alarm is; a site may have words of its own for that."""
    return alarm.severity if alarm.severity in SEVERITIES else "warning"


def glance(
    storehouse: Storehouse, envs: Sequence[Env], alarms: Collection[Alarm], spark: list[float | None]
) -> OverviewStorehouse:
    """Return the storehouse with these newest readings, these open alarms, and these means."""
    worst = max((alarm.severity for alarm in alarms), key=_rank, default=None)
    unacknowledged = sum(not alarm.acknowledged for alarm in alarms)
    return OverviewStorehouse(
        storehouse.store_house_id,
        storehouse.store_house_name,
        storehouse.time_zone,
        _state(worst, envs),
        chosen(envs, {alarm.sensor_id for alarm in alarms if alarm.sensor_id is not None}),
        OpenAlarms(len(alarms), unacknowledged, worst),
        spark,
    )


def chosen(envs: Iterable[Env], alarmed: Collection[Id]) -> list[Env]:
    """Return of each metric the reading that says most, at most four: those of the `alarmed` sensors first."""
    of_metric: dict[str, list[Env]] = {}
    for env in envs:
        of_metric.setdefault(env.metric, []).append(env)
    found = [_chosen(each, alarmed) for each in of_metric.values()]
    return sorted(found, key=lambda env: env.sensor_id not in alarmed)[:MOST_ENVS]


def _chosen(envs: list[Env], alarmed: Collection[Id]) -> Env:
    """The good one furthest from the middle, of an alarmed sensor if there is one; where none is good, the newest."""
    good = [env for env in envs if env.quality == "good"]
    if not good:
        return max(envs, key=lambda env: env.time or LONG_AGO)
    middle = median(env.value or 0.0 for env in good)

    def weight(env: Env) -> tuple[bool, float, float]:
        value = env.value or 0.0
        return env.sensor_id in alarmed, abs(value - middle), value

    return max(good, key=weight)


def spark_of(sensors: Sequence[Sensor]) -> Sensor | None:
    """Return the sensor whose last hours are drawn: the first of temperature, else the first."""
    return next((one for one in sensors if one.metric == "temperature"), sensors[0] if sensors else None)


def _state(worst: str | None, envs: Sequence[Env]) -> str:
    if worst is not None:
        return worst if worst in SEVERITIES else "warning"  # a site may have words of its own
    if not envs:
        return "empty"
    return "good" if all(env.quality == "good" for env in envs) else "stale"


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else SEVERITIES.index("warning")
