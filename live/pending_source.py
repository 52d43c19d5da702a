"""A source of readings that is created when the sensor database has been reached for the first time."""

from collections.abc import Callable
from datetime import datetime

from ask.readings import Reading
from errors import Unavailable
from live.source import IdSource, Position, TimeSource


class PendingSource:
    """Returns the readings of the source that `create` returns. `start_at_end` or `resume_at` creates this source.

    Until `open` is called, `read_new` raises `Unavailable`. Until the source has been created, `position` raises
    `Unavailable` too.
    """

    def __init__(self, create: Callable[[], IdSource | TimeSource]) -> None:
        self._create = create
        self._source: IdSource | TimeSource | None = None
        self._is_open = False

    async def start_at_end(self, since: datetime | None = None) -> None:
        """Treat all existing readings as already delivered, except recent ones with a time from `since` on."""
        source = self._create()
        await source.start_at_end(since)
        self._source = source

    async def resume_at(self, position: Position) -> None:
        """Continue in the table of readings at a position that another source returned.

        Some readings may be delivered a second time.
        """
        source = self._create()
        await source.resume_at(position)
        self._source = source

    def open(self) -> None:
        """Deliver readings from now on."""
        self._is_open = True

    def position(self) -> Position:
        """Return the position up to which the table of readings has been read."""
        return self._started().position()

    async def read_new(self) -> tuple[list[Reading], bool]:
        """Return readings that were not delivered before, and whether another call may return more at once."""
        source = self._started()
        if not self._is_open:
            raise Unavailable("the server has not read the storehouses and sensors since its start")
        return await source.read_new()

    def _started(self) -> IdSource | TimeSource:
        if self._source is None:
            raise Unavailable("the server has not read the sensor database since its start")
        return self._source
