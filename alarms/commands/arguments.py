"""Command-line arguments that several commands share, and the reader of the rules file."""

import argparse
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from alarms import rules
from alarms.rules import Rule
from common import time_zones
from errors import UsageError


def zone(text: str) -> ZoneInfo:
    """Return the time zone with this name. Raise `ArgumentTypeError` if no time zone has this name."""
    try:
        return time_zones.zone(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Add the command-line argument for the file that contains the rules."""
    parser.add_argument(
        "--rules", metavar="RULES.yaml", type=Path, required=True, help="file with `rules`, as in the settings"
    )


def add_days(parser: argparse.ArgumentParser) -> None:
    """Add the arguments `--from` (the first day) and `--to` (the last day). They are parsed as `first` and `last`."""
    parser.add_argument(
        "--from", metavar="DAY", dest="first", type=_day, required=True, help="first day, such as 2021-09-06"
    )
    parser.add_argument("--to", metavar="DAY", dest="last", type=_day, required=True, help="last day (included)")


def span(first: date, last: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the start of the day `first` and the end of the day `last`, in this time zone.

    Raise `UsageError` if the day `last` is before the day `first`.
    """
    if last < first:
        raise UsageError("--to is earlier than --from; give a later day")
    return datetime.combine(first, time.min, zone), datetime.combine(last + timedelta(days=1), time.min, zone)


def read_rules(path: Path) -> list[Rule]:
    """Return the rules in a file. Raise `UsageError` if the file cannot be read or a rule is invalid."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or "rules" not in content:
            raise UsageError(f"{path}: must contain a list of rules under the key `rules`")
        return rules.parse(content["rules"])
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day; write one like 2021-09-06") from None
