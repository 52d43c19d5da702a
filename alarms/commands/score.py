"""`python -m alarms score`: rules against the alarm log of another system."""

import argparse
import sys
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import yaml

from alarms import rules
from alarms.agreement import Days, Span, score
from alarms.commands import event_log, readings_csv
from alarms.commands.arguments import add_days, add_rules, span, zone
from alarms.model import HIGH, LOW, Reading
from alarms.replay import replay
from alarms.rules import Rule
from ask.sensors import Sensor
from errors import UsageError


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "score",
        help="rules against the alarm log of another system",
        description="Judge readings by rules, and compare with the alarms that another system raised: a line of JSON.",
    )
    parser.add_argument("readings", metavar="READINGS.csv", type=Path, help="a time column, and one per sensor")
    parser.add_argument("log", metavar="LOG.csv", type=Path, help="columns time, sensor, event and limit")
    add_rules(parser)
    parser.add_argument("--time-zone", metavar="ZONE", type=zone, required=True, help="of times without an offset")
    add_days(parser)
    parser.add_argument("--metric", default="temperature", help="what the sensors measure (%(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the score; raises `UsageError` where a file is not what it should be."""
    found = read_rules(options.rules)
    table = readings_csv.readings(options.readings, options.time_zone, options.metric, _say)
    ours = judged(found, table)
    if not ours:
        raise UsageError(f"{options.rules}: gives no limits to any sensor of {options.readings}")
    for name in sorted({rule.scope.sensor_name or "" for rule in found} - {each.sensor_name for each in table} - {""}):
        _say(f"{options.readings} has no column {name}: it is not scored")
    start, end = span(options.first, options.last, options.time_zone)
    result = score(_theirs(options.log, options.time_zone), ours, Days(start.timestamp(), end.timestamp()))
    print(msgspec.json.encode(result).decode())
    return 0


def read_rules(path: Path) -> list[Rule]:
    """Return the rules in a file; raises `UsageError`."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or "rules" not in content:
            raise UsageError(f"{path}: must hold a list of rules under the key `rules`")
        return rules.read(content["rules"])
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from None


def judged(found: list[Rule], table: dict[Sensor, list[Reading]]) -> dict[str, list[Span]]:
    """Return our alarms by sensor, of those sensors that the rules give limits to; these alone count, no defaults."""
    limits = {sensor: rules.terms(found, sensor, defaults=False) for sensor in table}
    return {
        sensor.sensor_name: [
            Span(episode.kind, episode.raised, episode.cleared)
            for episode in replay(limits[sensor], sensor, readings)
            if episode.raised is not None and episode.kind in (HIGH, LOW)
        ]
        for sensor, readings in table.items()
        if limits[sensor].high or limits[sensor].low
    }


def _theirs(path: Path, time_zone: ZoneInfo) -> dict[str, list[Span]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return event_log.alarms(lines, time_zone)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _say(line: str) -> None:
    print(line, file=sys.stderr)
