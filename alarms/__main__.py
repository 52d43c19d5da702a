"""The command `python -m alarms` and its sub-commands."""

import sys
from collections.abc import Sequence

import cli
from alarms.commands import alarm_tests, nuisance, preview, score

COMMANDS = (score, nuisance, preview, alarm_tests)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status. The status is 2 if the command cannot be run."""
    return cli.run("alarms", "Test alarm rules on stored readings and raise test alarms.", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
