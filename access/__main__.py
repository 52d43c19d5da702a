"""The command `python -m access`: password hashes, tokens for programs, and the audit trail."""

import sys
from collections.abc import Sequence

import cli
from access.commands import audit, password, token

COMMANDS = (password, token, audit)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status. The status is 2 after a `UsageError`."""
    return cli.run("access", "Hash passwords, issue tokens, and verify or export the audit trail.", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
