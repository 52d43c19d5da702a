"""When the server stops, each client gets the answers that are due. Then its transport ends without a packet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import tornado.httpserver
import tornado.netutil
import tornado.web

import transport
from tests.support.bare_server import CLOSE, HANG, UPGRADE, Bare, Raw, bare
from tests.support.serving_inside import until
from tests.test_fanout import BIG, raw_websocket, serving
from transport import library_internals
from transport.sessions import GOING_AWAY

NOTHING_SENT = [GOING_AWAY.to_bytes(2, "big")]


class Question:
    """A handler of the event `question`. It answers when the test sets `answered`."""

    def __init__(self, server: Bare) -> None:
        self.asked = 0
        self.answered = asyncio.Event()
        server.sio.on("question", self._answer)

    async def _answer(self, _sid: str) -> str:
        self.asked += 1
        await self.answered.wait()
        return "yes"


@pytest.fixture
async def server() -> AsyncIterator[Bare]:
    async with bare() as running:
        running.sio.eio.closing_sessions.timeout_s = HANG
        yield running


def stop(server: Bare) -> "asyncio.Task[None]":
    return asyncio.create_task(transport.close_all(server.sio, HANG))


async def messages_until_closed(raw: Raw) -> list[bytes]:
    """Return all messages, and then the content of the close frame. Complete the closing handshake."""
    messages = []
    while True:
        kind, content = await raw.hear()
        messages.append(content)
        if kind == CLOSE:
            await raw.frame(CLOSE, content)
            return messages


async def test_a_websocket_closes_as_going_away_after_its_answer(server: Bare) -> None:
    question = Question(server)
    asking, waiting = await server.joined(), await server.joined()
    await asking.say('427["question"]')
    await until(lambda: question.asked)
    stopping = stop(server)
    assert await messages_until_closed(waiting) == NOTHING_SENT
    assert not stopping.done()
    question.answered.set()
    assert await messages_until_closed(asking) == [b'437["yes"]', *NOTHING_SENT]
    await stopping


async def test_a_poll_ends_with_an_error_after_its_answer(server: Bare) -> None:
    question = Question(server)
    asking, waiting, between = await server.open(), await server.open(), await server.open()
    for session in (asking, waiting, between):
        await session.post("40")
        while "auth" not in (await session.get()).body:
            pass
    await asking.post('427["question"]')
    await until(lambda: question.asked)
    answer, poll = asyncio.create_task(asking.get()), asyncio.create_task(waiting.get())
    await until(lambda: all(server.sio.eio.sockets[session.sid].is_polled for session in (asking, waiting)))
    stopping = stop(server)
    assert (await poll).status == 503
    assert not stopping.done()
    question.answered.set()
    assert (await answer).body == '437["yes"]'
    assert (await asking.get()).status == 503
    assert (await between.get()).status == 503
    assert (await between.get()).status == 400
    await stopping


async def test_a_server_that_stops_waits_for_an_upgrade(server: Bare) -> None:
    session, late = await server.open(), await server.open()
    raw = await session.probe()
    await raw.say("2probe")
    assert await raw.text() == "3probe"
    stopping = stop(server)
    await until(lambda: server.sio.eio.stopping)
    refused = await server.connect()
    answer = await refused.ask("GET", f"EIO=4&transport=websocket&sid={late.sid}", **UPGRADE)
    assert answer.status == 503
    await raw.say("5")
    assert await messages_until_closed(raw) == NOTHING_SENT
    assert (await late.get()).status == 503
    await stopping


async def test_unsent_messages_are_sent_before_the_websocket_closes() -> None:
    async with serving() as site, raw_websocket(site) as slow:
        (box,) = site.manager._outboxes.values()
        while box.unsent < 3 * BIG:  # one message is with Tornado, and further ones wait
            last = await site.push("alarm", BIG)
        stopping = asyncio.create_task(transport.close_all(site.manager.server, HANG))
        assert await slow.read(last)
        assert not await slow.read(last + 1)
        await stopping
        assert [number for number, _ in slow.numbers] == list(range(1, last + 1))


async def test_an_answer_that_takes_too_long_does_not_delay_the_stop(server: Bare) -> None:
    question = Question(server)
    asking = await server.joined()
    await asking.say('427["question"]')
    await until(lambda: question.asked)
    stopping = asyncio.create_task(transport.close_all(server.sio, 0.0))
    assert await messages_until_closed(asking) == NOTHING_SENT
    await stopping
    question.answered.set()


async def test_a_polling_client_that_misses_its_pings_gets_no_close_packet() -> None:
    async with bare(ping_interval=0.02, ping_timeout=1.0) as server:
        session = await server.open()
        assert (await session.get()).body == "2"
        assert (await session.get()).status == 400  # it waits until the session has timed out


@asynccontextmanager
async def library_server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bare]:
    """Run a server that uses the library's own sessions, as with an unsupported version of the library."""
    monkeypatch.setattr(library_internals, "HARDENED_SERVER", {asyncio.Queue.empty: {"_nothing_like_it"}})
    sio = transport.AsyncServer(async_mode="tornado", namespaces=["/"])
    http = tornado.httpserver.HTTPServer(
        tornado.web.Application([(r"/socket\.io/", transport.get_tornado_handler(sio))])
    )
    (socket,) = tornado.netutil.bind_sockets(0, "127.0.0.1")
    http.add_sockets([socket])
    try:
        yield Bare(sio, socket.getsockname()[1])
    finally:
        http.stop()
        await http.close_all_connections()


async def test_sessions_of_the_library_end_without_a_close_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    async with library_server(monkeypatch) as server:
        raw, session = await server.websocket(), await server.open()
        assert (await raw.text())[0] == "0"
        poll = asyncio.create_task(session.get())
        await until(lambda: server.sio.eio.sockets[session.sid].queue._getters)  # the poll waits
        await transport.close_all(server.sio, HANG)
        assert (await raw.hear())[0] == CLOSE
        assert (await poll).body == ""
