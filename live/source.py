"""Sources of new readings. A source reads a table with growing ids, or a table that can only be queried by time."""

import logging
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from ask import Ask
from ask.readings import Key, Reading, Row
from common.clock import AHEAD, Clock
from live.id_tracker import IdTracker, Restarted
from live.time_tracker import Span, TimeTracker

log = logging.getLogger(__name__)

MAX_ROWS = 5_000
"""Maximum number of rows in the result of a query. If there are more rows, the next query follows at once."""
MAX_HOLES = 10_000
"""Maximum number of holes (ranges of missing ids) in a `Position`."""
RECENT_IDS = 10_000
"""At start-up, the source looks for missing ids among this number of ids below the highest id.

A missing id may belong to a transaction that is not committed yet.
"""


class Position(msgspec.Struct, frozen=True):
    """The position up to which a table of readings has been read.

    In a table with growing ids, it is the highest read id (`last_id`) and the ranges of missing ids below it (`holes`).
    In any other table, it is a `time`.
    """

    last_id: int | None = msgspec.field(default=None, name="known")  # the key in stored snapshots
    holes: list[tuple[int, int]] = []
    time: datetime | None = None


class Source(Protocol):
    """A source of readings. After a call of `start_at_end` or `resume_at`, it delivers every further reading once.

    All methods except `position` raise `Unavailable` if the database does not answer.
    """

    async def start_at_end(self) -> None:
        """Treat all existing readings as already delivered."""

    async def resume_at(self, position: Position) -> None:
        """Continue in the table of readings at a position that another source returned.

        Some readings may be delivered a second time.
        """

    def position(self) -> Position:
        """Return the position up to which the table of readings has been read."""

    async def read_new(self) -> tuple[list[Reading], bool]:
        """Return readings that were not delivered before, and whether another call may return more at once."""


def create_source(ask: Ask, clock: Clock) -> "IdSource | TimeSource":
    """Return the source for the site's table of readings."""
    return IdSource(ask, clock) if ask.subjects.reading.grows else TimeSource(ask, clock)


class IdSource:
    """A source of new readings that reads a table with growing ids."""

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

    async def start_at_end(self, since: datetime | None = None) -> None:
        """Treat all existing readings as already delivered.

        Ids that are missing among the `RECENT_IDS` highest ids are queried again later. If `since` is given, the first
        of these ids whose time is not before `since`, and all higher ids, do not count as delivered.
        """
        self._started_at = self._clock()
        highest = await self._ask.highest_row()
        lowest = max(0, highest - RECENT_IDS)
        if since is not None:
            highest = min(highest, await self._last_before(since, lowest))
        recent = await self._ask.row_ids(lowest, highest)
        self._id_tracker = IdTracker.start_at(highest, lowest, recent, self._patience_s, time.monotonic())

    async def _last_before(self, since: datetime, lowest: int) -> int:
        """Return the id before the first row, from the id `lowest` on, whose time is not before `since`.

        A time in the future does not count: it comes from a sensor whose clock is wrong.
        """
        until = self._clock() + AHEAD
        last = lowest - 1
        while rows := await self._ask.rows_after(last + 1, [], MAX_ROWS):
            for row in rows:
                if row.time is not None and since <= row.time <= until:
                    return last
                last = row.reading_id if row.reading_id is not None else last
        return last

    async def resume_at(self, position: Position) -> None:
        """Continue at a position in the table of readings.

        If the highest id in the table is now lower than this position, the ids have restarted. In this case, start at
        the first row.
        """
        self._started_at = self._clock()
        last_id = -1 if position.last_id is None else position.last_id
        if await self._ask.highest_row() < last_id:
            last_id = -1
        self._id_tracker = IdTracker.resume_at(last_id, position.holes, self._patience_s, time.monotonic())

    def position(self) -> Position:
        """Return the position up to which the table of readings has been read.

        It contains at most the `MAX_HOLES` newest ranges of missing ids.
        """
        return Position(self._id_tracker.last_id, self._id_tracker.hole_spans()[-MAX_HOLES:])

    async def read_new(self) -> tuple[list[Reading], bool]:
        """Return readings that were not delivered before, and whether another call may return more at once."""
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
    """A source of new readings that reads a table without growing ids."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._queried_at = clock()
        self._time_tracker = self._track_from(self._queried_at)
        self._kept: list[Reading] = []  # read by `start_at_end`, but not delivered yet

    def _track_from(self, time: datetime) -> TimeTracker:
        reading = self._ask.subjects.reading
        return TimeTracker(reading.late_window, time, reading.wall_span)

    async def start_at_end(self, since: datetime | None = None) -> None:
        """Treat all readings from the last late window as already delivered, except those from `since` on.

        The late window is the longest time between the time in a row and the commit of the row.
        """
        existing, _ = await self.read_new()
        self._kept = [] if since is None else [reading for reading in existing if reading.time >= since]

    async def resume_at(self, position: Position) -> None:
        """Continue one late window before the time of a position. Readings in this late window are delivered again.

        The late window is the longest time between the time in a row and the commit of the row.
        """
        self._time_tracker = self._track_from(position.time or self._clock())

    def position(self) -> Position:
        """Return the time of the last query as a position in the table of readings."""
        return Position(time=self._queried_at)

    async def read_new(self) -> tuple[list[Reading], bool]:
        """Return all readings that were not delivered before, and False, because another call would not return more."""
        now = self._clock()
        rows = await self._all_rows(self._time_tracker.next_query(now))
        self._queried_at = now
        kept, self._kept = self._kept, []
        return kept + [reading for row in self._time_tracker.add_rows(rows, now) for reading in row.readings], False

    async def _all_rows(self, spans: Sequence[Span]) -> Sequence[Row]:
        """Return all rows in the time spans, each row once.

        The rows are queried in portions. Rows with the same time are always in the same portion.
        """
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
