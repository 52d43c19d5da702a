"""The command line.

`python main.py 8000` serves; `python main.py --check --config settings.yaml` tries the settings on the database.
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
    """Run the command; return its exit status."""
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
    except (KeyboardInterrupt, asyncio.CancelledError):  # stopped while it was starting
        return 0
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        usage = " ".join(self.format_usage().split())
        raise UsageError(f"{message}; {usage}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; raises `UsageError`."""
    parser = _Parser(prog="main.py", description="Storewatch watches warehouses.")
    parser.add_argument("port", nargs="?", type=_port, help="the port to listen on; 0: any free one")
    parser.add_argument("--config", default=os.environ.get("STOREWATCH_CONFIG"), help="the settings, a YAML file")
    parser.add_argument("--check", action="store_true", help="try the settings on the database, and stop")
    options = parser.parse_args(arguments)
    if options.port is None and not options.check:
        parser.error("say which port to listen on, such as 8000")
    return options


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; it is a number from 0 to 65535")
    return int(text)


def leave(status: int) -> NoReturn:
    """End now: Python would wait for threads, and these for a database that hangs."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main())
