"""Runs the complete server, which polls only on command: `python -m bench.site_server SETTINGS_FILE`.

The poll interval in the settings is longer than any measurement. The command `tick` makes the poller poll. The program
answers the command when the poller has handed out new readings, so there must be at least one new reading.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import logger
import server
import settings
from app.serve import serving
from ask.readings import Reading
from bench import control
from bench.peers import QUIET_S


async def serve(path: str) -> None:
    """Serve until stdin ends."""
    server.PING_INTERVAL_S = QUIET_S
    loaded, origin = settings.load(path, {})
    logger.configure(loaded.log_level)
    handed_out: asyncio.Queue[int] = asyncio.Queue()

    async def count(readings: Sequence[Reading]) -> None:
        handed_out.put_nowait(len(readings))

    async with serving(loaded, origin, 0) as running:
        running.poller.subscribe(count)

        async def tick() -> dict[str, Any]:
            running.poller.wake()
            return {"readings": await handed_out.get()}

        control.say(port=urlsplit(running.url).port)
        await control.obey({"tick": tick})


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
