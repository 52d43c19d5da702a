"""Logging, configured once by `main`."""

import logging
import sys


def configure(level: str) -> None:
    """Send every record of `level` (a name such as "INFO") and above to stderr; stdout is for the ready line."""
    logging.basicConfig(
        level=level,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    # Tornado writes a line for every request; at 3,000 browsers that is all one would see.
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
