"""Deadlines for many keys, served by a single timer."""

import asyncio
import math
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
TIMER_SLACK = 0.01
"""Minimum delay of the timer of `Deadlines`, as a fraction of the time limit.

Because of this delay, one timer call can expire many keys.
"""


class Deadlines(Generic[Key]):
    """Deadlines for keys, such as connections. All keys have the same time limit, `timeout_s` seconds.

    When the deadline of a key passes, `on_expired` is called with the key and the deadline. Deadlines are times of
    `time.monotonic`, in seconds.
    """

    def __init__(self, timeout_s: float, on_expired: Callable[[Key, float], object]) -> None:
        self.timeout_s = timeout_s
        self._on_expired = on_expired
        self._deadlines: dict[Key, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, key: Key, start: float | None = None) -> None:
        """Start the time limit of a key, now or at the time `start`. Replace the key's earlier deadline, if any."""
        now = time.monotonic()
        self._deadlines.pop(key, None)
        self._deadlines[key] = deadline = (now if start is None else start) + self.timeout_s
        if self._timer is None:
            self._schedule(deadline - now)

    def discard(self, key: Key) -> None:
        """Remove a key and its deadline, if present."""
        self._deadlines.pop(key, None)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._deadlines)

    def is_expired(self, key: Key) -> bool:
        """Return whether a key's deadline has passed, even if `on_expired` has not been called for the key yet."""
        return self._deadlines.get(key, math.inf) <= time.monotonic()

    def stop(self) -> None:
        """Remove all keys and stop the timer."""
        self._deadlines.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, wait_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(max(wait_s, TIMER_SLACK * self.timeout_s), self._expire)

    def _expire(self) -> None:
        now = time.monotonic()
        self._timer = None
        expired = []
        for key, deadline in self._deadlines.items():
            if deadline > now:
                self._schedule(deadline - now)
                break
            expired.append((key, deadline))
        for key, deadline in expired:
            if self._deadlines.get(key) == deadline:
                del self._deadlines[key]
                self._on_expired(key, deadline)
