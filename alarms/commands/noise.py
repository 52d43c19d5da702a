"""`python -m alarms noise`: which alarms of the past weeks nobody needed, and what would have silenced them."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import sqlalchemy as sa

import settings as settings_module
from alarms.commands.databases import reading
from alarms.model import DISMISSED, HIGH, LOW, NO_DATA, PENDING, WITHDRAWN, Limit
from alarms.nuisance import Advice, AlarmOccurrence, Nuisance, noise
from ask import episodes, sensors, storehouses
from ask.answers import Alarm
from ask.buckets import Frame
from ask.history import buckets
from ask.sensors import Sensor
from ask.subjects import Subjects
from cli import add_config
from common import clock

MOST = 100_000
"""Alarms of a storehouse that are looked at."""
SOON_S = 3600.0
"""An alarm that came so soon after the one before might have been the same one."""


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "noise",
        help="which alarms nobody needed",
        description="Tell which sensors ring most, which of their alarms nobody needed (short, never acknowledged), "
        "and what delay or hysteresis would have silenced these without missing a longer one.",
    )
    add_config(parser)
    parser.add_argument("--days", type=_positive, default=30, help="how far to look back (%(default)s)")
    parser.add_argument("--minutes", type=_positive, default=10, help="what is short (%(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what rings; raises `UsageError`."""
    settings, origin = settings_module.load(options.config)
    with reading(settings, origin) as (kept, connection, found):
        rungs = list(_rungs(kept, connection, found, clock.now() - timedelta(days=options.days)))
    print("\n".join(report(noise(rungs, options.minutes * 60.0), options)))
    return 0


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 3660:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _rungs(
    kept: sa.Connection, connection: sa.Connection, found: Subjects, since: datetime
) -> Iterator[AlarmOccurrence]:
    for place in storehouses.all_storehouses(connection, found):
        known = {(one.sensor_id, one.metric): one for one in sensors.sensors(connection, found, place.store_house_id)}
        rang = [alarm for alarm in episodes.since(kept, place.store_house_id, since, MOST) if has_rung(alarm)]
        groups: dict[tuple[Any, ...], list[Alarm]] = {}
        for alarm in sorted(rang, key=_since):
            groups.setdefault((alarm.sensor_id, alarm.metric, alarm.kind), []).append(alarm)
        for (sensor_id, metric, _), group in groups.items():
            sensor = known.get((sensor_id, metric))
            name = f"{place.store_house_name}, {group[0].sensor_name or 'the whole storehouse'}"
            insides = [None, *(_inside(connection, found, sensor, *pair) for pair in pairwise(group))]
            for alarm, inside in zip(group, insides, strict=True):
                yield _rung(name, alarm, sensor, inside)


def has_rung(alarm: Alarm) -> bool:
    """Whether somebody may have been disturbed by it."""
    quiet = alarm.late is True or alarm.silenced is True or alarm.drill is True or isinstance(alarm.cause, str)
    return not quiet and alarm.state != PENDING and alarm.transition not in (DISMISSED, WITHDRAWN)


def _rung(name: str, alarm: Alarm, sensor: Sensor | None, inside: float | None) -> AlarmOccurrence:
    return AlarmOccurrence(
        name,
        alarm.kind,
        _since(alarm).timestamp(),
        alarm.raised.timestamp(),
        None if alarm.cleared is None else alarm.cleared.timestamp(),
        alarm.acknowledged,
        _limit(alarm),
        (sensor.interval_s if sensor else None) or 0.0,
        inside,
    )


def _since(alarm: Alarm) -> datetime:
    return alarm.since if isinstance(alarm.since, datetime) else alarm.raised


def _limit(alarm: Alarm) -> Limit:
    limits = msgspec.convert(alarm.limits, tuple[Limit, ...])
    return next((each for each in limits if each.limit == alarm.limit), limits[0])


def _inside(
    connection: sa.Connection, found: Subjects, sensor: Sensor | None, before: Alarm, alarm: Alarm
) -> float | None:
    """How far inside the limit values have been between two alarms of a kind; None if nobody knows, or for long."""
    if sensor is None or before.cleared is None or alarm.kind not in (HIGH, LOW):
        return None
    start, end = before.cleared.timestamp(), _since(alarm).timestamp()
    if not 0 < end - start <= SOON_S:
        return None
    between = buckets(connection, found, [sensor], Frame(int(start), int(end), 1), clock.now())
    values = [value for one in between.get(sensor.key, {}).values() for value in (one.min, one.max)]
    if not values:
        return None
    limit = _limit(before).limit
    return limit - min(values) if alarm.kind == HIGH else max(values) - limit


def report(found: Sequence[Nuisance], options: argparse.Namespace) -> Iterator[str]:
    """Return the lines that say it."""
    rung, unneeded = (sum(getattr(one, name) for one in found) for name in ("rung", "unneeded"))
    yield (
        f"{rung:,} alarms in the last {options.days:g} d; {unneeded:,} that nobody needed: "
        f"shorter than {options.minutes:g} min, never acknowledged"
    )
    for one in found:
        advice = "".join(f"; {words}" for words in _advice(one))
        yield f"{one.rung:>6,}  {one.sensor}, {one.kind}: {one.unneeded:,} nobody needed{advice}"


def _advice(one: Nuisance) -> Iterable[str]:
    delay = "no data only after" if one.kind == NO_DATA else "a delay of"
    if one.delay is not None:
        yield f"{delay} {one.delay.value / 60:g}m {_silences(one.delay)}"
    if one.hysteresis is not None:
        yield f"a hysteresis of {one.hysteresis.value:g} {_silences(one.hysteresis)}"


def _silences(advice: Advice) -> str:
    return f"would have silenced {advice.silences:,}"
