"""`python -m access password`: what stands in the settings for a password."""

import argparse
import getpass
import sys
from typing import Any

from access.passwords import hashed
from errors import UsageError

LEAST = 8
"""Characters."""


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "password",
        help="what stands in the settings for a password",
        description="Ask for a password, or read it from the standard input, and print its hash (argon2id): the "
        "password_hash of a user in the settings.",
    )
    parser.set_defaults(run=run)


def run(_options: argparse.Namespace) -> int:
    """Print the hash; raises `UsageError`."""
    password = _asked() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if len(password) < LEAST:
        raise UsageError(f"a password has at least {LEAST} characters")
    print(hashed(password))
    return 0


def _asked() -> str:
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise UsageError("these are two different passwords")
    return password
