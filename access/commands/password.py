"""`python -m access password`: hashes a password for the settings."""

import argparse
import getpass
import sys
from typing import Any

from access.passwords import hash_password
from errors import UsageError

MIN_LENGTH = 8
"""Characters of a password."""


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
    password = _ask() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if len(password) < MIN_LENGTH:
        raise UsageError(f"a password has at least {MIN_LENGTH} characters")
    print(hash_password(password))
    return 0


def _ask() -> str:
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise UsageError("these are two different passwords")
    return password
