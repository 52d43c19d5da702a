"""The command `python -m alarms noise`: counts nuisance alarms and recommends settings that prevent them.

A nuisance alarm is a short alarm that nobody acknowledged. A recommended setting is a delay, a hysteresis or a
no-data limit.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec

import settings as settings_module
from alarms.commands.databases import Databases, open_databases
from alarms.model import DISMISSED, HIGH, LOW, NO_DATA, PENDING, WITHDRAWN, Limit
from alarms.notices import is_muted
from alarms.nuisance import AlarmOccurrence, NuisanceAlarms, Recommendation, nuisance_alarms
from ask import episodes, journal, sensors, storehouses
from ask.answers import Alarm
from ask.buckets import Frame
from ask.history import buckets
from ask.sensors import Sensor
from cli import add_config
from common import clock

MAX_ALARMS = 100_000
"""Maximum number of alarms that the command reads for each storehouse."""
SOON_S = 3600.0
"""If at most this number of seconds is between two alarms, a larger hysteresis could have made them one alarm."""


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "noise",
        help="find nuisance alarms and how to prevent them",
        description="Print the number of alarms and of nuisance alarms (short, never acknowledged) of each sensor, and "
        "the delay or hysteresis that would have prevented the most nuisance alarms.",
    )
    add_config(parser)
    parser.add_argument("--days", type=_positive, default=30, help="number of days to look back (%(default)s)")
    parser.add_argument(
        "--minutes", type=_positive, default=10, help="a nuisance alarm is shorter than this (%(default)s)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the report of nuisance alarms. Raise `UsageError` if the command cannot be run."""
    settings, origin = settings_module.load(options.config)
    with open_databases(settings, origin) as databases:
        alarms = list(_occurrences(databases, clock.now() - timedelta(days=options.days)))
    print("\n".join(report(nuisance_alarms(alarms, options.minutes * 60.0), options)))
    return 0


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 3660:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and at most 3660")
    return number


def _occurrences(databases: Databases, since: datetime) -> Iterator[AlarmOccurrence]:
    for storehouse in storehouses.all_storehouses(databases.readings, databases.subjects):
        of_storehouse = sensors.sensors(databases.readings, databases.subjects, storehouse.store_house_id)
        sensor_of = {(sensor.sensor_id, sensor.metric): sensor for sensor in of_storehouse}
        alarms = [*filter(was_shown, episodes.since(databases.state, storehouse.store_house_id, since, MAX_ALARMS))]
        acknowledged = journal.ever_acknowledged(databases.state, [alarm.alarm_id for alarm in alarms])
        groups: dict[tuple[Any, ...], list[Alarm]] = {}
        for alarm in sorted(alarms, key=_since):
            groups.setdefault((alarm.sensor_id, alarm.metric, alarm.kind), []).append(alarm)
        for (sensor_id, metric, _), group in groups.items():
            sensor = sensor_of.get((sensor_id, metric))
            name = f"{storehouse.store_house_name}, {group[0].sensor_name or 'the whole storehouse'}"
            insides = [None, *(_inside_by(databases, sensor, *pair) for pair in pairwise(group))]
            for alarm, inside_by in zip(group, insides, strict=True):
                yield _occurrence(name, alarm, alarm.alarm_id in acknowledged, sensor, inside_by)


def was_shown(alarm: Alarm) -> bool:
    """Return True if the alarm was raised and is neither dismissed, withdrawn, muted nor a test alarm."""
    was_raised = alarm.state != PENDING and alarm.transition not in (DISMISSED, WITHDRAWN)
    return was_raised and not is_muted(alarm) and alarm.drill is not True


def _occurrence(
    name: str, alarm: Alarm, acknowledged: bool, sensor: Sensor | None, inside_by: float | None
) -> AlarmOccurrence:
    return AlarmOccurrence(
        name,
        alarm.kind,
        _since(alarm).timestamp(),
        alarm.raised.timestamp(),
        None if alarm.cleared is None else alarm.cleared.timestamp(),
        acknowledged,
        _limit(alarm),
        (sensor.interval_s if sensor else None) or 0.0,
        inside_by,
    )


def _since(alarm: Alarm) -> datetime:
    return alarm.since if isinstance(alarm.since, datetime) else alarm.raised


def _limit(alarm: Alarm) -> Limit:
    limits = msgspec.convert(alarm.limits, tuple[Limit, ...])
    return next((limit for limit in limits if limit.limit == alarm.limit), limits[0])


def _inside_by(databases: Databases, sensor: Sensor | None, before: Alarm, alarm: Alarm) -> float | None:
    """Return how far the values went back inside the limit between two alarms of one kind.

    Return None if the distance is unknown, or if more than `SOON_S` seconds are between the two alarms.
    """
    if sensor is None or before.cleared is None or alarm.kind not in (HIGH, LOW):
        return None
    start, end = before.cleared.timestamp(), _since(alarm).timestamp()
    if not 0 < end - start <= SOON_S:
        return None
    frame = Frame(int(start), int(end), 1)
    by_sensor = buckets(databases.readings, databases.subjects, [sensor], frame, clock.now())
    values = [value for bucket in by_sensor.get(sensor.key, {}).values() for value in (bucket.min, bucket.max)]
    if not values:
        return None
    limit = _limit(before).limit
    return limit - min(values) if alarm.kind == HIGH else max(values) - limit


def report(summaries: Sequence[NuisanceAlarms], options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the report of nuisance alarms."""
    alarms, nuisances = sum(summary.alarms for summary in summaries), sum(summary.nuisances for summary in summaries)
    yield (
        f"{alarms:,} alarms in the last {options.days:g} d; {nuisances:,} nuisance alarms: "
        f"shorter than {options.minutes:g} min, never acknowledged"
    )
    for summary in summaries:
        recommendations = "".join(f"; {words}" for words in _recommendations(summary))
        counts = f"{summary.nuisances:,} nuisance alarms"
        yield f"{summary.alarms:>6,}  {summary.sensor}, {summary.kind}: {counts}{recommendations}"


def _recommendations(summary: NuisanceAlarms) -> Iterable[str]:
    delay = "a no_data limit of" if summary.kind == NO_DATA else "a delay of"
    if summary.delay is not None:
        yield f"{delay} {summary.delay.value / 60:g}m {_effect(summary.delay)}"
    if summary.hysteresis is not None:
        yield f"a hysteresis of {summary.hysteresis.value:g} {_effect(summary.hysteresis)}"


def _effect(recommendation: Recommendation) -> str:
    return f"would have prevented {recommendation.prevented:,}"
