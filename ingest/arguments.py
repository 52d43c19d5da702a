"""The arguments of `python -m ingest`."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from cli import Parser, add_config
from common import time_zones


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments (None: those of the process); raises `UsageError` if they are wrong."""
    parser = Parser(prog="python -m ingest", description="Bring readings into Storewatch's own tables.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    csv = commands.add_parser(
        "csv",
        help="a table in a text file",
        description="Import a table with a time column and one column per sensor. Running it twice adds nothing.",
    )
    csv.add_argument("file", metavar="FILE", type=Path, help="UTF-8 or GB18030, with commas, semicolons or tabs")
    add_config(csv)
    csv.add_argument("--store-house", metavar="NAME", type=_name(255), required=True, help="made if it is new")
    csv.add_argument("--org", metavar="NAME", type=_name(255), default="Imported", help="its owner (%(default)s)")
    csv.add_argument(
        "--time-zone",
        metavar="ZONE",
        type=_zone,
        help="of times without an offset (the storehouse's; if new, UTC)",
    )
    csv.add_argument("--metric", type=_name(32), default="temperature", help="what is measured (%(default)s)")
    csv.add_argument("--unit", type=_name(16), help="its unit (of temperature: °C)")
    csv.add_argument("--speed", metavar="N", type=_speed, help="play it N times faster than life, instead of at once")
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
