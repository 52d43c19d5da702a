"""Tracks which rows of a table without growing ids have been seen, by counting the rows of the last `late_window`.

Such a table can only be queried by time. A row that is committed more than `late_window` after the time in the row is
missed. Every query includes the newest rows. The older rows of the late window are queried in slices, one slice per
query. The tracker uses no clock and no database.

The tracker queries, counts and remembers rows by the local times in the table, because these never change. The instant
of a local time can change: when daylight saving time ends, an hour is repeated. In the second pass of this hour, a
query returns the rows of the first pass again. Because rows are counted, each row is still delivered once and without
delay, even if the two passes contain equal rows. Two cases cannot be detected. A row of the first pass that is
committed during the second pass counts as a row of the second pass. A row that is overwritten with an equal row does
not count as new.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from ask.readings import Row

QUERIES_PER_SWEEP = 60
OVERLAP = timedelta(seconds=120)
"""Every query includes the rows of this time span before the newest seen row."""
MAX_AHEAD = timedelta(days=366)
"""Every query includes the rows of this time span after the current time.

The clock of a sensor may be wrong, so that its rows have times in the future.
"""

Span = tuple[datetime, datetime]
WallSpan = Callable[[datetime, datetime], Span]
"""A function that takes a span of instants and returns a span of the table's local times that covers it.

An example is `time_zones.wall_span`.
"""


class TimeTracker:
    """Tracks the rows that have been seen so far.

    A row is delivered if it is committed at most `late_window` after the time in the row.
    """

    def __init__(self, late_window: timedelta, now: datetime, wall_span: WallSpan) -> None:
        self.late_window = late_window
        self._wall_span = wall_span
        self._newest = now - late_window
        # Rows with equal content cannot be distinguished, but they can be counted.
        self._seen: dict[datetime, Counter[tuple[Any, ...]]] = {}  # keyed by the table's local times
        self._remembered = self._newest - OVERLAP  # `_seen` covers the time from here on
        self._first_wall = self._wall_of(self._remembered)  # the same, as a local time of the table
        self._sweep_started = self._swept = self._slice_end = now
        self._slice = late_window
        self._sweep(now)

    def next_query(self, now: datetime) -> list[Span]:
        """Return the time spans to query now, in local times of the table. Each span includes its start and its end.

        When daylight saving time starts or ends, the spans may overlap.
        """
        return [self._wall_span(start, end) for start, end in self._next_spans(now)]

    def _next_spans(self, now: datetime) -> list[Span]:
        # Start at the last seen row, even if the database was unavailable for longer than the late window.
        recent = self._newest - OVERLAP, now + MAX_AHEAD
        self._slice_end = self._swept + self._slice
        if self._slice_end >= recent[0]:
            return [(min(self._swept, recent[0]), recent[1])]
        return [(self._swept, self._slice_end), recent]

    def add_rows(self, rows: Sequence[Row], now: datetime) -> list[Row]:
        """Return the new rows among `rows`, the result of the query sent at `now`.

        `rows` must contain each row once. For each time, it must contain either all rows with this time or none.
        """
        new = []
        counted: Counter[tuple[Any, ...]] = Counter()
        recent = self._newest - OVERLAP
        for row in rows:
            # Near a change of the clocks, a query reaches back further than `_seen`.
            if row.time is None or row.wall is None or row.wall < self._first_wall:
                continue
            counted[row.content] += 1
            seen = self._seen.setdefault(row.wall, Counter())
            if counted[row.content] > seen[row.content]:
                seen[row.content] += 1
                new.append(row)
                # A row of the first pass that is queried again may be converted to an instant of the second pass.
                self._newest = max(self._newest, min(row.time, now))
        self._swept = self._slice_end
        if self._swept >= min(recent, self._sweep_started):
            self._sweep(now)
        self._forget()
        return new

    def _sweep(self, now: datetime) -> None:
        """Start a new sweep up to the time `now`. A sweep queries the older rows of the late window in slices.

        The new sweep covers all rows that may have been committed late since the start of the previous sweep.
        """
        # If this machine's clock is set back, rows that are no longer in `_seen` must not be delivered again.
        self._swept = max(min(self._sweep_started, now) - self.late_window, self._remembered)
        self._slice = max(now - self._swept, self.late_window) / QUERIES_PER_SWEEP
        self._sweep_started = now

    def _forget(self) -> None:
        # Later queries cover only the rest of this sweep, the next sweep and the newest rows.
        needed = min(self._swept, self._sweep_started - self.late_window, self._newest - OVERLAP)
        self._remembered = max(self._remembered, needed)
        self._first_wall = max(self._first_wall, self._wall_of(self._remembered))
        for wall in [wall for wall in self._seen if wall < self._first_wall]:
            del self._seen[wall]

    def _wall_of(self, instant: datetime) -> datetime:
        return self._wall_span(instant, instant)[0]
