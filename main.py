"""The server's command line.

`python main.py 8000` starts the server. `python main.py --check --config settings.yaml` tests the settings against the
database.
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import access.policy
import app.check
import app.serve
import logger
import settings as settings_module
from errors import Unavailable, UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    try:
        options = parse(arguments)
        settings, origin = settings_module.load(options.config)
        logger.configure(settings.log_level, settings.log_format)
        if settings.rules:
            app.serve.configured_rules(settings, origin)
        access.policy.build_policy(settings.restricted, origin)
        if options.check:
            return app.check.run(settings, origin)
        asyncio.run(app.serve.serve(settings, origin, options.port))
    except (UsageError, Unavailable) as error:
        print(f"storewatch: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):  # stopped during start-up
        return 0
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        usage = " ".join(self.format_usage().split())
        raise UsageError(f"{message}; {usage}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line. Raise `UsageError` if an argument is wrong."""
    parser = _Parser(prog="main.py", description="Storewatch: a server that monitors warehouse sensors.")
    parser.add_argument("port", nargs="?", type=_port, help="the port to listen on; 0: any free port")
    parser.add_argument("--config", default=os.environ.get("STOREWATCH_CONFIG"), help="the settings file (YAML)")
    parser.add_argument("--check", action="store_true", help="test the settings against the database and exit")
    options = parser.parse_args(arguments)
    if options.port is None and not options.check:
        parser.error("the argument port is missing: give the port to listen on, such as 8000")
    return options


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; use a number from 0 to 65535")
    return int(text)


def leave(status: int) -> NoReturn:
    """Exit at once. A normal exit would wait for threads, which may wait for a database that hangs."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main())
