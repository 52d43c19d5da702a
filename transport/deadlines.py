"""Time limits of many, with one timer."""

import asyncio
import math
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
GRAIN = 0.01
"""Of the patience: how late the timer may be, so that it rings for many at once."""


class Deadlines(Generic[Key]):
    """Whose time is up. All have the same patience, in seconds, so that one timer serves them all.

    `late` is called with each that was not discarded in time, and with when its time was up, by the monotonic clock.
    """

    def __init__(self, patience_s: float, late: Callable[[Key, float], object]) -> None:
        self.patience_s = patience_s
        self._late = late
        self._ends: dict[Key, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, key: Key, start: float | None = None) -> None:
        """Let its time begin, now or at `start`."""
        now = time.monotonic()
        self._ends.pop(key, None)
        self._ends[key] = end = (now if start is None else start) + self.patience_s
        if self._timer is None:
            self._wind(end - now)

    def discard(self, key: Key) -> None:
        """Stop its time."""
        self._ends.pop(key, None)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._ends)

    def is_late(self, key: Key) -> bool:
        """Return whether its time is up, though the timer may not have rung."""
        return self._ends.get(key, math.inf) <= time.monotonic()

    def stop(self) -> None:
        """Stop all."""
        self._ends.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wind(self, wait_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(max(wait_s, GRAIN * self.patience_s), self._ring)

    def _ring(self) -> None:
        now = time.monotonic()
        self._timer = None
        late = []
        for key, end in self._ends.items():
            if end > now:
                self._wind(end - now)
                break
            late.append((key, end))
        for key, end in late:
            if self._ends.get(key) == end:
                del self._ends[key]
                self._late(key, end)
