"""The secrets of the tests, each with a mark that nothing may ever show, and the search for it in what they produce."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

MARK = "planted-secret"
MARKS = (MARK, "$argon2id$", "eyJhbGciOi")
"""What no log, error, answer or page holds: a secret, the hash of a password, a token."""

told: list[str] = []
"""Where one was found while the tests ran."""


def secret(of: str) -> str:
    """A secret, with signs that have a meaning in a URL."""
    return f"p@ss:w/rd#1-{MARK}-of-{of}"


def record_leaks(text: str, where: str) -> None:
    """Remember where a secret is shown."""
    told.extend(f"{where}: {line[:300]}" for line in shown(text))


def shown(text: str) -> list[str]:
    """The lines that show a secret."""
    return [line for line in text.splitlines() if any(mark in line for mark in MARKS)]


def in_logs(folder: Path) -> Iterable[str]:
    """Where secrets stand in the logs of the servers that ran in this folder."""
    for log in sorted(folder.rglob("*.log")):
        for line in shown(log.read_text(encoding="utf-8", errors="replace")):
            yield f"{log.relative_to(folder)}: {line[:300]}"


class _LogChecker(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        record_leaks(logging.Formatter().format(record), "the log of a server within the tests")


class _AnswerChecker(SimpleAsyncHTTPClient):
    """What all tests ask for pages with."""

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
    """Check all that is logged in this process, and all pages that are asked for, for the length of a block."""
    handler = _LogChecker()
    logging.getLogger().addHandler(handler)
    AsyncHTTPClient.configure(_AnswerChecker)
    try:
        yield
    finally:
        AsyncHTTPClient.configure(None)
        logging.getLogger().removeHandler(handler)
