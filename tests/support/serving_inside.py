"""Runs the complete server in the test's event loop, and counts the readings that its poller hands out."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from app.serve import RunningServer, serving
from ask.readings import Reading
from settings import Settings, Source
from tests.support.serving import with_defaults

SOON = 60.0  # seconds; default time-out for a condition
CHECK_S = 0.02  # seconds between two checks of a condition


@dataclass
class Inside:
    """A running server, and counts of the readings that its poller has handed out.

    The poller hands out readings in batches. The counts are the number of batches, and how often each value was handed
    out.
    """

    server: RunningServer
    seen: Counter[float | None] = field(default_factory=Counter)
    portions: int = 0

    @property
    def url(self) -> str:
        return self.server.url

    async def count(self, readings: Sequence[Reading]) -> None:
        self.portions += 1
        self.seen.update(reading.value for reading in readings)


@asynccontextmanager
async def serving_inside(settings: dict[str, Any]) -> AsyncIterator[Inside]:
    """Run the server on a free port during the block. Count how often its poller hands out each value."""
    converted = msgspec.convert(with_defaults(settings), Settings)
    async with serving(converted, Source(None), 0) as server:
        inside = Inside(server)
        server.poller.subscribe(inside.count)
        yield inside


async def until(condition: Callable[[], object], timeout: float = SOON) -> None:  # noqa: ASYNC109
    """Wait until the condition is true. Raise TimeoutError after `timeout` seconds."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - no event signals an arbitrary condition
            await asyncio.sleep(CHECK_S)
