"""A periodic job logs an exception and continues. A cancellation ends the job."""

import asyncio
import logging

import pytest

from errors import Unavailable
from logger import errors_logged

log = logging.getLogger("polling")


@pytest.mark.parametrize(
    ("error", "level", "has_trace"),
    [(Unavailable("the database does not answer"), logging.DEBUG, False), (ValueError("x"), logging.ERROR, True)],
)
def test_an_exception_is_logged_and_not_raised(
    error: Exception, level: int, has_trace: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, log.name)
    with errors_logged(log, "poll"):
        raise error
    (record,) = caplog.records
    assert (record.name, record.levelno, bool(record.exc_info)) == ("polling", level, has_trace)
    assert record.getMessage().startswith("cannot poll")


def test_a_cancellation_is_raised() -> None:
    with pytest.raises(asyncio.CancelledError), errors_logged(log, "poll"):
        raise asyncio.CancelledError
