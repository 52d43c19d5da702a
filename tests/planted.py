"""The secrets of the tests, each with a mark that nothing may ever show, and the search for it in what they produce."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

MARK = "planted-secret"
MARKS = (MARK, "$argon2id$", "eyJhbGciOi")
"""What no log, error, answer or page holds: a secret, the hash of a password, a token."""

told: list[str] = []
"""Where one was found while the tests ran."""


def secret(of: str) -> str:
    """A secret, with signs that have a meaning in a URL."""
    return f"p@ss:w/rd#1-{MARK}-of-{of}"


def look(text: str, where: str) -> None:
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


class _Looking(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        look(logging.Formatter().format(record), "the log of a server within the tests")


@contextmanager
def listening() -> Iterator[None]:
    """Look at all that is logged in this process, for the length of a block."""
    handler = _Looking()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
