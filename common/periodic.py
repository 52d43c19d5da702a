"""The loop that runs the server's periodic jobs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from logger import errors_logged

Interval = float | Callable[[], float]
"""Number of seconds from the end of one run of a job to the start of the next run. It is either a number, or a function
that is called after each run and returns the number."""


async def run_periodically(
    job: Callable[[], Awaitable[object]],
    interval: Interval,
    *,
    log: logging.Logger,
    purpose: str,
    wake: asyncio.Event | None = None,
    wait_first: bool = False,
) -> None:
    """Run `job` again and again until cancelled. Wait `interval` seconds after each run.

    An exception does not end the job. It is logged to `log` as "cannot " followed by `purpose`, such as "refresh the
    directory". When `wake` is set, the next run starts at once. With `wait_first`, also wait before the first run.
    """
    if wait_first:
        await wait_for_event(wake, _seconds(interval))
    while True:
        with errors_logged(log, purpose):
            await job()
        await wait_for_event(wake, _seconds(interval))


async def wait_for_event(event: asyncio.Event | None, timeout_s: float) -> None:
    """Wait until `event` is set, at most `timeout_s` seconds. Then clear the event."""
    if event is None:
        await asyncio.sleep(timeout_s)
        return
    with suppress(TimeoutError):
        # Not asyncio.wait_for: in Python 3.11 it loses a cancellation that arrives together with the event.
        async with asyncio.timeout(max(timeout_s, 0)):
            await event.wait()
    event.clear()


def _seconds(interval: Interval) -> float:
    return interval() if callable(interval) else interval
