"""Tests of the poller while its query hangs."""

import asyncio

import pytest

from ask.readings import Reading
from live.poller import Poller
from live.source import Position
from tests.support.serving_inside import until


class BlockedSource:
    """A source whose query blocks until `free` is set."""

    def __init__(self) -> None:
        self.free = asyncio.Event()

    async def start_at_end(self) -> None:
        """Do nothing. The test does not need a start position."""

    async def resume_at(self, position: Position) -> None:
        """Do nothing. The test does not need a start position."""

    def position(self) -> Position:
        """Return an empty position."""
        return Position()

    async def read_new(self) -> tuple[list[Reading], bool]:
        """Wait until `free` is set. Then return no readings, and False because there are no more."""
        await self.free.wait()
        return [], False


@pytest.mark.slow
async def test_a_slow_query_counts_as_late_and_then_as_answered() -> None:
    source, calls = BlockedSource(), list[str]()

    async def ticked(answered: bool) -> None:
        calls.append("answered" if answered else "failed")

    async def late() -> None:
        calls.append("late")

    running = asyncio.create_task(Poller(source, 60.0, ticked, late).run())
    await until(lambda: calls)
    source.free.set()
    await until(lambda: len(calls) == 2)
    running.cancel()
    await asyncio.wait([running])
    assert calls == ["late", "answered"]
    assert running.cancelled()
