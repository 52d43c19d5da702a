"""Readings that nobody is handed before it is known whose they are."""

from collections.abc import Awaitable, Callable

from ask.readings import Reading
from live.source import Position, Source


class OwnerCheckedSource:
    """Hands out what `source` does, once `own` has been awaited since; what `own` fails for, by raising, is kept."""

    def __init__(self, source: Source, own: Callable[[], Awaitable[None]]) -> None:
        self._source = source
        self._own = own
        self._kept: tuple[list[Reading], bool] | None = None
        self._before = Position()
        """How far the source had come before it read what is kept."""

    async def begin(self) -> None:
        """Count all that is there as seen."""
        await self._source.begin()

    async def resume(self, position: Position) -> None:
        """Count as seen what another source had handed out when this was its position; perhaps a little less."""
        await self._source.resume(position)

    def position(self) -> Position:
        """Return how far it has come."""
        return self._source.position() if self._kept is None else self._before

    async def read(self) -> tuple[list[Reading], bool]:
        """Return readings not handed out yet, and whether there may be more at once."""
        if self._kept is None:
            before = self._source.position()
            self._kept, self._before = await self._source.read(), before
        await self._own()
        kept, self._kept = self._kept, None
        return kept
