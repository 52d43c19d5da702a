"""Tracks which ids of a growing table have been seen: all up to the last one, except for the holes.

Rows are not committed in the order of their ids: a reader that only queries "above the last id" misses rows that got
their id early and were committed late (4.6 % of them, with 16 writers). So every skipped id is remembered as a hole,
and queried again until the longest transaction must be over. Pure: no clock, no database.
"""

import bisect
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ask.readings import Row

EAGER_S = 30.0
"""A hole younger than this is in each query; an older one is queried again after a tenth of its age."""
MAX_HOLES_PER_QUERY = 500
"""Holes in one query; those that have been due for longest go first."""


@dataclass(slots=True)
class Hole:
    """Ids from `low` to `high` that were missing; times are in seconds of the caller's clock."""

    low: int
    high: int
    since: float
    due: float


class Query(NamedTuple):
    """The rows to query: those from the id `first_id` on, and those in `holes`."""

    first_id: int
    holes: list[tuple[int, int]]


class Restarted(Exception):
    """The last row seen is gone, or another row has its id: the table may have been emptied or restored."""


class IdTracker:
    """The ids seen so far: `last_id` is the highest, `patience_s` how long a hole is queried again."""

    def __init__(self, last_id: int, patience_s: float) -> None:
        self.last_id = last_id
        self.patience_s = patience_s
        self._anchor: tuple[Any, ...] | None = None
        self._holes: list[Hole] = []  # by id; they never overlap

    @classmethod
    def start_at(cls, highest: int, lowest: int, recent: Iterable[int], patience_s: float, now: float) -> "IdTracker":
        """Start at `highest`; all ids below `lowest`, and the `recent` ones between the two, count as seen."""
        id_tracker = cls(lowest - 1, patience_s)
        for reading_id in sorted(recent):
            if id_tracker.last_id < reading_id <= highest:
                id_tracker._advance(reading_id, now)
        if id_tracker.last_id < highest:
            id_tracker._holes.append(Hole(id_tracker.last_id + 1, highest, now, now))
            id_tracker.last_id = highest
        return id_tracker

    @classmethod
    def resume_at(cls, last_id: int, holes: Iterable[tuple[int, int]], patience_s: float, now: float) -> "IdTracker":
        """Continue at `last_id` with the `holes` that another tracker had there; their patience starts again."""
        id_tracker = cls(last_id, patience_s)
        id_tracker._holes = [Hole(low, high, now, now) for low, high in holes if high < last_id]
        return id_tracker

    def hole_spans(self) -> list[tuple[int, int]]:
        """Return the holes that are still queried, by id, as first and last id."""
        return [(hole.low, hole.high) for hole in self._holes]

    def next_query(self, now: float) -> Query:
        """Return what to query now."""
        due = heapq.nsmallest(
            MAX_HOLES_PER_QUERY, (hole for hole in self._holes if hole.due <= now), key=lambda hole: hole.due
        )
        return Query(self.last_id, sorted((hole.low, hole.high) for hole in due))

    def add_rows(self, query: Query, rows: Sequence[Row], limit: int, now: float) -> list[Row]:
        """Return the new ones of `rows`, the result of `query` with at most `limit` rows for each of its parts.

        `now` is when the query was sent. Raises `Restarted`; the tracker is then unchanged.
        """
        late = [row for row in rows if _id(row) < query.first_id]
        ahead = [row for row in rows if _id(row) >= query.first_id]
        self._check_anchor(ahead)
        new = [row for row in late if self._remove_from_hole(_id(row), now)]
        if len(late) < limit:
            self._postpone(query.holes, now)
        for row in ahead:
            if _id(row) > self.last_id:
                self._advance(_id(row), now)
                new.append(row)
            elif self._anchor is not None and row.content != self._anchor:
                new.append(row)  # its value was corrected in place: the page must show it
            if _id(row) == self.last_id:
                self._anchor = row.content
        return new

    def _check_anchor(self, ahead: Sequence[Row]) -> None:
        # The query includes the last row seen, so a table that was emptied or restored is noticed at once.
        if self._anchor is None:
            return
        if not ahead or _id(ahead[0]) != self.last_id or _identity(ahead[0].content) != _identity(self._anchor):
            raise Restarted

    def step_back(self) -> None:
        """Continue although the last row seen is gone; another row with its id counts as new."""
        self._anchor = None
        self.last_id -= 1

    def _advance(self, reading_id: int, now: float) -> None:
        if reading_id > self.last_id + 1:
            self._holes.append(Hole(self.last_id + 1, reading_id - 1, now, now))
        self.last_id = reading_id

    def _remove_from_hole(self, reading_id: int, now: float) -> bool:
        """Remove an id from its hole; return False if it is in none, as it has been seen."""
        index = bisect.bisect_right(self._holes, reading_id, key=lambda hole: hole.low) - 1
        if index < 0 or self._holes[index].high < reading_id:
            return False
        hole = self._holes.pop(index)
        parts = [(hole.low, reading_id - 1), (reading_id + 1, hole.high)]
        self._holes[index:index] = [Hole(low, high, hole.since, hole.due) for low, high in parts if low <= high]
        return True

    def _postpone(self, queried: Iterable[tuple[int, int]], now: float) -> None:
        """Set when the holes that stayed empty are queried next; give up those older than the patience."""
        spans = list(queried)
        kept = []
        for hole in self._holes:
            if hole.due <= now and _within(hole, spans):
                age = now - hole.since
                if age >= self.patience_s:
                    continue
                hole.due = now + (0.0 if age < EAGER_S else age / 10)
            kept.append(hole)
        self._holes = kept


def _within(hole: Hole, spans: list[tuple[int, int]]) -> bool:
    index = bisect.bisect_right(spans, hole.low, key=lambda span: span[0]) - 1
    return index >= 0 and hole.high <= spans[index][1]


def _identity(content: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return sensor, metric and time of a row, without its values."""
    return content[:3]


def _id(row: Row) -> int:
    assert row.reading_id is not None  # noqa: S101 - only tables whose rows have ids are tracked
    return row.reading_id
