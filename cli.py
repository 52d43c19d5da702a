"""Shared by the command lines of several packages (`python -m alarms`, `python -m access`, `python -m ingest`)."""

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
    """Reports wrong arguments in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def run(package: str, description: str, commands: Sequence[ModuleType], argv: Sequence[str] | None) -> int:
    """Run a command of `python -m PACKAGE`; return its exit status: 2 if it cannot be done.

    Each of `commands` is a module whose `add` adds it to the parser, with the function that runs it as `run`.
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
    """Add the option --config, with the server's default."""
    config = os.environ.get("STOREWATCH_CONFIG")
    parser.add_argument(
        "--config", metavar="FILE", default=config, help="settings.yaml (default: STOREWATCH_CONFIG, else the demo's)"
    )


def open_for_reading(settings: Database) -> database.Database:
    """Open a database to read from, after migrating our own tables in it; raises `UsageError`."""
    if settings.map is None:
        migrate(settings)
    return database.Database(settings, BATCH_LIMITS, 1)
