"""The arguments of `python -m ingest`."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from cli import Parser, add_config
from common import time_zones


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments, by default those of the process. Raise `UsageError` if they are wrong."""
    parser = Parser(prog="python -m ingest", description="Import readings into Storewatch's own tables.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    csv = commands.add_parser(
        "csv",
        help="import a table from a text file",
        description="Import a table with a time column and one column per sensor. Running it twice adds nothing.",
    )
    csv.add_argument("file", metavar="FILE", type=Path, help="UTF-8 or GB18030 text with commas, semicolons or tabs")
    add_config(csv)
    csv.add_argument("--store-house", metavar="NAME", type=_name(255), required=True, help="created if it is missing")
    csv.add_argument("--org", metavar="NAME", type=_name(255), default="Imported", help="organisation (%(default)s)")
    csv.add_argument(
        "--time-zone",
        metavar="ZONE",
        type=_zone,
        help="time zone of times without a UTC offset (default: the storehouse's time zone; UTC for a new storehouse)",
    )
    csv.add_argument("--metric", type=_name(32), default="temperature", help="metric of all sensors (%(default)s)")
    csv.add_argument("--unit", type=_name(16), help="unit of all values (default for temperature: °C)")
    csv.add_argument("--speed", metavar="N", type=_speed, help="replay the rows N times faster than real time")
    return parser.parse_args(argv)


def _name(length: int) -> Callable[[str], str]:
    def name(text: str) -> str:
        text = text.strip()
        if not 0 < len(text) <= length:
            raise argparse.ArgumentTypeError(f"must have 1 to {length} characters")
        return text

    return name


def _zone(text: str) -> str:
    try:
        return time_zones.zone(text).key
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return speed
