"""`python -m alarms score`: compares the alarms that the rules in a file raise with the alarm log of another system."""

import argparse
import sys
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from alarms import rules
from alarms.agreement import AlarmSpan, Days, score
from alarms.commands import event_log, readings_csv
from alarms.commands.arguments import add_days, add_rules, read_rules, span, zone
from alarms.model import HIGH, LOW, Reading
from alarms.replay import replay
from alarms.rules import Rule
from ask.sensors import Sensor
from errors import UsageError


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "score",
        help="compare rules with the alarm log of another system",
        description="Evaluate rules on readings, and compare the alarms with the alarm log of another system. Print "
        "the score as one line of JSON.",
    )
    parser.add_argument(
        "readings", metavar="READINGS.csv", type=Path, help="a column `time`, and a column for each sensor"
    )
    parser.add_argument("log", metavar="LOG.csv", type=Path, help="columns time, sensor, event and, optionally, limit")
    add_rules(parser)
    parser.add_argument(
        "--time-zone", metavar="ZONE", type=zone, required=True, help="time zone of times without an offset"
    )
    add_days(parser)
    parser.add_argument("--metric", default="temperature", help="metric of the sensors (%(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print how well the alarms that the given rules raise agree with the alarms of another system.

    Raise `UsageError` if a file is invalid or no rule sets a high or low limit.
    """
    tried_rules = read_rules(options.rules)
    table = readings_csv.readings(options.readings, options.time_zone, options.metric, _print_error)
    ours = judge_table(tried_rules, table)
    if not ours:
        raise UsageError(f"{options.rules}: no rule sets a high or low limit for a sensor in {options.readings}")
    named_by_rules = {rule.scope.sensor_name or "" for rule in tried_rules}
    for name in sorted(named_by_rules - {sensor.sensor_name for sensor in table} - {""}):
        _print_error(f"{options.readings} has no column {name}; this sensor is not scored")
    start, end = span(options.first, options.last, options.time_zone)
    result = score(_theirs(options.log, options.time_zone), ours, Days(start.timestamp(), end.timestamp()))
    print(msgspec.json.encode(result).decode())
    return 0


def judge_table(tried_rules: list[Rule], table: dict[Sensor, list[Reading]]) -> dict[str, list[AlarmSpan]]:
    """Return the high and low alarms that these rules raise on the readings in `table`, by sensor name.

    The default rules do not apply. Sensors without a high or low limit are left out.
    """
    limits = {sensor: rules.terms(tried_rules, sensor, defaults=False) for sensor in table}
    return {
        sensor.sensor_name: [
            AlarmSpan(episode.kind, episode.raised, episode.cleared)
            for episode in replay(limits[sensor], sensor, readings)
            if episode.raised is not None and episode.kind in (HIGH, LOW)
        ]
        for sensor, readings in table.items()
        if limits[sensor].high or limits[sensor].low
    }


def _theirs(path: Path, time_zone: ZoneInfo) -> dict[str, list[AlarmSpan]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return event_log.alarms(lines, time_zone)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _print_error(line: str) -> None:
    print(line, file=sys.stderr)
