"""Limits how fast one connection sends events, and how many of its events may be unanswered."""

import time

from access.connection import Connection
from errors import RateLimited
from settings import Settings

MAX_IN_FLIGHT = 8
"""Maximum number of unanswered events of one connection."""


class Flooding(RateLimited):
    """The connection keeps sending too many events, although they are refused."""


class Admission:
    """Context manager. Raises `RateLimited` if a connection sends events too fast or has too many unanswered events."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings

    def __enter__(self) -> None:
        connection = self._connection
        left = connection.token_bucket.consume(time.monotonic())
        if left < -self._settings.rate_burst:
            raise Flooding("too many events without a pause; the connection is closed")
        if left < 0 or connection.in_flight >= MAX_IN_FLIGHT:
            raise RateLimited(
                f"too many events: send at most {self._settings.rate_limit:g} a second, and {MAX_IN_FLIGHT} at a time"
            )
        connection.in_flight += 1

    def __exit__(self, *_: object) -> None:
        self._connection.in_flight -= 1
