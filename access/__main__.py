"""The command `python -m access`: users' passwords, tokens of programs, and the audit trail."""

import sys
from collections.abc import Sequence

import cli
from access.commands import audit, password, token

COMMANDS = (password, token, audit)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 2 if it cannot be done."""
    return cli.run("access", "Who may come in, and what they have done.", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
