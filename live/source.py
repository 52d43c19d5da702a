"""Where new readings come from: a table with growing ids, or one that can be asked by time only."""

import logging
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from ask import Ask
from ask.readings import Key, Reading, Row
from common.clock import Clock
from live.id_tracker import IdTracker, Restarted
from live.time_tracker import Span, TimeTracker

log = logging.getLogger("live")

MOST = 5_000
"""Rows in one answer; where there are more, the next question follows at once."""
MOST_HOLES = 10_000
"""Holes in a position."""
RECENT_IDS = 10_000
"""How far below the highest id a transaction may still be open when we start."""


class Position(msgspec.Struct, frozen=True):
    """How far a table has been read: up to the id `known` but for `holes`, or up to a time."""

    known: int | None = None
    holes: list[tuple[int, int]] = []
    time: datetime | None = None


class Source(Protocol):
    """Hands out every reading that is committed once, from `begin` on. All but `position` raise `Unavailable`."""

    async def begin(self) -> None:
        """Count all that is there as seen."""

    async def resume(self, position: Position) -> None:
        """Count as seen what another source had handed out when this was its position; perhaps a little less."""

    def position(self) -> Position:
        """Return how far it has come."""

    async def read(self) -> tuple[list[Reading], bool]:
        """Return readings not handed out yet, and whether there may be more at once."""


def source(ask: Ask, clock: Clock) -> Source:
    """Return the source that fits the site's readings."""
    return ByIds(ask, clock) if ask.subjects.reading.grows else ByTime(ask, clock)


class ByIds:
    """For readings whose ids grow."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._patience_s = ask.subjects.reading.late_window.total_seconds()
        self._id_tracker = IdTracker(-1, self._patience_s)
        self._latest: dict[Key, datetime] = {}
        self._began = clock()
        # Of the table as it was before it began anew: its highest id, and `_latest`.
        self._before = -1
        self._latest_before: dict[Key, datetime] = {}

    async def begin(self) -> None:
        """Count all that is there as seen, but not the ids that are still missing among the last."""
        self._began = self._clock()
        highest = await self._ask.highest_row()
        lowest = max(0, highest - RECENT_IDS)
        recent = await self._ask.row_ids(lowest, highest)
        self._id_tracker = IdTracker.begin(highest, lowest, recent, self._patience_s, time.monotonic())

    async def resume(self, position: Position) -> None:
        """Go on from there; where the table has begun anew since, from its beginning."""
        self._began = self._clock()
        known = -1 if position.known is None else position.known
        if await self._ask.highest_row() < known:
            known = -1
        self._id_tracker = IdTracker.resume(known, position.holes, self._patience_s, time.monotonic())

    def position(self) -> Position:
        """Return how far it has come; of very many holes the newest."""
        return Position(self._id_tracker.known, self._id_tracker.spans()[-MOST_HOLES:])

    async def read(self) -> tuple[list[Reading], bool]:
        """Return readings not handed out yet, and whether there may be more at once."""
        asked_at = time.monotonic()
        question = self._id_tracker.question(asked_at)
        rows = await self._ask.rows_after(question.known, question.holes, MOST)
        try:
            new = self._id_tracker.take(question, rows, MOST, asked_at)
        except Restarted:
            await self._restart()
            return [], True
        readings = [reading for row in new for reading in row.readings if not self._is_restored(row, reading)]
        for reading in readings:
            self._latest[reading.key] = max(reading.time, self._latest.get(reading.key, reading.time))
        return readings, len(rows) >= MOST

    async def _restart(self) -> None:
        highest = await self._ask.highest_row()
        if highest > self._id_tracker.known:
            # Only the last row seen was deleted, or another has taken its id.
            self._id_tracker.step_back()
            return
        log.warning("the readings' ids went back from %s to %s: reading them anew", self._id_tracker.known, highest)
        now = self._clock()
        self._latest_before = {key: min(latest, now) for key, latest in self._latest.items()}
        self._before = max(self._before, self._id_tracker.known)
        self._id_tracker = IdTracker(-1, self._patience_s)

    def _is_restored(self, row: Row, reading: Reading) -> bool:
        # A table that was restored, perhaps in portions, brings rows again that were handed out before, or were there
        # when we began; of its old ids only newer readings count.
        again = row.reading_id is not None and row.reading_id <= self._before
        return again and reading.time <= self._latest_before.get(reading.key, self._began)


class ByTime:
    """For readings without growing ids."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._asked = clock()
        self._time_tracker = self._since(self._asked)

    def _since(self, time: datetime) -> TimeTracker:
        reading = self._ask.subjects.reading
        return TimeTracker(reading.late_window, time, reading.wall_span)

    async def begin(self) -> None:
        """Count all that is in the window as seen."""
        await self.read()

    async def resume(self, position: Position) -> None:
        """Go on from the window as it was then: what was in it is handed out again."""
        self._time_tracker = self._since(position.time or self._clock())

    def position(self) -> Position:
        """Return when it last asked."""
        return Position(time=self._asked)

    async def read(self) -> tuple[list[Reading], bool]:
        """Return readings not handed out yet; there are never more at once."""
        now = self._clock()
        rows = await self._all(self._time_tracker.question(now))
        self._asked = now
        return [reading for row in self._time_tracker.take(rows, now) for reading in row.readings], False

    async def _all(self, spans: Sequence[Span]) -> Sequence[Row]:
        """All rows of the spans, each once, asked for in portions that end between two times of the table."""
        found: list[Row] = []
        most = MOST
        while True:
            rows = await self._ask.rows_between(spans, most)
            if len(rows) < most:
                return found + rows
            last = max((row.wall for row in rows if row.wall), default=None)
            whole = [row for row in rows if row.wall and row.wall != last]
            if last and whole:
                found += whole
                spans = [(max(start, last), end) for start, end in spans if end >= last]
            else:
                most *= 2
