"""A network relay between a client and a server.

Tests can interrupt the relay. Neither the client nor the server notices an interruption, because the connections stay
open.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Cable:
    """A network relay to a port of this machine.

    Connections that were open when `cut` was called transfer nothing any more, even after `mend`.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._whole = asyncio.Event()
        self._whole.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def laid(self) -> AsyncIterator[str]:
        """Run the relay during the block. Yield the URL of the relay."""
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        finally:
            server.close()
            self.cut()
            for writer in self._writers:
                writer.close()

    def cut(self) -> None:
        """Stop relaying, but keep all connections open, as when a laptop sleeps or a router fails."""
        self._whole.clear()
        for connection in self._connections:
            connection.cancel()

    def lead_to(self, port: int) -> None:
        """Relay new connections to another port."""
        self._port = port

    def mend(self) -> None:
        """Relay new connections again after `cut`."""
        self._whole.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)  # keep a reference, because an unreferenced stream is closed
        await self._whole.wait()
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.append(back)
        ways = (_pass_on(reader, back), _pass_on(there, writer))
        tasks = [asyncio.create_task(way) for way in ways]
        self._connections.update(tasks)
        await asyncio.wait(tasks)
        self._connections.difference_update(tasks)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()
