"""The command `python -m alarms`: it composes what its commands need."""

import sys
from collections.abc import Sequence

from alarms.commands import drill, noise, preview, score
from alarms.commands.arguments import Parser
from errors import UsageError

COMMANDS = (score, noise, preview, drill)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 2 where it cannot be done."""
    parser = Parser(prog="python -m alarms", description="Try alarm rules on what has been.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.add(commands)
    try:
        options = parser.parse_args(argv)
        return int(options.run(options))
    except UsageError as error:
        print(f"alarms: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
