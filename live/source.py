"""Sources of new readings: a table with growing ids, or a table that can only be queried by time."""

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
"""Maximum number of rows in the result of a query. If there are more, the next query follows at once."""
MAX_HOLES = 10_000
"""Maximum number of holes in a `Position`."""
RECENT_IDS = 10_000
"""Number of ids below the highest one that are searched for holes at start-up. A hole may be an open transaction."""


class Position(msgspec.Struct, frozen=True):
    """The position up to which a table of readings has been read: `last_id` with the `holes` below it, or `time`."""

    last_id: int | None = msgspec.field(default=None, name="known")  # the key in stored snapshots
    holes: list[tuple[int, int]] = []
    time: datetime | None = None


class Source(Protocol):
    """Delivers every committed reading once, after a call of `start_at_end` or `resume_at`.

    All methods except `position` raise `Unavailable` if the database does not answer.
    """

    async def start_at_end(self) -> None:
        """Count all existing readings as delivered."""

    async def resume_at(self, position: Position) -> None:
        """Continue at the position of another source. Some readings may be delivered a second time."""

    def position(self) -> Position:
        """Return the position up to which the table has been read."""

    async def read_new(self) -> tuple[list[Reading], bool]:
        """Return undelivered readings, and whether another query may return more without waiting."""


def create_source(ask: Ask, clock: Clock) -> Source:
    """Return the source for the site's table of readings."""
    return IdSource(ask, clock) if ask.subjects.reading.grows else TimeSource(ask, clock)


class IdSource:
    """A source for a table with growing ids."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._patience_s = ask.subjects.reading.late_window.total_seconds()
        self._id_tracker = IdTracker(-1, self._patience_s)
        self._latest: dict[Key, datetime] = {}
        self._started_at = clock()
        # The highest id, and the latest time of each key, before the table's ids restarted.
        self._last_id_before = -1
        self._latest_before: dict[Key, datetime] = {}

    async def start_at_end(self) -> None:
        """Count all existing readings as delivered. Query the ids that are missing among the last ones again."""
        self._started_at = self._clock()
        highest = await self._ask.highest_row()
        lowest = max(0, highest - RECENT_IDS)
        recent = await self._ask.row_ids(lowest, highest)
        self._id_tracker = IdTracker.start_at(highest, lowest, recent, self._patience_s, time.monotonic())

    async def resume_at(self, position: Position) -> None:
        """Continue at this position, or at the first row if the table's ids have restarted since."""
        self._started_at = self._clock()
        last_id = -1 if position.last_id is None else position.last_id
        if await self._ask.highest_row() < last_id:
            last_id = -1
        self._id_tracker = IdTracker.resume_at(last_id, position.holes, self._patience_s, time.monotonic())

    def position(self) -> Position:
        """Return the position, with at most the `MAX_HOLES` newest holes."""
        return Position(self._id_tracker.last_id, self._id_tracker.hole_spans()[-MAX_HOLES:])

    async def read_new(self) -> tuple[list[Reading], bool]:
        """Return undelivered readings, and whether another query may return more without waiting."""
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
            # Only the last seen row was deleted or replaced.
            self._id_tracker.step_back()
            return
        log.warning(
            "the highest reading id went back from %s to %s; reading the table from its start",
            self._id_tracker.last_id,
            highest,
        )
        now = self._clock()
        self._latest_before = {key: min(latest, now) for key, latest in self._latest.items()}
        self._last_id_before = max(self._last_id_before, self._id_tracker.last_id)
        self._id_tracker = IdTracker(-1, self._patience_s)

    def _is_restored(self, row: Row, reading: Reading) -> bool:
        # A table that is restored, perhaps in portions, contains rows again that were delivered before or existed at
        # start-up. So a row with an old id is delivered only if its time is later than the sensor's latest reading.
        has_old_id = row.reading_id is not None and row.reading_id <= self._last_id_before
        return has_old_id and reading.time <= self._latest_before.get(reading.key, self._started_at)


class TimeSource:
    """A source for a table without growing ids."""

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
        """Continue from one late window before this position. The readings in that window are delivered again."""
        self._time_tracker = self._track_from(position.time or self._clock())

    def position(self) -> Position:
        """Return the time of the last query as a position."""
        return Position(time=self._queried_at)

    async def read_new(self) -> tuple[list[Reading], bool]:
        """Return all undelivered readings, and False, because no more are available."""
        now = self._clock()
        rows = await self._all_rows(self._time_tracker.next_query(now))
        self._queried_at = now
        return [reading for row in self._time_tracker.add_rows(rows, now) for reading in row.readings], False

    async def _all_rows(self, spans: Sequence[Span]) -> Sequence[Row]:
        """Return all rows of the spans, each once. Query them in portions that never split rows with the same time."""
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
