"""The clock: the present time, and how far ahead of it a reading's time may lie."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""Returns the present instant, as `now` does; tests pass their own."""

AHEAD = timedelta(seconds=60)
"""How far a reading's time may lie ahead of our clock before it counts as wrong."""


def now() -> datetime:
    """Return the present instant, in UTC."""
    return datetime.now(UTC)
