"""The current time, and the maximum by which the time of a reading may be ahead of the current time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""A function that returns the current time, such as `now`. Tests pass their own clock."""

AHEAD = timedelta(seconds=60)
"""Maximum by which the time of a reading may be ahead of the server's clock. A time further ahead counts as wrong."""


def now() -> datetime:
    """Return the current time, in UTC."""
    return datetime.now(UTC)
