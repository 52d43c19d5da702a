"""The command `python -m alarms` and its sub-commands."""

import sys
from collections.abc import Sequence

import cli
from alarms.commands import alarm_tests, nuisance, preview, score

COMMANDS = (score, nuisance, preview, alarm_tests)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 2 if it cannot be done."""
    return cli.run("alarms", "Try alarm rules on what has been.", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
