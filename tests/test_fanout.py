"""The fan-out over real connections: the order, completeness and coalescing of messages, and closed connections."""

import asyncio
import itertools
import json
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
import socketio
import tornado.httpserver
import tornado.netutil
import tornado.web

import transport
from live.storehouse_feed import room
from tests.support import pem
from tests.support.clients import TRANSPORTS, Client, Kind, NodeClient, PythonClient
from tests.support.serving_inside import until
from transport import fanout, library_internals, outbox
from transport.fanout import Fanout
from transport.recipients import Recipients

LIMIT = 512 * 1024
BIG = 40_000  # bytes; a few hundred messages of this size overflow the socket buffers of the loopback interface
HANG = 60.0


class NumberedNamespace(socketio.AsyncNamespace):  # type: ignore[misc]
    """A namespace that puts each client in a room of its own.

    It answers each event with an acknowledgement and with an event `told` that contains the next number.
    """

    def __init__(self, number: Callable[[], int]) -> None:
        super().__init__("/")
        self.sids: list[str] = []
        self.leaving = asyncio.Event()
        """An `asyncio.Event` for which the disconnect handler waits."""
        self.leaving.set()
        self._number = number

    async def on_connect(self, sid: str, _environ: object, _auth: object = None) -> None:
        await self.enter_room(sid, room(sid))
        self.sids.append(sid)

    async def on_disconnect(self, sid: str, _reason: str) -> None:
        await self.leaving.wait()
        self.sids.remove(sid)

    async def trigger_event(self, event: str, *args: Any) -> Any:
        if not isinstance(event, transport.EventName):
            return await super().trigger_event(event, *args)
        await self.emit("told", {"n": self._number(), "kind": "answer"}, to=args[0])
        return {"asked": args[1]}


class Site:
    """A server that contains only the transport and the fan-out."""

    def __init__(self, url: str, manager: Fanout, told: NumberedNamespace, numbers: "itertools.count[int]") -> None:
        self.url = url
        self.manager = manager
        self.told = told
        self.numbers = numbers
        self.last = {"picture": 0, "alarm": 0}
        self._recipients = Recipients(())

    @property
    def recipients(self) -> Recipients:
        """The rooms of all clients. As in the server, this is the same object until the rooms change."""
        rooms = [room(sid) for sid in self.told.sids]
        if self._recipients.rooms != rooms:
            self._recipients = Recipients(rooms)
        return self._recipients

    async def push(self, kind: str, size: int = 10) -> int:
        """Push a message with the next number to every client.

        A newer message of the kind `picture` may replace an older message of this kind that is not sent yet.
        """
        number = self.last[kind] = next(self.numbers)
        message = {"n": number, "kind": kind, "filler": "x" * size}
        key = "picture" if kind == "picture" else None
        await self.manager.push("told", message, self.recipients, key)
        return number

    async def queue(self) -> int:
        """Send the next number to every client through the library's queues.

        The library sends pings through these queues.
        """
        number = next(self.numbers)
        for sid in self.told.sids:
            packet = f'2["told",{{"n":{number},"kind":"queued"}}]'
            await self.manager.server.eio.send(self.manager.eio_sid_from_sid(sid, "/"), packet)
        return number


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None, limit: int = LIMIT, drain_s: float = 30.0) -> AsyncIterator[Site]:
    numbers = itertools.count(1)
    manager = fanout.create_manager(limit, drain_s)
    assert isinstance(manager, Fanout)
    sio = transport.AsyncServer(async_mode="tornado", client_manager=manager, serializer=transport.TextPacket)
    told = NumberedNamespace(lambda: next(numbers))
    sio.register_namespace(told)
    handler: Any = manager.handler_class(transport.get_tornado_handler(sio))
    http = tornado.httpserver.HTTPServer(tornado.web.Application([(r"/socket\.io/", handler)]), ssl_options=tls)
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    http.add_sockets(sockets)
    closing_stuck = asyncio.create_task(manager.close_stuck_clients())
    try:
        yield Site(f"http{'s' * bool(tls)}://127.0.0.1:{sockets[0].getsockname()[1]}", manager, told, numbers)
    finally:
        told.leaving.set()
        closing_stuck.cancel()
        http.stop()
        await transport.close_all(sio, 1.0)


