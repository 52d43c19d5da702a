"""Opens idle and slow connections. Runs as a separate process, so that it does not delay other clients.

    python -m tests.support.loiterers PORT OF_EACH

The program opens OF_EACH connections of each kind. It measures the time until the server closes each connection, and
prints the shortest and the longest time in seconds as a JSON list.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.support.bare_server import UPGRADE, Raw
from tests.support.hostile import WEBSOCKET

PACE_S = 0.005
"""Time between two new connections, in seconds. It gives 200 connections per second."""


async def _come(loiter: Callable[[int], Awaitable[float]], port: int, number: int) -> float:
    await asyncio.sleep(number * PACE_S)
    return await loiter(port)


async def _say_nothing(port: int) -> float:
    return await _closed(await _connect(port), b"")


async def _send_headers_slowly(port: int) -> float:
    return await _closed(await _connect(port), b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X-Slow: y\r\n" * 1000)


async def _send_a_body_slowly(port: int) -> float:
    raw = await _connect(port)
    session = json.loads((await raw.ask("GET", "EIO=4&transport=polling")).body[1:])["sid"]
    await raw.send_request("POST", f"EIO=4&transport=polling&sid={session}", b"", {"Content-Length": "9000"})
    return await _closed(raw, b"4" * 9000)


async def _join_nothing(port: int) -> float:
    raw = await _connect(port)
    await raw.send_request("GET", WEBSOCKET, b"", UPGRADE)
    return await _closed(raw, b"")


async def _connect(port: int) -> Raw:
    return Raw(*await asyncio.open_connection("127.0.0.1", port))


async def _closed(raw: Raw, drips: bytes) -> float:
    """Send one byte per second until the server closes the connection. Return the time until then, in seconds."""
    begun = time.monotonic()

    async def drip() -> None:
        with suppress(ConnectionError):
            for byte in drips:
                await raw.send(bytes([byte]))
                await asyncio.sleep(1.0)

    dripping = asyncio.create_task(drip())
    assert await raw.is_closed()
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)
    return time.monotonic() - begun


async def loiter(port: int, of_each: int) -> list[float]:
    """Open `of_each` connections of each kind. Return how long each connection stayed open, in seconds."""
    kinds = [_say_nothing, _send_headers_slowly, _send_a_body_slowly, _join_nothing] * of_each
    return await asyncio.gather(*(_come(kind, port, number) for number, kind in enumerate(kinds)))


def main(port: str, of_each: str) -> None:
    """Open the connections and print the shortest and the longest time."""
    stayed = asyncio.run(loiter(int(port), int(of_each)))
    print(json.dumps([min(stayed), max(stayed)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
