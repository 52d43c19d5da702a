"""Secrets with a marker for the settings of tests, and a search for the marker in logs, answers and pages."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

MARK = "planted-secret"
MARKS = (MARK, "$argon2id$", "eyJhbGciOi")
"""Strings that no log, error, answer or page may contain. They occur in secrets, password hashes and tokens."""

told: list[str] = []
"""Places where a secret was found during the run. Each text contains the place and the line with the secret."""


def secret(of: str) -> str:
    """Return a secret whose text contains the marker and its purpose (`of`), such as `redis`.

    The secret also contains characters with a special meaning in URLs.
    """
    return f"p@ss:w/rd#1-{MARK}-of-{of}"


def record_leaks(text: str, where: str) -> None:
    """Record each line of `text` that contains a secret. `where` describes where the text was found."""
    told.extend(f"{where}: {line[:300]}" for line in shown(text))


def shown(text: str) -> list[str]:
    """Return the lines of the text that contain a secret."""
    return [line for line in text.splitlines() if any(mark in line for mark in MARKS)]


def in_logs(folder: Path) -> Iterable[str]:
    """Yield the lines that contain a secret in the logs of all servers that ran in this folder."""
    for log in sorted(folder.rglob("*.log")):
        for line in shown(log.read_text(encoding="utf-8", errors="replace")):
            yield f"{log.relative_to(folder)}: {line[:300]}"


class _LogChecker(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        record_leaks(logging.Formatter().format(record), "the log of a server in the test process")


class _AnswerChecker(SimpleAsyncHTTPClient):
    """The HTTP client of all tests. It searches every answer for secrets."""

    def fetch_impl(self, request: HTTPRequest, callback: Callable[[HTTPResponse], None]) -> None:
        def read(answer: HTTPResponse) -> None:
            said = "".join(f"{name}: {value}\n" for name, value in answer.headers.get_all())
            record_leaks(
                said + (answer.body or b"").decode(errors="replace"), f"the answer to {request.method} {request.url}"
            )
            callback(answer)

        super().fetch_impl(request, read)


@contextmanager
def listening() -> Iterator[None]:
    """During the block, search all log records of this process and all HTTP answers for secrets."""
    handler = _LogChecker()
    logging.getLogger().addHandler(handler)
    AsyncHTTPClient.configure(_AnswerChecker)
    try:
        yield
    finally:
        AsyncHTTPClient.configure(None)
        logging.getLogger().removeHandler(handler)
