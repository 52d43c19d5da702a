"""`python -m access password`: hashes a password for the settings."""

import argparse
import getpass
import sys
from typing import Any

from access.passwords import hash_password
from errors import UsageError

MIN_LENGTH = 8
"""Minimum length of a password, in characters."""


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "password",
        help="hash a password for the settings",
        description="Ask for a password, or read it from standard input, and print its argon2id hash. The settings "
        "hold this hash as the password_hash of a user.",
    )
    parser.set_defaults(run=run)


def run(_options: argparse.Namespace) -> int:
    """Print the hash of a password.

    Raise `UsageError` if the password is too short or is typed differently the second time.
    """
    password = _ask() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if len(password) < MIN_LENGTH:
        raise UsageError(f"the password is too short: it must have at least {MIN_LENGTH} characters")
    print(hash_password(password))
    return 0


def _ask() -> str:
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise UsageError("the two passwords differ; run the command again")
    return password
