"""The poller: what it does while its question hangs."""

import asyncio

from ask.readings import Reading
from live.poller import Poller
from live.source import Position
from tests.support.serving_inside import until


class Behind:
    """Readings behind a lock, until it is let go of."""

    def __init__(self) -> None:
        self.free = asyncio.Event()

    async def start_at_end(self) -> None:
        """See `Source`."""

    async def resume_at(self, position: Position) -> None:
        """See `Source`."""

    def position(self) -> Position:
        """See `Source`."""
        return Position()

    async def read_new(self) -> tuple[list[Reading], bool]:
        """See `Source`."""
        await self.free.wait()
        return [], False


async def test_a_question_that_hangs_is_told_before_it_fails_and_its_answer_counts_all_the_same() -> None:
    source, told = Behind(), list[str]()

    async def ticked(answered: bool) -> None:
        told.append("answered" if answered else "failed")

    async def late() -> None:
        told.append("late")

    running = asyncio.create_task(Poller(source, 60.0, ticked, late).run())
    await until(lambda: told)
    source.free.set()
    await until(lambda: len(told) == 2)
    running.cancel()
    await asyncio.wait([running])
    assert told == ["late", "answered"]
    assert running.cancelled()
