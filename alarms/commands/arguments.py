"""What the commands' arguments have in common."""

import argparse
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from common import time_zones
from errors import UsageError


def zone(text: str) -> ZoneInfo:
    """Return the time zone of this name."""
    try:
        return time_zones.zone(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Let the rules be named that are tried."""
    parser.add_argument("--rules", metavar="RULES.yaml", type=Path, required=True, help="`rules:` as in the settings")


def add_days(parser: argparse.ArgumentParser) -> None:
    """Let the days be named, `first` to `last`."""
    parser.add_argument("--from", metavar="DAY", dest="first", type=_day, required=True, help="such as 2021-09-06")
    parser.add_argument("--to", metavar="DAY", dest="last", type=_day, required=True, help="this day is the last")


def span(first: date, last: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return when the first day begins and when the last one is over; raises `UsageError`."""
    if last < first:
        raise UsageError("--to: lies before --from")
    return datetime.combine(first, time.min, zone), datetime.combine(last + timedelta(days=1), time.min, zone)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write one like 2021-09-06") from None
