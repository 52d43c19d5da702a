"""After SIGTERM or SIGINT, the server disconnects every client and ends in time, even if the database hangs."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tornado.websocket

from tests.support.clients import KINDS, TRANSPORTS, Client, Kind, new
from tests.support.services.mariadb import MariaDB
from tests.support.services.private import HOST, free_port
from tests.support.services.process import DidNotStart
from tests.support.serving import Serve, StorewatchServer
from tests.support.serving_inside import SOON, until
from tests.support.sites import Site, site
from transport.sessions import GOING_AWAY

STOPPED_S = 5.0
WATCHERS = 200

# Engine.IO packets, and Socket.IO packets that Engine.IO messages contain
PATH = "socket.io/?EIO=4&transport=websocket"
KEY = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
PING, PONG, CONNECT, EVENT = "2", "3", "40", "42"


class Watcher:
    """A minimal client. It is so small that a test can run hundreds of clients."""

    def __init__(self, socket: tornado.websocket.WebSocketClientConnection) -> None:
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
        assert self._socket.close_code == GOING_AWAY

    async def ask(self, event: str, *payload: Any) -> None:
        """Send an event."""
        await self._socket.write_message(EVENT + json.dumps([event, *payload]))

    async def _packets(self) -> AsyncIterator[str]:
        while (packet := await self._socket.read_message()) is not None:
            yield str(packet)


@asynccontextmanager
async def watching(server: StorewatchServer, count: int, store_house_id: int) -> AsyncIterator[list[Watcher]]:
    """Connect `count` watching clients. At the end of the block, wait until the server has closed all connections.

    Assert that the server has told each client that it is going away.
    """
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
        async with watching(server, WATCHERS, north.ids["north"]):
            await stops_in_time(server, number)
        for client, reason in ((polling, "transport error"), (node, "transport close")):
            await asyncio.wait_for(client.disconnected.wait(), SOON)
            assert client.reason == reason


@pytest.mark.serial  # 200 clients, and the server has 5 s
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


def kinds_and_transports() -> Iterator[tuple[Kind, str]]:
    """Return every kind of client with every transport that it supports."""
    kinds: tuple[Kind, ...] = (*KINDS, "threads")
    for kind in kinds:
        for transport in TRANSPORTS:
            if kind != "threads" or transport == "polling" or find_spec("websocket"):
                yield kind, transport


@pytest.mark.slow
async def test_clients_return_after_a_restart_unless_they_were_sent_away(serve: Serve, tmp_path: Path) -> None:
    where = {"path": str(tmp_path / "site.db")}
    settings = {"database": where, "rate_limit": 0.001, "rate_burst": 2}
    with site(where):
        async with serve(settings) as server, AsyncExitStack() as running:

            async def connected(kind: Kind, transport: str) -> Client:
                client = new(kind, reconnection=True)
                running.push_async_callback(client.close)
                await client.connect(server.url, TRANSPORTS[transport])
                assert (await client.call("orgs"))["ok"]
                return client

            # `ended` goes to clients that send too many events, and to clients whose session or user was removed.
            sent_away = await asyncio.gather(*(connected(*each) for each in kinds_and_transports()))
            for client in sent_away:
                for _ in range(4):
                    await client.emit("orgs")
                assert (await client.next("ended"))["code"] == "rate_limited"
                await asyncio.wait_for(client.disconnected.wait(), SOON)
                assert client.reason == "server disconnect"
            returning = await asyncio.gather(*(connected(*each) for each in kinds_and_transports()))
            await stops_in_time(server, seconds=SOON)
            for client in returning:
                await asyncio.wait_for(client.disconnected.wait(), SOON)
                assert client.reason in ("transport close", "transport error")
            await asyncio.to_thread(server.start)
            await until(lambda: not any(client.disconnected.is_set() for client in returning))
            for client in returning:
                assert (await client.call("orgs"))["ok"]
            assert all(client.disconnected.is_set() for client in sent_away)


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
        assert await asyncio.wait_for(exit_code_of(server, starting), STOPPED_S) == 0
        assert "Traceback" not in server.log()
    finally:
        own_mariadb.thaw()


async def exit_code_of(server: StorewatchServer, starting: asyncio.Task[StorewatchServer]) -> int | None:
    """Return the exit code of a server that was told to stop while it was starting."""
    try:
        await asyncio.shield(starting)
    except DidNotStart as ended:
        return ended.exit_code
    return await server.terminate(signal.SIGTERM)  # it was ready just before it got the first signal


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
