"""What of a table without growing ids has been seen: the rows of the last while, counted.

Such a table can only be asked by time, so whatever is later than the window is never found. The newest rows are asked
for each time; the rest of the window in sweeps, a slice at a time. Pure: no clock, no database.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ask.readings import Row

ROUNDS = 60
"""Questions to a sweep."""
OVERLAP = timedelta(seconds=120)
"""How far behind the newest row each question reaches back."""
END = timedelta(days=366)
"""How far ahead of now a wrong clock is still looked for."""

Span = tuple[datetime, datetime]


class Window:
    """The rows seen. A row is found if it is committed at most `late_window` after its time."""

    def __init__(self, late_window: timedelta, now: datetime) -> None:
        self.late_window = late_window
        self._newest = now - late_window
        # Rows of equal content cannot be told apart, but they can be counted.
        self._seen: dict[datetime, Counter[tuple[Any, ...]]] = {}
        self._remembered = self._newest - OVERLAP  # from here on
        self._began = self._swept = self._asked = now
        self._slice = late_window
        self._sweep(now)

    def question(self, now: datetime) -> list[Span]:
        """Return the spans of time to ask for now, both ends included; they never overlap."""
        # Where the database was away for longer than the window, from the last row seen.
        recent = self._newest - OVERLAP, now + END
        self._asked = self._swept + self._slice
        if self._asked >= recent[0]:
            return [(min(self._swept, recent[0]), recent[1])]
        return [(self._swept, self._asked), recent]

    def take(self, rows: Sequence[Row], now: datetime) -> list[Row]:
        """Return those of `rows`, the answer to the question put at `now`, that are new.

        They hold every row of each time that they hold at all.
        """
        new = []
        met: Counter[tuple[Any, ...]] = Counter()
        recent = self._newest - OVERLAP
        for row in rows:
            if row.time is None:
                continue
            met[row.content] += 1
            seen = self._seen.setdefault(row.time, Counter())
            if met[row.content] > seen[row.content]:
                seen[row.content] += 1
                new.append(row)
            self._newest = max(self._newest, min(row.time, now))
        self._swept = self._asked
        if self._swept >= min(recent, self._began):
            self._sweep(now)
        self._forget()
        return new

    def _sweep(self, now: datetime) -> None:
        """Begin a sweep, up to now; it covers all that may have been committed late since the one before began."""
        # A clock that is set back must not bring up again what is not remembered any more.
        self._swept = max(min(self._began, now) - self.late_window, self._remembered)
        self._slice = max(now - self._swept, self.late_window) / ROUNDS
        self._began = now

    def _forget(self) -> None:
        # Nothing before the start of this sweep's rest, of the next sweep or of the newest is asked for again.
        needed = min(self._swept, self._began - self.late_window, self._newest - OVERLAP)
        self._remembered = max(self._remembered, needed)
        for time in [time for time in self._seen if time < self._remembered]:
            del self._seen[time]
