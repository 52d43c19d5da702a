"""Background tasks: each runs beside everything else until the server stops."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

log = logging.getLogger(__name__)


@asynccontextmanager
async def background_task(name: str, work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` for the length of a block, then cancel it and wait for its end."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and task.exception():
            log.error("the %s ended with an error", name, exc_info=task.exception())
