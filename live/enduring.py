"""What is done again and again does not end because it went wrong once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from errors import Unavailable


@contextmanager
def enduring(log: logging.Logger, what: str) -> Iterator[None]:
    """Have `log` tell that one cannot do `what` this time, and go on behind the block."""
    try:
        yield
    except Unavailable as error:
        log.debug("cannot %s: %s", what, error.message)
    except Exception:
        log.exception("cannot %s", what)
