"""What of a growing table has been seen: all ids up to the frontier, but for the holes.

Rows commit out of the order of their ids: whoever asks only for "above the last id" never sees the row that was given
its id early and committed late (4.6 % of them, under 16 writers). So every id that is passed over is remembered as a
hole and asked for again until the longest transaction must be over. Pure: no clock, no database.
"""

import bisect
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ask.readings import Row

EAGER_S = 30.0
"""A hole younger than this is asked for each time; an older one after each further tenth of its age."""
MOST_HOLES = 500
"""Holes asked for at once; the one that has waited longest goes first."""


@dataclass(slots=True)
class Hole:
    """Ids from `low` to `high` that were not there; times are in seconds of the caller's clock."""

    low: int
    high: int
    since: float
    due: float


class Question(NamedTuple):
    """What to ask: the rows from the id `known` on, and those in `holes`."""

    known: int
    holes: list[tuple[int, int]]


class Restarted(Exception):
    """The last row seen is not there any more, or another has taken its id: the table may have begun anew."""


class IdTracker:
    """The ids seen so far. `known` is the highest, `patience_s` how long a hole is waited for."""

    def __init__(self, known: int, patience_s: float) -> None:
        self.known = known
        self.patience_s = patience_s
        self._anchor: tuple[Any, ...] | None = None
        self._holes: list[Hole] = []  # by id; they never overlap

    @classmethod
    def begin(cls, highest: int, lowest: int, recent: Iterable[int], patience_s: float, now: float) -> "IdTracker":
        """Begin at `highest`, counting as seen all below `lowest`, and the `recent` ids between the two."""
        id_tracker = cls(lowest - 1, patience_s)
        for reading_id in sorted(recent):
            if id_tracker.known < reading_id <= highest:
                id_tracker._advance(reading_id, now)
        if id_tracker.known < highest:
            id_tracker._holes.append(Hole(id_tracker.known + 1, highest, now, now))
            id_tracker.known = highest
        return id_tracker

    @classmethod
    def resume(cls, known: int, holes: Iterable[tuple[int, int]], patience_s: float, now: float) -> "IdTracker":
        """Go on at `known`, with the `holes` that another frontier had there; they are waited for anew."""
        id_tracker = cls(known, patience_s)
        id_tracker._holes = [Hole(low, high, now, now) for low, high in holes if high < known]
        return id_tracker

    def spans(self) -> list[tuple[int, int]]:
        """Return the holes that are still waited for, by id, ends included."""
        return [(hole.low, hole.high) for hole in self._holes]

    @property
    def holes(self) -> int:
        """How many holes are still waited for."""
        return len(self._holes)

    def question(self, now: float) -> Question:
        """Return what to ask for now."""
        due = heapq.nsmallest(MOST_HOLES, (hole for hole in self._holes if hole.due <= now), key=lambda hole: hole.due)
        return Question(self.known, sorted((hole.low, hole.high) for hole in due))

    def take(self, asked: Question, rows: Sequence[Row], most: int, now: float) -> list[Row]:
        """Return those of `rows`, the answer to `asked` with at most `most` rows to each part, that are new.

        `now` is when the question was put. Raises `Restarted`; the frontier is then as it was.
        """
        late = [row for row in rows if _id(row) < asked.known]
        ahead = [row for row in rows if _id(row) >= asked.known]
        self._check_anchor(ahead)
        new = [row for row in late if self._fill(_id(row), now)]
        if len(late) < most:
            self._put_off(asked.holes, now)
        for row in ahead:
            if _id(row) > self.known:
                self._advance(_id(row), now)
                new.append(row)
            elif self._anchor is not None and row.content != self._anchor:
                new.append(row)  # its value was corrected in place: what is shown must follow
            if _id(row) == self.known:
                self._anchor = row.content
        return new

    def _check_anchor(self, ahead: Sequence[Row]) -> None:
        # The question includes the last row seen, so that a table that was emptied or restored shows at once.
        if self._anchor is None:
            return
        if not ahead or _id(ahead[0]) != self.known or _what(ahead[0].content) != _what(self._anchor):
            raise Restarted

    def step_back(self) -> None:
        """Go on although the last row seen is gone; should another have taken its id, that one is new."""
        self._anchor = None
        self.known -= 1

    def _advance(self, reading_id: int, now: float) -> None:
        if reading_id > self.known + 1:
            self._holes.append(Hole(self.known + 1, reading_id - 1, now, now))
        self.known = reading_id

    def _fill(self, reading_id: int, now: float) -> bool:
        """Take an id out of its hole; False where it is in none: it has been seen."""
        index = bisect.bisect_right(self._holes, reading_id, key=lambda hole: hole.low) - 1
        if index < 0 or self._holes[index].high < reading_id:
            return False
        hole = self._holes.pop(index)
        parts = [(hole.low, reading_id - 1), (reading_id + 1, hole.high)]
        self._holes[index:index] = [Hole(low, high, hole.since, hole.due) for low, high in parts if low <= high]
        return True

    def _put_off(self, asked: Iterable[tuple[int, int]], now: float) -> None:
        """Say when the holes that were asked for in vain are asked for next; give up those that waited long enough."""
        spans = list(asked)
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


def _what(content: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sensor, metric and time of a row: what its values are values of."""
    return content[:3]


def _id(row: Row) -> int:
    assert row.reading_id is not None  # noqa: S101 - a frontier is for tables whose rows have ids
    return row.reading_id
