"""What is done again and again goes on whatever happens, but ends when it is told to."""

import asyncio
import logging

import pytest

from errors import Unavailable
from logger import errors_logged

log = logging.getLogger("looking")


@pytest.mark.parametrize(
    ("error", "level", "has_trace"),
    [(Unavailable("the database does not answer"), logging.DEBUG, False), (ValueError("x"), logging.ERROR, True)],
)
def test_what_goes_wrong_is_logged_and_no_more(
    error: Exception, level: int, has_trace: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, log.name)
    with errors_logged(log, "look"):
        raise error
    (record,) = caplog.records
    assert (record.name, record.levelno, bool(record.exc_info)) == ("looking", level, has_trace)
    assert record.getMessage().startswith("cannot look")


def test_who_is_cancelled_ends() -> None:
    with pytest.raises(asyncio.CancelledError), errors_logged(log, "look"):
        raise asyncio.CancelledError
