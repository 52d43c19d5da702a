"""How much a client may send: so much a second, and so much at once."""

from typing import NamedTuple


class RateLimit(NamedTuple):
    """So many packets a second in the long run, and so many at once."""

    a_second: float
    at_once: float


class TokenBucket:
    """What is left of a pace (a token bucket); `now` is in seconds of the caller's clock."""

    __slots__ = ("_at", "_left", "_rate_limit")

    def __init__(self, rate_limit: RateLimit, now: float) -> None:
        self._rate_limit = rate_limit
        self._left = rate_limit.at_once
        self._at = now

    def take(self, now: float) -> float:
        """Take one more, and return what is left; below 0 there was none."""
        earned = (now - self._at) * self._rate_limit.a_second
        self._left = min(self._left + earned, self._rate_limit.at_once) - 1
        self._at = now
        return self._left
