"""`python -m alarms preview`: which alarms rules would have raised, against those in force."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

import ask.rules
import settings as settings_module
from alarms import rules
from alarms.commands.arguments import add_days, add_rules, span
from alarms.commands.databases import reading
from alarms.commands.places import place
from alarms.commands.score import read_rules
from alarms.model import Episode
from alarms.preview import Compared, Trial, preview
from alarms.rules import Rule
from ask import sensors
from ask.history import check_span
from ask.replay_readings import ReplayReadings
from cli import add_config
from common import clock, time_zones
from errors import BadRequest, Unavailable, UsageError
from settings import Settings, Source


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "preview",
        help="would it have rung?",
        description="Judge what a storehouse's sensors have measured by proposed rules and by those in force, and tell "
        "how many alarms each would have raised, and how long they were.",
    )
    add_config(parser)
    add_rules(parser)
    parser.add_argument("--store-house", metavar="NAME", required=True, help="whose readings are judged")
    add_days(parser)
    parser.add_argument("--alarms", action="store_true", help="tell of each alarm too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what would have rung; raises `UsageError`."""
    proposed = read_rules(options.rules)
    settings, origin = settings_module.load(options.config)
    try:
        with reading(settings, origin) as (kept, connection, found):
            here = place(connection, found, options.store_house)
            zone, now = time_zones.zone(here.time_zone), clock.now()
            start, end = span(options.first, options.last, zone)
            check_span(start, end)
            trial = Trial(
                proposed,
                _in_force(kept, settings, origin),
                settings.own_alarms.default_rules,
                start.timestamp(),
                min(end, now).timestamp(),
            )
            judged = sensors.sensors(connection, found, here.store_house_id)
            rang = list(preview(trial, judged, ReplayReadings(connection, found, now)))
    except (BadRequest, Unavailable) as error:
        raise UsageError(f"preview: {error.message}") from None
    print("\n".join(report(rang, trial, zone, alarms=options.alarms)))
    return 0


def _in_force(kept: sa.Connection, settings: Settings, origin: Source) -> Sequence[Rule]:
    saved = ask.rules.saved(kept)
    try:
        return rules.read(settings.rules if saved is None else saved)
    except ValueError as error:
        raise UsageError(f"{origin.where('rules')}: {error}") from None


def report(rang: Sequence[Compared], trial: Trial, zone: ZoneInfo, *, alarms: bool) -> Iterator[str]:
    """Return the lines that say it, those that ring most first."""
    for number, _ in enumerate(trial.proposed):
        of_rule = [
            episode for one in rang for episode, giver in zip(one.proposed, one.givers, strict=True) if giver == number
        ]
        yield f"rule {number + 1}: {_sum(of_rule, trial.end)}"
    for one in sorted(rang, key=lambda one: -len(one.proposed)):
        if not one.proposed and not one.in_force:
            continue
        sums = (_sum(episodes, trial.end) for episodes in (one.proposed, one.in_force))
        yield "{}, {}: {}; by the rules in force {}".format(one.sensor.sensor_name, one.kind, *sums)
        for episode in one.proposed if alarms else ():
            yield f"  {_time(episode.raised, zone)} to {_time(episode.cleared, zone)}  {episode.severity}"


def _sum(episodes: Sequence[Episode], end: float) -> str:
    seconds = sum((end if one.cleared is None else one.cleared) - (one.raised or end) for one in episodes)
    return f"{len(episodes):,} alarms, {seconds / 3600:,.1f} h"


def _time(second: float | None, zone: ZoneInfo) -> str:
    return "the end" if second is None else f"{datetime.fromtimestamp(second, zone):%Y-%m-%d %H:%M:%S}"
