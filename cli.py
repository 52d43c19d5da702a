"""What the commands of several packages (`python -m alarms`, `python -m access`, `python -m ingest`) have in common."""

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

import sqlalchemy as sa

from db import database
from errors import UsageError
from settings import Database


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def run(package: str, description: str, commands: Sequence[ModuleType], argv: Sequence[str] | None) -> int:
    """Run a command of `python -m PACKAGE`; return its exit status: 2 where it cannot be done.

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
    """Let the settings be named, as they are for the server."""
    config = os.environ.get("STOREWATCH_CONFIG")
    parser.add_argument(
        "--config", metavar="FILE", default=config, help="settings.yaml (default: STOREWATCH_CONFIG, else the demo's)"
    )


def readable(where: Database) -> database.Database:
    """Return a database to read from, our tables in it as they are today; raises `UsageError`."""
    if where.map is None:
        database.migrate(where)
    return database.Database(where, database.WORKING, 1)
