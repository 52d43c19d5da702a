"""What the commands' arguments have in common."""

import argparse
import os
from datetime import date
from typing import NoReturn
from zoneinfo import ZoneInfo

import instants
from errors import UsageError


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def add_config(parser: argparse.ArgumentParser) -> None:
    """Let the settings be named, as they are for the server."""
    config = os.environ.get("STOREWATCH_CONFIG")
    parser.add_argument("--config", metavar="FILE", default=config, help="the settings of the server")


def zone(text: str) -> ZoneInfo:
    """Return the time zone of this name."""
    try:
        return instants.zone(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def day(text: str) -> date:
    """Return the day that is written like 2021-09-06."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write one like 2021-09-06") from None