class RawWebsocket:
    """A raw WebSocket client that can stop reading."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.numbers: list[tuple[int, str]] = []

    async def upgrade(self) -> None:
        """Upgrade the session from polling to WebSocket."""
        await self._socket.send_str("2probe")
        assert await self._socket.receive_str() == "3probe"
        await self._socket.send_str("5")

    async def close(self) -> None:
        """Close the connection."""
        await self._socket.close()

    async def read(self, until: int) -> bool:
        """Read messages until the number `until` arrives. Return False if the connection closes before that."""
        async with asyncio.timeout(HANG):
            while not self.numbers or self.numbers[-1][0] < until:
                message = await self._socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return False
                if message.data == "2":
                    await self._socket.send_str("3")
                elif message.data.startswith("42"):
                    payload = json.loads(message.data[message.data.index("[") :])[1]
                    self.numbers.append((payload["n"], payload["kind"]))
        return True


@asynccontextmanager
async def raw_websocket(site: Site) -> AsyncIterator[RawWebsocket]:
    before = len(site.told.sids)
    address = f"{site.url}/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as session, session.ws_connect(address, ssl=False, max_msg_size=0) as socket:
        await socket.receive()
        await socket.send_str("40")
        await until(lambda: len(site.told.sids) > before)
        yield RawWebsocket(socket)


@asynccontextmanager
async def polling(site: Site) -> AsyncIterator[RawWebsocket]:
    """Open a WebSocket for a session that still uses polling. Yield the WebSocket."""
    address = f"{site.url}/socket.io/?EIO=4&transport="
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{address}polling") as answer:
            session_id = json.loads((await answer.text())[1:])["sid"]
        async with session.post(f"{address}polling&sid={session_id}", data="40"):
            await until(lambda: len(site.told.sids) == 1)
        async with session.ws_connect(f"{address}websocket&sid={session_id}") as socket:
            yield RawWebsocket(socket)


async def joined(site: Site, kind: Kind, transports: str, running: AsyncExitStack) -> Client:
    client: Client = PythonClient() if kind == "python" else NodeClient(4 if kind == "node4" else 3)
    await client.connect(site.url, TRANSPORTS[transports])
    running.push_async_callback(client.close)
    return client


def numbers_of(client: Client) -> list[tuple[int, str]]:
    return [(told["n"], told["kind"]) for told in client.received("told")]


async def told_up_to(client: Client, number: int) -> None:
    while not client.received("told") or client.received("told")[-1]["n"] < number:
        await client.next("told", HANG)


MIXES: list[tuple[Kind, str]] = [
    ("python", "polling"),
    ("python", "websocket"),
    ("python", "upgrade"),
    ("node4", "upgrade"),
    ("node4", "websocket"),
    ("node3", "polling"),
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
async def test_random_actions_keep_message_order_and_lose_no_alarm(seed: int) -> None:
    chance = random.Random(seed)
    async with serving() as site, AsyncExitStack() as running:
        clients: dict[Client, tuple[int, int]] = {}  # last number before the client joined, number of `ask` events sent
        alarms: list[int] = []
        for _ in range(120):
            match chance.choices(["picture", "alarm", "ask", "join", "leave", "rest"], [40, 15, 25, 6, 2, 12])[0]:
                case "join" if len(clients) < len(MIXES):
                    client = await joined(site, *chance.choice(MIXES), running)
                    clients[client] = (next(site.numbers), 0)
                case "leave" if len(clients) > 3:
                    client = chance.choice(list(clients))
                    del clients[client]
                    await client.close()
                case "ask" if clients:
                    client = chance.choice(list(clients))
                    assert await client.call("ask", 7) == {"asked": 7}
                    clients[client] = (clients[client][0], clients[client][1] + 1)
                case "alarm":
                    alarms.append(await site.push("alarm"))
                case "picture":
                    await site.push("picture", chance.randrange(30_000))
                case "rest":
                    await asyncio.sleep(chance.random() / 100)
        last = await site.push("alarm")
        alarms.append(last)
        for client, (since, answers) in clients.items():
            await told_up_to(client, last)
            seen = numbers_of(client)
            assert [number for number, _ in seen] == sorted(number for number, _ in seen)
            assert [number for number, kind in seen if kind == "alarm"] == [n for n in alarms if n > since]
            assert sum(kind == "answer" for _, kind in seen) == answers
            pictures = [number for number, kind in seen if kind == "picture"]
            if site.last["picture"] > since:
                assert pictures[-1] == site.last["picture"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A self-signed certificate for `localhost`."""
    files = pem.make("localhost").write(tmp_path_factory.mktemp("tls"))
    return transport.Certificate(files["certificate"], files["key"]).context


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_stalled_client_later_gets_all_alarms_and_newest_picture(
    tls: bool, certificate: ssl.SSLContext
) -> None:
    async with (
        serving(certificate if tls else None) as site,
        raw_websocket(site) as stalled,
        raw_websocket(site) as reading,
    ):
        alarms = []
        for turn in range(400):
            await site.push("picture", BIG)
            if turn % 50 == 0:
                alarms.append(await site.push("alarm"))
            last = site.last["picture"]
            assert await reading.read(last)
        assert await stalled.read(last)
        seen = [number for number, _ in stalled.numbers]
        assert seen == sorted(seen)
        assert [number for number, kind in stalled.numbers if kind == "alarm"] == alarms
        assert stalled.numbers[-1] == (last, "picture")
        assert len(seen) < 400  # newer pictures replaced older ones while the client stalled
        assert len(reading.numbers) == 400 + len(alarms)
        assert not site.manager.closed_slow_clients
        # Only pictures are coalesced, and only for the stalled client.
        assert site.manager.coalesced == 400 + len(alarms) - len(seen)
        assert site.manager.pushed == 2 * (400 + len(alarms))


