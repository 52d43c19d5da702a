"""A source that refreshes storehouse ownership before it hands out a batch."""

from collections.abc import Awaitable, Callable

from ask.readings import Reading
from live.source import Position, Source


class OwnerCheckedSource:
    """Hands out what `source` does, each batch after `refresh_owners`; a batch is kept while that raises."""

    def __init__(self, source: Source, refresh_owners: Callable[[], Awaitable[None]]) -> None:
        self._source = source
        self._refresh_owners = refresh_owners
        self._batch: tuple[list[Reading], bool] | None = None
        """A batch that is not handed out yet."""
        self._position_before = Position()
        """Where the source stood before it read the batch."""

    async def start_at_end(self) -> None:
        """Count all that is there as seen."""
        await self._source.start_at_end()

    async def resume_at(self, position: Position) -> None:
        """Count as seen what another source had handed out when this was its position; perhaps a little less."""
        await self._source.resume_at(position)

    def position(self) -> Position:
        """Return how far it has come."""
        return self._source.position() if self._batch is None else self._position_before

    async def read_new(self) -> tuple[list[Reading], bool]:
        """Return readings not handed out yet, and whether there may be more at once."""
        if self._batch is None:
            position = self._source.position()
            self._batch, self._position_before = await self._source.read_new(), position
        await self._refresh_owners()
        batch, self._batch = self._batch, None
        return batch
