"""What of a table without growing ids has been seen: the rows of the last while, counted.

Such a table can only be asked by time, so whatever is later than the window is never found. The newest rows are asked
for each time; the rest of the window a slice at a time, all of it once in `ROUNDS` questions. Pure: no clock, no
database.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ask.readings import Row

ROUNDS = 60
OVERLAP = timedelta(seconds=120)
"""How far behind the newest row each question reaches back."""
END = timedelta(days=366)
"""How far ahead of now a wrong clock is still looked for."""

Span = tuple[datetime, datetime]


class Window:
    """The rows seen between `late_window` ago and now."""

    def __init__(self, late_window: timedelta, now: datetime) -> None:
        self.late_window = late_window
        self._newest = now - late_window
        self._swept = now
        # Rows of equal content cannot be told apart, but they can be counted.
        self._seen: dict[datetime, Counter[tuple[Any, ...]]] = {}

    def question(self, now: datetime) -> list[Span]:
        """Return the spans of time to ask for now, both ends included."""
        start = now - self.late_window
        if not start <= self._swept < now:
            self._swept = start
        piece = self._swept, self._swept + self.late_window / ROUNDS
        self._swept = piece[1]
        # Where the database was away for longer than the window, from the last row seen.
        recent = self._newest - OVERLAP, now + END
        return [recent] if piece[1] >= recent[0] else [piece, recent]

    def take(self, rows: Sequence[Row], now: datetime) -> list[Row]:
        """Return those of `rows` that are new; they hold every row of each time that they hold at all."""
        start = self._start(now)
        new = []
        met: Counter[tuple[Any, ...]] = Counter()
        for row in rows:
            if row.time is None or row.time < start:
                continue
            met[row.content] += 1
            seen = self._seen.setdefault(row.time, Counter())
            if met[row.content] > seen[row.content]:
                seen[row.content] += 1
                new.append(row)
            self._newest = max(self._newest, min(row.time, now))
        self._forget(self._start(now))
        return new

    def _start(self, now: datetime) -> datetime:
        """The time before which nothing is asked for, and so nothing need be remembered."""
        return min(now - self.late_window, self._newest - OVERLAP)

    def _forget(self, start: datetime) -> None:
        for time in [time for time in self._seen if time < start]:
            del self._seen[time]
