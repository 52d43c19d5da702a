"""`python -m alarms preview`: prints the alarms that proposed rules and the rules in force would have raised."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

import ask.rules
import settings as settings_module
from alarms import rules
from alarms.commands.arguments import add_days, add_rules, read_rules, span
from alarms.commands.databases import open_databases
from alarms.commands.storehouses import storehouse_named
from alarms.model import Episode
from alarms.preview import Comparison, Trial, preview
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
        help="test proposed rules on past readings",
        description="Evaluate proposed rules and the rules in force on a storehouse's past readings. Print the number "
        "and the total duration of the alarms that each would have raised.",
    )
    add_config(parser)
    add_rules(parser)
    parser.add_argument("--store-house", metavar="NAME", required=True, help="name or id of the storehouse")
    add_days(parser)
    parser.add_argument("--alarms", action="store_true", help="also print each alarm")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the report of a preview. Raise `UsageError` if the command cannot be run."""
    proposed = read_rules(options.rules)
    settings, origin = settings_module.load(options.config)
    try:
        with open_databases(settings, origin) as databases:
            storehouse = storehouse_named(databases.readings, databases.subjects, options.store_house)
            zone, now = time_zones.zone(storehouse.time_zone), clock.now()
            start, end = span(options.first, options.last, zone)
            check_span(start, end)
            trial = Trial(
                proposed,
                _in_force(databases.state, settings, origin),
                settings.own_alarms.default_rules,
                start.timestamp(),
                min(end, now).timestamp(),
            )
            judged = sensors.sensors(databases.readings, databases.subjects, storehouse.store_house_id)
            history = ReplayReadings(databases.readings, databases.subjects, now)
            comparisons = list(preview(trial, judged, history))
    except (BadRequest, Unavailable) as error:
        raise UsageError(f"preview: {error.message}") from None
    print("\n".join(report(comparisons, trial, zone, alarms=options.alarms)))
    return 0


def _in_force(state: sa.Connection, settings: Settings, origin: Source) -> Sequence[Rule]:
    saved = ask.rules.saved(state)
    try:
        return rules.parse(settings.rules if saved is None else saved)
    except ValueError as error:
        raise UsageError(f"{origin.where('rules')}: {error}") from None


def report(comparisons: Sequence[Comparison], trial: Trial, zone: ZoneInfo, *, alarms: bool) -> Iterator[str]:
    """Yield the lines of the report: first a line for each proposed rule, then the lines about the sensors.

    Sensors for which the proposed rules raise more alarms come before sensors with fewer alarms. If `alarms` is true,
    also yield a line for each alarm that the proposed rules raise.
    """
    for number, _ in enumerate(trial.proposed):
        of_rule = [
            episode
            for comparison in comparisons
            for episode, rule_number in zip(comparison.proposed, comparison.rule_numbers, strict=True)
            if rule_number == number
        ]
        yield f"rule {number + 1}: {_sum(of_rule, trial.end)}"
    for comparison in sorted(comparisons, key=lambda comparison: -len(comparison.proposed)):
        if not comparison.proposed and not comparison.in_force:
            continue
        sums = (_sum(episodes, trial.end) for episodes in (comparison.proposed, comparison.in_force))
        yield "{}, {}: {}; with the rules in force {}".format(comparison.sensor.sensor_name, comparison.kind, *sums)
        for episode in comparison.proposed if alarms else ():
            yield f"  {_time(episode.raised, zone)} to {_time(episode.cleared, zone)}  {episode.severity}"


def _sum(episodes: Sequence[Episode], end: float) -> str:
    ends = (end if episode.cleared is None else episode.cleared for episode in episodes)
    seconds = sum(cleared - (episode.raised or end) for episode, cleared in zip(episodes, ends, strict=True))
    return f"{len(episodes):,} alarms, {seconds / 3600:,.1f} h"


def _time(second: float | None, zone: ZoneInfo) -> str:
    if second is None:
        return "the end"
    instant = datetime.fromtimestamp(second, zone)
    time, offset = f"{instant:%Y-%m-%d %H:%M:%S}", time_zones.offset_if_repeated(instant, zone)
    return time if offset is None else f"{time} (UTC{offset})"
