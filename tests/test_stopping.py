"""After SIGTERM or SIGINT, the server disconnects every client and ends in time, even if the database hangs."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import tornado.websocket

from tests.support.clients import TRANSPORTS, new
from tests.support.services.mariadb import MariaDB
from tests.support.services.private import HOST, free_port
from tests.support.services.process import DidNotStart
from tests.support.serving import Serve, StorewatchServer
from tests.support.serving_inside import SOON, until
from tests.support.sites import Site, site

STOPPED_S = 5.0
WATCHERS = 200

# Engine.IO packets, and Socket.IO packets that Engine.IO messages contain
PATH = "socket.io/?EIO=4&transport=websocket"
KEY = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
CLOSE, PING, PONG, CONNECT, EVENT = "1", "2", "3", "40", "42"


class Watcher:
    """A minimal client. It is so small that a test can run hundreds of clients."""

    def __init__(self, socket: tornado.websocket.WebSocketClientConnection) -> None:
        self.got_close = False
        self.is_watching = asyncio.Event()
        self._socket = socket

    @classmethod
    async def connect(cls, server: StorewatchServer) -> "Watcher":
        url = f"ws{server.url.removeprefix('http')}{PATH}"
        return cls(await tornado.websocket.websocket_connect(url))

    async def watch(self, store_house_id: int) -> None:
        """Watch the storehouse until the connection ends."""
        await self._socket.write_message(CONNECT)
        async for packet in self._packets():
            if packet.startswith(CONNECT):
                await self.ask("register", {"store_house_id": store_house_id})
            elif packet.startswith(f'{EVENT}["envs"'):
                self.is_watching.set()
            elif packet == PING:
                await self._socket.write_message(PONG)
            self.got_close = packet == CLOSE

    async def ask(self, event: str, *payload: Any) -> None:
        """Send an event."""
        await self._socket.write_message(EVENT + json.dumps([event, *payload]))

    async def _packets(self) -> AsyncIterator[str]:
        while (packet := await self._socket.read_message()) is not None:
            yield str(packet)


@asynccontextmanager
async def watching(server: StorewatchServer, count: int, store_house_id: int) -> AsyncIterator[list[Watcher]]:
    """Connect `count` watching clients. At the end of the block, wait until the server has closed all connections."""
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        watchers = [await Watcher.connect(server) for _ in range(count)]
        for watcher in watchers:
            tasks.create_task(watcher.watch(store_house_id))
        for watcher in watchers:
            await watcher.is_watching.wait()
        yield watchers


async def open_silent_websocket(server: StorewatchServer) -> asyncio.StreamWriter:
    """Open a websocket that neither reads nor answers, like a laptop with its lid closed."""
    reader, writer = await asyncio.open_connection(HOST, server.port)
    lines = (f"GET /{PATH} HTTP/1.1", "Host: here", "Upgrade: websocket", "Connection: Upgrade", f"{KEY}", "", "")
    writer.write("\r\n".join(lines).encode())
    assert b" 101 " in await reader.readline()
    return writer


@pytest.fixture(scope="module")
def own_mariadb() -> Iterator[MariaDB]:
    """A MariaDB server that a test may freeze."""
    with MariaDB() as server:
        server.create_database("site")
        yield server


@pytest.fixture(scope="module")
def north(own_mariadb: MariaDB) -> Iterator[Site]:
    with site(own_mariadb.settings("site")) as built:
        yield built


async def stops_in_time(
    server: StorewatchServer, number: signal.Signals = signal.SIGTERM, seconds: float = STOPPED_S
) -> None:
    assert await asyncio.wait_for(server.terminate(number), seconds) == 0
    assert "Traceback" not in server.log()


@pytest.mark.serial  # 200 clients, and the server has 5 s
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_every_client_is_disconnected_before_the_server_ends(
    number: signal.Signals, serve: Serve, own_mariadb: MariaDB, north: Site
) -> None:
    settings = {"database": own_mariadb.settings("site"), "poll_interval": 0.1}
    async with serve(settings) as server, AsyncExitStack() as running:
        polling = new("python")
        running.push_async_callback(polling.close)
        await polling.connect(server.url, TRANSPORTS["polling"])
        node = new("node4")
        running.push_async_callback(node.close)
        await node.connect(server.url)
        running.callback((await open_silent_websocket(server)).close)
        async with watching(server, WATCHERS, north.ids["north"]) as watchers:
            await stops_in_time(server, number)
        assert all(watcher.got_close for watcher in watchers)
        for client, reason in ((polling, "server disconnect"), (node, "transport close")):
            await asyncio.wait_for(client.disconnected.wait(), SOON)
            assert client.reason == reason


@pytest.mark.parametrize("loss_logged", [False, True], ids=["before the loss is logged", "after the loss is logged"])
async def test_a_server_ends_in_time_while_its_database_hangs(
    loss_logged: bool, serve: Serve, own_mariadb: MariaDB, north: Site
) -> None:
    settings = {"database": own_mariadb.settings("site"), "poll_interval": 0.1}
    async with serve(settings) as server, AsyncExitStack() as running:
        running.callback((await open_silent_websocket(server)).close)
        async with watching(server, WATCHERS, north.ids["north"]) as watchers:
            own_mariadb.freeze()
            try:
                for watcher in watchers:
                    await watcher.ask("orgs")
                if loss_logged:
                    await until(lambda: "lost its connection to the database" in server.log())
                await stops_in_time(server)
            finally:
                own_mariadb.thaw()
        assert all(watcher.got_close for watcher in watchers)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_browsers_reconnect_after_a_server_restart(
    transport: str, serve: Serve, own_mariadb: MariaDB, north: Site
) -> None:
    question = {"store_house_id": north.ids["north"]}
    async with serve({"database": own_mariadb.settings("site")}) as server, AsyncExitStack() as running:
        client = new("node4", reconnection=True)
        running.push_async_callback(client.close)
        await client.connect(server.url, TRANSPORTS[transport])
        assert (await client.call("register", question))["ok"]
        await stops_in_time(server)
        await asyncio.wait_for(client.disconnected.wait(), SOON)
        assert client.reason == "transport close"
        await asyncio.to_thread(server.start)
        await until(lambda: not client.disconnected.is_set(), 3 * SOON)
        assert (await client.call("register", question))["ok"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_starting_server_ends_in_time_while_its_database_hangs(
    number: signal.Signals, tmp_path: Path, own_mariadb: MariaDB, north: Site
) -> None:
    server = StorewatchServer(tmp_path, {"database": own_mariadb.settings("site")})
    server.port = free_port()
    own_mariadb.freeze()
    starting = asyncio.create_task(asyncio.to_thread(server.start))
    try:
        await until(lambda: is_listening(server.port))
        os.kill(server.pid, number)
        with pytest.raises(DidNotStart) as ended:
            await asyncio.wait_for(asyncio.shield(starting), STOPPED_S)
        assert ended.value.exit_code == 0
    finally:
        own_mariadb.thaw()


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
