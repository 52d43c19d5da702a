"""The whole server in the test's own loop, composed as the command composes it, with a consumer that counts."""

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

SOON = 60.0  # seconds; only what never happens takes so long
CHECK_S = 0.02  # between two checks


@dataclass
class Inside:
    """A running server, and how often each value has left its poller."""

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
    """Serve at a free port for the length of a block; of what is committed within it, each reading is counted."""
    converted = msgspec.convert(with_defaults(settings), Settings)
    async with serving(converted, Source(None), 0) as server:
        inside = Inside(server)
        server.poller.subscribe(inside.count)
        yield inside


async def until(condition: Callable[[], object], timeout: float = SOON) -> None:  # noqa: ASYNC109
    """Wait until the condition holds; raises TimeoutError."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - conditions of any kind, and nobody tells
            await asyncio.sleep(CHECK_S)
