"""What of a table without growing ids has been seen: the rows of the last while, counted.

Such a table can only be asked by time, so whatever is later than the window is never found. The newest rows are asked
for each time; the rest of the window in sweeps, a slice at a time. Pure: no clock, no database.

Rows are asked for, counted and remembered by the times that stand in the table, which stay what they are. Which
instant a local time means does not: in the hour that the end of daylight saving repeats, the rows of the first pass
are asked for again with those of the second. So each row is delivered once, and as soon as at any other hour; also two
that are equal in all they hold, one of each pass. What the table does not tell, nobody can: a row of the first pass
that is committed in the second counts as of the second, and one overwritten with an equal one is no new row.
"""

from collections import Counter
from collections.abc import Callable, Sequence
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
WallSpan = Callable[[datetime, datetime], Span]
"""The span, in the table's own times, that holds all which may mean one of these instants (`instants.wall_span`)."""


class TimeTracker:
    """The rows seen. A row is found if it is committed at most `late_window` after its time."""

    def __init__(self, late_window: timedelta, now: datetime, wall_span: WallSpan) -> None:
        self.late_window = late_window
        self._wall_span = wall_span
        self._newest = now - late_window
        # Rows of equal content cannot be told apart, but they can be counted.
        self._seen: dict[datetime, Counter[tuple[Any, ...]]] = {}  # by the table's times
        self._remembered = self._newest - OVERLAP  # from here on
        self._first_wall = self._wall_of(self._remembered)  # the same, in the table's times
        self._began = self._swept = self._asked = now
        self._slice = late_window
        self._sweep(now)

    def question(self, now: datetime) -> list[Span]:
        """Return the spans of the table's times to ask for now, both ends included.

        They may overlap where the clocks change.
        """
        return [self._wall_span(start, end) for start, end in self._question(now)]

    def _question(self, now: datetime) -> list[Span]:
        # Where the database was away for longer than the window, from the last row seen.
        recent = self._newest - OVERLAP, now + END
        self._asked = self._swept + self._slice
        if self._asked >= recent[0]:
            return [(min(self._swept, recent[0]), recent[1])]
        return [(self._swept, self._asked), recent]

    def take(self, rows: Sequence[Row], now: datetime) -> list[Row]:
        """Return those of `rows`, the answer to the question put at `now`, that are new.

        They hold each row once, and every row of each of the table's times that they hold at all.
        """
        new = []
        met: Counter[tuple[Any, ...]] = Counter()
        recent = self._newest - OVERLAP
        for row in rows:
            # Around a change of the clocks more is asked for than is remembered.
            if row.time is None or row.wall is None or row.wall < self._first_wall:
                continue
            met[row.content] += 1
            seen = self._seen.setdefault(row.wall, Counter())
            if met[row.content] > seen[row.content]:
                seen[row.content] += 1
                new.append(row)
                # Asked for again, a row of the first pass may mean an instant of the second.
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
        self._first_wall = max(self._first_wall, self._wall_of(self._remembered))
        for wall in [wall for wall in self._seen if wall < self._first_wall]:
            del self._seen[wall]

    def _wall_of(self, instant: datetime) -> datetime:
        return self._wall_span(instant, instant)[0]