async def test_a_client_with_too_much_unsent_data_is_closed() -> None:
    async with serving() as site, raw_websocket(site) as stalled, raw_websocket(site) as reading:
        while not site.manager.closed_slow_clients:
            last = await site.push("alarm", BIG)
            assert await reading.read(last)
        assert not await stalled.read(last + 1)
        assert [number for number, _ in stalled.numbers] == list(range(1, len(stalled.numbers) + 1))
        assert len(site.told.sids) == 1
        assert site.manager.closed_slow_clients == {"unsent": 1}


async def test_answers_do_not_count_towards_the_limit_of_unsent_pushes() -> None:
    async with serving() as site, raw_websocket(site) as slow:
        (sid,) = site.told.sids
        large = {"kind": "answer", "filler": "x" * (5 * LIMIT)}
        for _ in range(2):
            await site.told.emit("told", large | {"n": next(site.numbers)}, to=sid)
        for _ in range(3):
            last = await site.push("alarm", BIG)
        assert await slow.read(last)
        assert [kind for _, kind in slow.numbers] == ["answer"] * 2 + ["alarm"] * 3
        # Once the client has read the answers, the limit for pushes is the same as before.
        while not site.manager.closed_slow_clients:
            last = await site.push("alarm", BIG)
        assert not await slow.read(last + 1)


async def test_too_many_unread_answers_close_the_connection() -> None:
    async with serving() as site, raw_websocket(site) as slow:
        (sid,) = site.told.sids
        while not site.manager.closed_slow_clients:
            last = next(site.numbers)
            await site.told.emit("told", {"n": last, "kind": "answer", "filler": "x" * LIMIT}, to=sid)
            assert last * LIMIT < 3 * outbox.MAX_ANSWER_BYTES
        assert not await slow.read(last + 1)


@pytest.mark.slow
async def test_a_client_that_reads_nothing_for_too_long_is_closed() -> None:
    async with serving(drain_s=0.5) as site, raw_websocket(site) as stalled:
        async with asyncio.timeout(HANG):
            while not site.manager.closed_slow_clients:
                await site.push("picture", BIG)
                await asyncio.sleep(0.01)
        assert not await stalled.read(site.last["picture"])


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_push_never_overtakes_messages_queued_in_the_library(tls: bool, certificate: ssl.SSLContext) -> None:
    async with serving(certificate if tls else None) as site, raw_websocket(site) as reading:
        for turns in range(12):
            first = await site.queue()
            for _ in range(turns):
                await asyncio.sleep(0)
            last = await site.push("alarm")
            assert await reading.read(last)
            assert [number for number, _ in reading.numbers[-2:]] == [first, last]


async def test_recipients_follow_clients_that_join_and_leave_rooms() -> None:
    async with serving() as site, raw_websocket(site) as north, raw_websocket(site) as south:
        recipients = Recipients(["storehouse"])
        stays, moves = site.told.sids
        await site.told.enter_room(stays, "storehouse")
        alone, both, without = (next(site.numbers) for _ in range(3))
        for number in (alone, both, without):
            if number == both:
                await site.told.enter_room(moves, "storehouse")
            if number == without:
                await site.told.leave_room(moves, "storehouse")
            await site.manager.push("told", {"n": number, "kind": "alarm"}, recipients)
        last = await site.push("alarm")
        assert await north.read(last)
        assert await south.read(last)
        assert [number for number, _ in north.numbers] == [alone, both, without, last]
        assert [number for number, _ in south.numbers] == [both, last]


async def test_the_server_writes_directly_to_an_upgraded_client() -> None:
    async with serving() as site, polling(site) as client:
        recipients = site.recipients
        first = await site.push("alarm")
        assert (len(recipients.ready), len(recipients.rest)) == (0, 1)
        await client.upgrade()
        assert await client.read(first)
        last = await site.push("alarm")
        assert (len(recipients.ready), len(recipients.rest)) == (1, 0)
        assert await client.read(last)
        assert [number for number, _ in client.numbers] == [first, last]


async def test_recipients_and_fan_out_forget_disconnected_clients() -> None:
    async with serving() as site, raw_websocket(site) as client:
        recipients = site.recipients
        assert await client.read(await site.push("alarm"))
        await site.push("picture", 20 * BIG)  # the client disconnects while data is unsent
        assert recipients.is_resolved
        site.told.leaving.clear()
        await client.close()
        await until(lambda: not site.manager._outboxes)
        assert not recipients.is_resolved
        assert not recipients.ready
        assert not site.manager._busy
        await site.push("picture")  # the client is gone, but the server has not noticed it yet
        site.told.leaving.set()
        await until(lambda: not site.told.sids)
        await until(lambda: not recipients.is_resolved)
        assert not recipients.rest
        assert not site.manager._behind


def test_every_private_name_used_exists_in_the_libraries() -> None:
    assert library_internals.missing_names(library_internals.DIRECT_WRITES) == []


def test_a_missing_private_name_selects_the_librarys_manager(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(library_internals, "DIRECT_WRITES", {asyncio.Queue.empty: {"_nothing_like_it"}})
    assert isinstance(fanout.create_manager(1, 1), fanout.LibraryManager)
    assert "_nothing_like_it" in caplog.text
