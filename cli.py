"""Code shared by the command lines `python -m alarms`, `python -m access` and `python -m ingest`."""

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

import sqlalchemy as sa

from db import database
from db.limits import BATCH_LIMITS
from db.migrate import migrate
from errors import UsageError
from settings import Database


class Parser(argparse.ArgumentParser):
    """An argument parser that reports wrong arguments in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with the message and a reference to --help."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def run(package: str, description: str, commands: Sequence[ModuleType], argv: Sequence[str] | None) -> int:
    """Run a command of `python -m PACKAGE` and return its exit status. The status is 2 after a usage or database error.

    Each module in `commands` has a function `add`, which adds a command to the parser. `add` sets the option `run` to
    the function that runs the command.
    """
    parser = Parser(prog=f"python -m {package}", description=description)
    added = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for command in commands:
        command.add(added)
    try:
        options = parser.parse_args(argv)
        return int(options.run(options))
    except UsageError as error:
        print(f"{package}: {error}", file=sys.stderr)
        return 2
    except sa.exc.DBAPIError as error:
        print(f"{package}: database: {database.reason(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option --config, with the same default as for the server."""
    config = os.environ.get("STOREWATCH_CONFIG")
    parser.add_argument(
        "--config", metavar="FILE", default=config, help="settings file (default: STOREWATCH_CONFIG, else the demo)"
    )


def open_for_reading(settings: Database) -> database.Database:
    """Open a database for reading. If it contains Storewatch's own tables, migrate them first.

    Raise `UsageError` if the migration fails.
    """
    if settings.map is None:
        migrate(settings)
    return database.Database(settings, BATCH_LIMITS, 1)
