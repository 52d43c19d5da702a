"""The command `python -m alarms`: it composes what its commands need."""

import sys
from collections.abc import Sequence

import cli
from alarms.commands import drill, noise, preview, score

COMMANDS = (score, noise, preview, drill)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 2 where it cannot be done."""
    return cli.run("alarms", "Try alarm rules on what has been.", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
