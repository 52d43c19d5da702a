"""Logging, configured once by `main`: for each record a line for people, or a JSON object for machines.

Text from outside, such as the name of an event, can neither begin a line nor move a terminal's cursor.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

from errors import Unavailable

_connection: ContextVar[str | None] = ContextVar("connection", default=None)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Characters that end a line, move the cursor, or change the direction of writing."""
INDENT = "    "
"""Starts each line of a trace, so that none looks like a record."""


@contextmanager
def connection(sid: str) -> Iterator[None]:
    """Add the connection's id to all that is logged in this block."""
    token = _connection.set(sid)
    try:
        yield
    finally:
        _connection.reset(token)


class Text(logging.Formatter):
    """A line for people; the trace of an exception is indented below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, and its trace."""
        sid = _connection.get()
        message = record.getMessage() if sid is None else f"{sid} {record.getMessage()}"
        line = f"{self.formatTime(record)} {record.levelname} {record.name}: {_visible(message)}"
        return "\n".join([line, *(INDENT + _visible(trace_line) for trace_line in _trace(self, record))])


class Json(logging.Formatter):
    """An object for machines, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as an object, with `connection` and `trace` if it has them."""
        fields: dict[str, str] = {
            "time": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        sid, trace = _connection.get(), _trace(self, record)
        if sid is not None:
            fields["connection"] = sid
        if trace:
            fields["trace"] = "\n".join(trace)
        return json.dumps(fields)


def configure(level: str, form: Literal["text", "json"] = "text") -> None:
    """Send every record of `level` (a name such as "INFO") and above to stderr; stdout is for the ready line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Text())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Tornado logs a line for every request; with 3,000 browsers there would be nothing else to see.
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _visible(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """Return the lines of the record's exception, and of its stack."""
    exception = formatter.formatException(record.exc_info) if record.exc_info else ""
    stack = formatter.formatStack(record.stack_info) if record.stack_info else ""
    return [line for part in (exception, stack) if part for line in part.split("\n")]


@contextmanager
def errors_logged(log: logging.Logger, job: str) -> Iterator[None]:
    """Log an exception of a periodic job and continue behind the block: one failure must not end the job."""
    try:
        yield
    except Unavailable as error:
        log.debug("cannot %s: %s", job, error.message)
    except Exception:
        log.exception("cannot %s", job)
