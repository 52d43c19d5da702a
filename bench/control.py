"""How a measured server is told what to do: commands as lines on stdin, each answered by one line of JSON on stdout.

Every server of the bench speaks this, those that are not written in Python too: first it says `{"port": N}`, then it
obeys `push ROUNDS GAP_MS`: it pushes the message so many times, sleeping for the gap after each. It ends with its
stdin.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

Command = Callable[..., Awaitable[dict[str, Any]]]

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def clock() -> datetime:
    """Return the time of the monotonic clock, as if it had begun in 1970: the load generator reads the same clock."""
    return BEGINNING + timedelta(microseconds=time.monotonic_ns() // 1000)


def stamp() -> str:
    """Return `clock()` as it stands in a message."""
    return clock().isoformat(timespec="microseconds").replace("+00:00", "Z")


def say(**answer: Any) -> None:
    """Write one answer."""
    print(json.dumps(answer), flush=True)


async def obey(commands: dict[str, Command]) -> None:
    """Obey commands, given by their names, until stdin ends; their arguments are integers."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        name, *arguments = line.decode().split()
        say(**await commands[name](*map(int, arguments)))


def pushing(push: Callable[[], Awaitable[None]]) -> dict[str, Command]:
    """Return the command that every server has, given what pushes once."""

    async def rounds(count: int, gap_ms: int) -> dict[str, Any]:
        for _ in range(count):
            await push()
            await asyncio.sleep(gap_ms / 1000)
        return {"done": count}

    return {"push": rounds}
