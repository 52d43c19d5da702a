"""The control protocol of the measured servers.

A server reads commands from stdin, one in each line. It answers each command with one line of JSON on stdout. Every
measured server supports this protocol, including those not written in Python. The server first writes `{"port": N}`. On
`push ROUNDS GAP_MS` it pushes the message ROUNDS times, and sleeps for GAP_MS milliseconds after each push. It exits at
the end of stdin.
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
    """Return the time of the system's monotonic clock as a date, as if this clock had started in 1970.

    The load generator uses the same clock.
    """
    return BEGINNING + timedelta(microseconds=time.monotonic_ns() // 1000)


def stamp() -> str:
    """Return `clock()` as text, in the format that messages use for times."""
    return clock().isoformat(timespec="microseconds").replace("+00:00", "Z")


def say(**answer: Any) -> None:
    """Write one answer to stdout."""
    print(json.dumps(answer), flush=True)


async def obey(commands: dict[str, Command]) -> None:
    """Execute the commands from stdin until stdin ends. `commands` maps names to functions with integer arguments."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        name, *arguments = line.decode().split()
        say(**await commands[name](*map(int, arguments)))


def pushing(push: Callable[[], Awaitable[None]]) -> dict[str, Command]:
    """Return a dictionary with the command `push`, which every server supports. The argument `push` pushes once."""

    async def rounds(count: int, gap_ms: int) -> dict[str, Any]:
        for _ in range(count):
            await push()
            await asyncio.sleep(gap_ms / 1000)
        return {"done": count}

    return {"push": rounds}
