"""Sources of new readings: a table with growing ids, or one that can be queried by time only."""

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

log = logging.getLogger(__name__)

MAX_ROWS = 5_000
"""Rows in one result; if there are more, the next query follows at once."""
MAX_HOLES = 10_000
"""Holes in a position."""
RECENT_IDS = 10_000
"""How far below the highest id a transaction may still be open when we start."""


class Position(msgspec.Struct, frozen=True):
    """How far a table has been read: up to the id `last_id`, except for `holes`, or up to a time."""

    last_id: int | None = msgspec.field(default=None, name="known")  # stored snapshots have this key
    holes: list[tuple[int, int]] = []
    time: datetime | None = None


class Source(Protocol):
    """Delivers every committed reading once, after one of the two starts. All but `position` raise `Unavailable`."""

    async def start_at_end(self) -> None:
        """Count all existing readings as delivered."""

    async def resume_at(self, position: Position) -> None:
        """Count as delivered what another source had delivered at this position, or a little less."""

    def position(self) -> Position:
        """Return how far it has read."""

    async def read_new(self) -> tuple[list[Reading], bool]:
        """Return readings that were not delivered yet, and whether there may be more at once."""


def create_source(ask: Ask, clock: Clock) -> Source:
    """Return the source for the site's table of readings."""
    return IdSource(ask, clock) if ask.subjects.reading.grows else TimeSource(ask, clock)


class IdSource:
    """The source for readings whose ids grow."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._patience_s = ask.subjects.reading.late_window.total_seconds()
        self._id_tracker = IdTracker(-1, self._patience_s)
        self._latest: dict[Key, datetime] = {}
        self._started_at = clock()
        # Of the table before its ids restarted: its highest id, and `_latest`.
        self._last_id_before = -1
        self._latest_before: dict[Key, datetime] = {}

    async def start_at_end(self) -> None:
        """Count all existing readings as delivered, but not the ids that are missing among the last ones."""
        self._started_at = self._clock()
        highest = await self._ask.highest_row()
        lowest = max(0, highest - RECENT_IDS)
        recent = await self._ask.row_ids(lowest, highest)
        self._id_tracker = IdTracker.start_at(highest, lowest, recent, self._patience_s, time.monotonic())

    async def resume_at(self, position: Position) -> None:
        """Continue from there; if the table's ids have restarted since, from its first row."""
        self._started_at = self._clock()
        last_id = -1 if position.last_id is None else position.last_id
        if await self._ask.highest_row() < last_id:
            last_id = -1
        self._id_tracker = IdTracker.resume_at(last_id, position.holes, self._patience_s, time.monotonic())

    def position(self) -> Position:
        """Return how far it has read, with at most the `MAX_HOLES` newest holes."""
        return Position(self._id_tracker.last_id, self._id_tracker.hole_spans()[-MAX_HOLES:])

    async def read_new(self) -> tuple[list[Reading], bool]:
        """Return readings that were not delivered yet, and whether there may be more at once."""
        queried_at = time.monotonic()
        query = self._id_tracker.next_query(queried_at)
        rows = await self._ask.rows_after(query.first_id, query.holes, MAX_ROWS)
        try:
            new = self._id_tracker.add_rows(query, rows, MAX_ROWS, queried_at)
        except Restarted:
            await self._restart()
            return [], True
        readings = [reading for row in new for reading in row.readings if not self._is_restored(row, reading)]
        for reading in readings:
            self._latest[reading.key] = max(reading.time, self._latest.get(reading.key, reading.time))
        return readings, len(rows) >= MAX_ROWS

    async def _restart(self) -> None:
        highest = await self._ask.highest_row()
        if highest > self._id_tracker.last_id:
            # Only the last row seen was deleted, or another has its id.
            self._id_tracker.step_back()
            return
        log.warning("the readings' ids went back from %s to %s: reading them anew", self._id_tracker.last_id, highest)
        now = self._clock()
        self._latest_before = {key: min(latest, now) for key, latest in self._latest.items()}
        self._last_id_before = max(self._last_id_before, self._id_tracker.last_id)
        self._id_tracker = IdTracker(-1, self._patience_s)

    def _is_restored(self, row: Row, reading: Reading) -> bool:
        # A table that is restored, perhaps in portions, holds rows again that were delivered before, or existed when
        # we started: of the old ids, only newer readings are delivered.
        has_old_id = row.reading_id is not None and row.reading_id <= self._last_id_before
        return has_old_id and reading.time <= self._latest_before.get(reading.key, self._started_at)


class TimeSource:
    """The source for readings without growing ids."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._queried_at = clock()
        self._time_tracker = self._track_from(self._queried_at)

    def _track_from(self, time: datetime) -> TimeTracker:
        reading = self._ask.subjects.reading
        return TimeTracker(reading.late_window, time, reading.wall_span)

    async def start_at_end(self) -> None:
        """Count all readings in the late window as delivered."""
        await self.read_new()

    async def resume_at(self, position: Position) -> None:
        """Continue from the late window as it was then: readings in it are delivered again."""
        self._time_tracker = self._track_from(position.time or self._clock())

    def position(self) -> Position:
        """Return when it last queried the table."""
        return Position(time=self._queried_at)

    async def read_new(self) -> tuple[list[Reading], bool]:
        """Return readings that were not delivered yet; there are never more at once."""
        now = self._clock()
        rows = await self._all_rows(self._time_tracker.next_query(now))
        self._queried_at = now
        return [reading for row in self._time_tracker.add_rows(rows, now) for reading in row.readings], False

    async def _all_rows(self, spans: Sequence[Span]) -> Sequence[Row]:
        """Return all rows of the spans, each once, queried in portions that end between two times of the table."""
        all_rows: list[Row] = []
        limit = MAX_ROWS
        while True:
            rows = await self._ask.rows_between(spans, limit)
            if len(rows) < limit:
                return all_rows + rows
            last = max((row.wall for row in rows if row.wall), default=None)
            complete = [row for row in rows if row.wall and row.wall != last]
            if last and complete:
                all_rows += complete
                spans = [(max(start, last), end) for start, end in spans if end >= last]
            else:
                limit *= 2
