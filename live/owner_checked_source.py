"""A source that refreshes storehouse ownership before it hands out a batch."""

from collections.abc import Awaitable, Callable

from ask.readings import Reading
from live.source import Position, Source


class OwnerCheckedSource:
    """Returns each batch of `source` after a call of `refresh_owners`.

    If that call raises, the batch is kept for the next call of `read_new`.
    """

    def __init__(self, source: Source, refresh_owners: Callable[[], Awaitable[None]]) -> None:
        self._source = source
        self._refresh_owners = refresh_owners
        self._batch: tuple[list[Reading], bool] | None = None
        """The batch that has been read from the source but not returned yet."""
        self._position_before = Position()
        """The position of the source before it read `_batch`."""

    async def start_at_end(self) -> None:
        """Count all existing readings as delivered."""
        await self._source.start_at_end()

    async def resume_at(self, position: Position) -> None:
        """Continue at the position of another source. Some readings may be delivered a second time."""
        await self._source.resume_at(position)

    def position(self) -> Position:
        """Return the position of the source after the last returned batch."""
        return self._source.position() if self._batch is None else self._position_before

    async def read_new(self) -> tuple[list[Reading], bool]:
        """Return undelivered readings, and whether another query may return more without waiting."""
        if self._batch is None:
            position = self._source.position()
            self._batch, self._position_before = await self._source.read_new(), position
        await self._refresh_owners()
        batch, self._batch = self._batch, None
        return batch
