"""Tracks which rows of a table without growing ids have been seen, by counting those of the last `late_window`.

Such a table can only be queried by time, so rows that are committed later than that are missed. The newest rows are
in each query; the rest of the time is swept, a slice in each query. Pure: no clock, no database.

Rows are queried, counted and remembered by the times written in the table, which never change. The instant that a
local time means does change: in the hour that the end of daylight saving repeats, the rows of the first pass are
queried again with those of the second. So each row is delivered once, and as promptly as at any other hour; also two
equal rows, one of each pass. Two cases cannot be detected: a row of the first pass that is committed in the second
counts as of the second, and a row overwritten with an equal one is not new.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from ask.readings import Row

QUERIES_PER_SWEEP = 60
OVERLAP = timedelta(seconds=120)
"""How far each query reaches back before the newest row."""
MAX_AHEAD = timedelta(days=366)
"""How far ahead of now each query reaches, for sensors whose clocks are wrong."""

Span = tuple[datetime, datetime]
WallSpan = Callable[[datetime, datetime], Span]
"""Returns the span of the table's own times that may mean one of these instants (`time_zones.wall_span`)."""


class TimeTracker:
    """The rows seen so far. A row is delivered if it is committed at most `late_window` after its time."""

    def __init__(self, late_window: timedelta, now: datetime, wall_span: WallSpan) -> None:
        self.late_window = late_window
        self._wall_span = wall_span
        self._newest = now - late_window
        # Rows of equal content cannot be told apart, but they can be counted.
        self._seen: dict[datetime, Counter[tuple[Any, ...]]] = {}  # by the table's times
        self._remembered = self._newest - OVERLAP  # from here on
        self._first_wall = self._wall_of(self._remembered)  # the same, in the table's times
        self._sweep_started = self._swept = self._slice_end = now
        self._slice = late_window
        self._sweep(now)

    def next_query(self, now: datetime) -> list[Span]:
        """Return the spans of the table's times to query now, both ends included.

        They may overlap around a change of the clocks.
        """
        return [self._wall_span(start, end) for start, end in self._next_spans(now)]

    def _next_spans(self, now: datetime) -> list[Span]:
        # From the last row seen, even if the database was away for longer than the window.
        recent = self._newest - OVERLAP, now + MAX_AHEAD
        self._slice_end = self._swept + self._slice
        if self._slice_end >= recent[0]:
            return [(min(self._swept, recent[0]), recent[1])]
        return [(self._swept, self._slice_end), recent]

    def add_rows(self, rows: Sequence[Row], now: datetime) -> list[Row]:
        """Return the new ones of `rows`, the result of the query of `now`.

        `rows` must hold each row once, and for each of the table's times all of its rows.
        """
        new = []
        counted: Counter[tuple[Any, ...]] = Counter()
        recent = self._newest - OVERLAP
        for row in rows:
            # Around a change of the clocks, queries reach back further than the memory.
            if row.time is None or row.wall is None or row.wall < self._first_wall:
                continue
            counted[row.content] += 1
            seen = self._seen.setdefault(row.wall, Counter())
            if counted[row.content] > seen[row.content]:
                seen[row.content] += 1
                new.append(row)
                # A row of the first pass that is queried again may mean an instant of the second.
                self._newest = max(self._newest, min(row.time, now))
        self._swept = self._slice_end
        if self._swept >= min(recent, self._sweep_started):
            self._sweep(now)
        self._forget()
        return new

    def _sweep(self, now: datetime) -> None:
        """Start a sweep, up to now; it covers all that may have been committed late since the last one started."""
        # If our clock is set back, rows that are no longer remembered must not be delivered again.
        self._swept = max(min(self._sweep_started, now) - self.late_window, self._remembered)
        self._slice = max(now - self._swept, self.late_window) / QUERIES_PER_SWEEP
        self._sweep_started = now

    def _forget(self) -> None:
        # No later query reaches back before the rest of this sweep, the next sweep, and the newest rows.
        needed = min(self._swept, self._sweep_started - self.late_window, self._newest - OVERLAP)
        self._remembered = max(self._remembered, needed)
        self._first_wall = max(self._first_wall, self._wall_of(self._remembered))
        for wall in [wall for wall in self._seen if wall < self._first_wall]:
            del self._seen[wall]

    def _wall_of(self, instant: datetime) -> datetime:
        return self._wall_span(instant, instant)[0]
