"""Tracks which ids of a table with growing ids have been seen.

The seen ids are all ids up to the highest seen id, except the holes. A hole is a range of ids that no query has
returned yet. Rows may be committed in another order than the order of their ids. A reader that only queries ids above
the highest seen id misses rows that got their id early and were committed late (4.6 % of the rows with 16 writers). The
tracker therefore remembers each hole, and includes it in later queries until even the longest transaction must have
ended. The tracker uses no clock and no database.
"""

import bisect
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ask.readings import Row

EAGER_S = 30.0
"""While a hole (a range of missing ids) is younger than this number of seconds, it is part of every query.

After each query of an older hole, the tracker waits a tenth of the hole's age before it queries the hole again.
"""
MAX_HOLES_PER_QUERY = 500
"""Maximum number of holes (ranges of missing ids) in one query.

If more holes are due, the holes that have been due for the longest time are queried first.
"""


@dataclass(slots=True)
class Hole:
    """A hole: a range of missing ids, from `low` to `high`.

    `since` is the time at which the hole was found, and `due` the time of its next query, in seconds of the caller's
    clock.
    """

    low: int
    high: int
    since: float
    due: float


class Query(NamedTuple):
    """The ids to query: every id from `first_id` upwards, and the ranges of missing ids in `holes`."""

    first_id: int
    holes: list[tuple[int, int]]


class Restarted(Exception):
    """The row with the highest seen id is missing, or another row has its id.

    The table may have been emptied or restored.
    """


class IdTracker:
    """Tracks the ids seen so far. `last_id` is the highest seen id.

    A hole (a range of missing ids) that is older than `patience_s` seconds is no longer queried.
    """

    def __init__(self, last_id: int, patience_s: float) -> None:
        self.last_id = last_id
        self.patience_s = patience_s
        self._anchor: tuple[Any, ...] | None = None
        self._holes: list[Hole] = []  # sorted by id; they never overlap

    @classmethod
    def start_at(cls, highest: int, lowest: int, recent: Iterable[int], patience_s: float, now: float) -> "IdTracker":
        """Return a tracker whose highest seen id is `highest`.

        Ids below `lowest` and ids in `recent` count as seen. All other ids up to `highest` count as missing and will be
        queried.
        """
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
        """Return a tracker with the `last_id` and the `holes` (ranges of missing ids) of an earlier tracker.

        The age of each hole starts again at 0.
        """
        id_tracker = cls(last_id, patience_s)
        id_tracker._holes = [Hole(low, high, now, now) for low, high in holes if high < last_id]
        return id_tracker

    def hole_spans(self) -> list[tuple[int, int]]:
        """Return the ranges of ids that are still missing, as (first id, last id), sorted by id."""
        return [(hole.low, hole.high) for hole in self._holes]

    def next_query(self, now: float) -> Query:
        """Return the ids to query now."""
        due = heapq.nsmallest(
            MAX_HOLES_PER_QUERY, (hole for hole in self._holes if hole.due <= now), key=lambda hole: hole.due
        )
        return Query(self.last_id, sorted((hole.low, hole.high) for hole in due))

    def add_rows(self, query: Query, rows: Sequence[Row], limit: int, now: float) -> list[Row]:
        """Return the rows that were not seen before. Also return the last seen row if its value was corrected.

        `rows` is the result of `query`: at most `limit` rows with missing ids, and at most `limit` rows with ids from
        `first_id` on. `now` is the time at which the query was sent. If the row with the highest seen id is missing or
        was replaced, raise `Restarted` and leave the tracker unchanged.
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
                new.append(row)  # the value was corrected in place, and the page must show the new value
            if _id(row) == self.last_id:
                self._anchor = row.content
        return new

    def _check_anchor(self, ahead: Sequence[Row]) -> None:
        # The query includes the last seen row, so an emptied or restored table is detected at once.
        if self._anchor is None:
            return
        if not ahead or _id(ahead[0]) != self.last_id or _identity(ahead[0].content) != _identity(self._anchor):
            raise Restarted

    def step_back(self) -> None:
        """Lower `last_id` by one, because the row with the highest seen id was deleted or replaced.

        If another row has the deleted row's id now, that row counts as new.
        """
        self._anchor = None
        self.last_id -= 1

    def _advance(self, reading_id: int, now: float) -> None:
        if reading_id > self.last_id + 1:
            self._holes.append(Hole(self.last_id + 1, reading_id - 1, now, now))
        self.last_id = reading_id

    def _remove_from_hole(self, reading_id: int, now: float) -> bool:
        """Remove an id from the range of missing ids (hole) that contains it.

        Return False if the id is not missing, because it has been seen before.
        """
        index = bisect.bisect_right(self._holes, reading_id, key=lambda hole: hole.low) - 1
        if index < 0 or self._holes[index].high < reading_id:
            return False
        hole = self._holes.pop(index)
        # Rows still arrive in this hole, so the ids after this one may follow. If a single row has a far too high id,
        # the ids of all later rows are in one hole.
        parts = [Hole(hole.low, reading_id - 1, hole.since, hole.due), Hole(reading_id + 1, hole.high, now, hole.due)]
        self._holes[index:index] = [part for part in parts if part.low <= part.high]
        return True

    def _postpone(self, queried: Iterable[tuple[int, int]], now: float) -> None:
        """Set the next query time of the holes (ranges of missing ids) that were queried but are still not filled.

        Drop holes that are older than `patience_s` seconds.
        """
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
    """Return the sensor, metric and time of a row, without its values."""
    return content[:3]


def _id(row: Row) -> int:
    assert row.reading_id is not None  # noqa: S101 - the tracker is only used for tables with ids
    return row.reading_id
