"""A source of readings that updates the organisation of each storehouse before it returns readings."""

from collections.abc import Awaitable, Callable

from ask.readings import Reading
from live.source import Position, Source


class OwnerCheckedSource:
    """Returns the readings of `source` in batches, and awaits `refresh_owners` before it returns a batch.

    If `refresh_owners` raises an exception, the batch is kept for the next call of `read_new`.
    """

    def __init__(self, source: Source, refresh_owners: Callable[[], Awaitable[None]]) -> None:
        self._source = source
        self._refresh_owners = refresh_owners
        self._batch: tuple[list[Reading], bool] | None = None
        """The batch of readings that has been read from the source but not returned yet."""
        self._position_before = Position()
        """The source's position in the table of readings before it read `_batch`."""

    async def start_at_end(self) -> None:
        """Treat all existing readings as already delivered."""
        await self._source.start_at_end()

    async def resume_at(self, position: Position) -> None:
        """Continue in the table of readings at a position that another source returned.

        Some readings may be delivered a second time.
        """
        await self._source.resume_at(position)

    def position(self) -> Position:
        """Return the position in the table of readings after the last returned batch."""
        return self._source.position() if self._batch is None else self._position_before

    async def read_new(self) -> tuple[list[Reading], bool]:
        """Return readings that were not delivered before, and whether another call may return more at once."""
        if self._batch is None:
            position = self._source.position()
            self._batch, self._position_before = await self._source.read_new(), position
        await self._refresh_owners()
        batch, self._batch = self._batch, None
        return batch
