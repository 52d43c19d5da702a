"""Logging, configured once by `main`. Each record is a line of text or a JSON object.

Text from outside, such as an event's name, can neither start a new line nor move the terminal's cursor.
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
"""Indentation of each line of a traceback. It keeps a traceback line from looking like a record."""


@contextmanager
def connection(sid: str) -> Iterator[None]:
    """Add the connection's id to every record that is logged in the `with` block."""
    token = _connection.set(sid)
    try:
        yield
    finally:
        _connection.reset(token)


class Text(logging.Formatter):
    """Formats a record as one line of text, with an indented traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line and its traceback."""
        sid = _connection.get()
        message = record.getMessage() if sid is None else f"{sid} {record.getMessage()}"
        line = f"{self.formatTime(record)} {record.levelname} {record.name}: {_visible(message)}"
        return "\n".join([line, *(INDENT + _visible(trace_line) for trace_line in _trace(self, record))])


class Json(logging.Formatter):
    """Formats a record as a JSON object in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a JSON object, with `connection` and `trace` if the record has them."""
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
    """Log every record of `level` (a name such as "INFO") or above to stderr. The start-up line goes to stdout."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Text())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Tornado logs a line for every request. With 3,000 browsers these lines would hide all others.
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _visible(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """Return the lines of the record's traceback and stack."""
    exception = formatter.formatException(record.exc_info) if record.exc_info else ""
    stack = formatter.formatStack(record.stack_info) if record.stack_info else ""
    return [line for part in (exception, stack) if part for line in part.split("\n")]


@contextmanager
def errors_logged(log: logging.Logger, job: str) -> Iterator[None]:
    """Log an exception that a periodic job raises in the `with` block, and continue after the block.

    `job` completes the log line "cannot ...".
    """
    try:
        yield
    except Unavailable as error:
        log.debug("cannot %s: %s", job, error.message)
    except Exception:
        log.exception("cannot %s", job)
