"""Tests of the transport at the level of bytes: requests, answers, and the release of resources."""

import asyncio
import gc
import json
import logging
import os
import socket
import time
import weakref
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import socketio
from engineio.packet import Packet as EnginePacket
from tornado.iostream import IOStream

import transport
from tests.support import marks
from tests.support.bare_server import CLOSE, HANG, TEXT, UPGRADE, Answer, Bare, bare, frame
from tests.support.serving_inside import until
from transport import http_server, library_internals
from transport.deadlines import Deadlines
from transport.handler import Handler
from transport.http_server import MAX_PAGE_BODY_BYTES
from transport.sessions import Session

BOTH_SERVERS = pytest.mark.parametrize("fast_accept", [False, True], ids=["application", "fast accept"])
POLLING, WEBSOCKET = "EIO=4&transport=polling", "EIO=4&transport=websocket"
TIMES = 1000


@pytest.fixture
async def server() -> AsyncIterator[Bare]:
    async with bare() as running:
        yield running


# The handshake


@BOTH_SERVERS
async def test_a_session_opens_by_polling_and_by_websocket(fast_accept: bool) -> None:
    expected = {"pingInterval": 25500, "pingTimeout": 20000, "maxPayload": 1_000_000}
    async with bare(fast_accept, ping_interval=25.5, ping_timeout=20) as server:
        answer = await server.ask("GET", POLLING)
        assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=UTF-8")
        opened = json.loads(answer.body.removeprefix("0"))
        assert server.sio.eio.transport(opened.pop("sid")) == "polling"
        assert opened == expected | {"upgrades": ["websocket"]}
        raw = await server.websocket()
        opened = json.loads((await raw.text()).removeprefix("0"))
        assert server.sio.eio.transport(opened.pop("sid")) == "websocket"
        assert opened == expected | {"upgrades": []}


REFUSED: list[tuple[str, str, int, int]] = [
    ("GET", "", 400, 0),
    ("GET", "EIO=4", 400, 0),
    ("GET", "EIO=4&transport=abc", 400, 0),
    ("GET", "EIO=4&transport=polling&transport=polling", 400, 0),
    ("GET", "transport=polling", 400, 5),
    ("GET", "EIO=3&transport=polling", 400, 5),
    ("GET", "EIO=abc&transport=polling", 400, 5),
    ("POST", POLLING, 400, 2),
    ("PUT", POLLING, 400, 2),
    ("DELETE", POLLING, 400, 2),
    ("GET", f"{POLLING}&sid=nobody", 400, 1),
    ("POST", f"{POLLING}&sid=nobody", 400, 1),
    ("POST", f"{POLLING}&sid=%ff", 400, 1),
    ("GET", WEBSOCKET, 400, 3),  # without an upgrade
]
REFUSED_UPGRADES: list[tuple[str, dict[str, str], int, int]] = [
    ("", {}, 400, 0),
    ("transport=websocket", {}, 400, 5),
    ("EIO=abc&transport=websocket", {}, 400, 5),
    ("EIO=4&transport=abc", {}, 400, 0),
    (POLLING, {}, 400, 3),
    (f"{WEBSOCKET}&sid=nobody", {}, 400, 1),
    (WEBSOCKET, {"Sec-WebSocket-Version": "8"}, 400, 3),
    (WEBSOCKET, {"Sec-WebSocket-Key": ""}, 400, 3),
    (WEBSOCKET, {"Origin": "https://elsewhere.example"}, 403, 4),
    (WEBSOCKET, {"Origin": "null"}, 403, 4),
    (WEBSOCKET, {"Origin": "http://["}, 403, 4),
]


@BOTH_SERVERS
@pytest.mark.parametrize(("method", "query", "status", "code"), REFUSED)
async def test_an_invalid_request_is_refused_and_its_connection_closed(
    fast_accept: bool, method: str, query: str, status: int, code: int
) -> None:
    async with bare(fast_accept) as server:
        raw = await server.connect()
        answer = await raw.ask(method, query)
        assert (answer.status, json.loads(answer.body)["code"]) == (status, code)
        assert await raw.is_closed()
        assert not server.sio.eio.sockets


@BOTH_SERVERS
@pytest.mark.parametrize(("query", "headers", "status", "code"), REFUSED_UPGRADES)
async def test_an_invalid_upgrade_is_refused_with_an_http_error(
    fast_accept: bool, query: str, headers: dict[str, str], status: int, code: int
) -> None:
    async with bare(fast_accept) as server:
        raw = await server.connect()
        await raw.send_request("GET", query, b"", UPGRADE | headers)
        answer = await raw.answer()
        assert (answer.status, json.loads(answer.body)["code"]) == (status, code)
        assert await raw.is_closed()
        assert not server.sio.eio.sockets


@pytest.mark.slow
@BOTH_SERVERS
async def test_refused_upgrades_leave_no_open_connection(fast_accept: bool) -> None:
    async with bare(fast_accept) as server:
        before = server.resources()

        async def refused(number: int) -> int:
            query, headers, *_ = REFUSED_UPGRADES[number % len(REFUSED_UPGRADES)]
            raw = await server.connect()
            await raw.send_request("GET", query, b"", UPGRADE | headers)
            status = (await raw.answer()).status
            assert await raw.is_closed()
            return status

        statuses = await asyncio.gather(*(refused(number) for number in range(200)))
        assert all(400 <= status < 500 for status in statuses)
        await server.settled(before)


@BOTH_SERVERS
@pytest.mark.parametrize("origin", ["http://[", "http://x]", "//["])
async def test_an_unreadable_origin_is_refused_without_an_error_log(
    fast_accept: bool, origin: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with bare(fast_accept) as server:
        before = server.resources()
        for headers in [UPGRADE, {}] * 10:
            raw = await server.connect()
            query = WEBSOCKET if headers else POLLING
            assert (await raw.ask("GET", query, **headers, Origin=origin)).status == 403
            assert await raw.is_closed()
        await server.settled(before)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@BOTH_SERVERS
async def test_a_null_origin_does_not_match_an_empty_host(
    fast_accept: bool,
) -> None:
    async with bare(fast_accept) as server:
        for query, headers in ((POLLING, {}), (WEBSOCKET, UPGRADE)):
            answer = await server.ask("GET", query, **headers, Host="", Origin="null")
            assert 400 <= answer.status < 500


@BOTH_SERVERS
async def test_a_request_without_host_is_refused(fast_accept: bool) -> None:
    async with bare(fast_accept) as server:
        raw = await server.connect()
        headers = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
        await raw.send(f"GET /socket.io/?{WEBSOCKET} HTTP/1.1\r\n{headers}\r\n".encode())
        assert (await raw.head())[0] == 400
        assert await raw.is_closed()


async def test_a_disabled_transport_is_refused() -> None:
    async with bare(transports=["websocket"]) as server:
        assert (await server.ask("GET", POLLING)).status == 400
        await server.joined()


@pytest.mark.slow
async def test_a_failing_connect_handler_refuses_the_connection() -> None:
    for fast_accept in (False, True):
        async with bare(fast_accept) as server:
            before = server.resources()

            def refuse(_sid: str, environ: Mapping[str, Any]) -> bool:
                raise KeyError(environ["REMOTE_ADDR"])

            server.sio.eio.on("connect", refuse)
            assert (await server.ask("GET", POLLING)).status == 401
            raw = await server.connect()
            await raw.send_request("GET", WEBSOCKET, b"", UPGRADE)
            assert (await raw.answer()).status == 401
            raw.close()
            await server.settled(before)


# Origins


@BOTH_SERVERS
@pytest.mark.parametrize(
    ("allowed", "origin", "status"),
    [
        (None, "http://here.example", 200),
        (None, "https://HERE.example", 200),
        (None, "https://elsewhere.example", 403),
        (["https://portal.example"], "https://portal.example", 200),
        (["https://portal.example"], "https://here.example", 200),
        (["https://portal.example"], "https://elsewhere.example", 403),
        ("*", "https://elsewhere.example", 200),
        ([], "https://elsewhere.example", 403),
        (["https://portal.example"], "http://[", 403),
    ],
)
async def test_only_own_and_allowed_origins_may_connect(
    fast_accept: bool, allowed: Any, origin: str, status: int
) -> None:
    async with bare(fast_accept, cors_allowed_origins=allowed) as server:
        answer = await server.ask("GET", POLLING, Origin=origin)
        assert answer.status == status
        assert answer.headers.get("access-control-allow-origin") == (
            origin if status == 200 and not origin.lower().endswith("//here.example") else None
        )
        raw = await server.connect()
        await raw.send_request("GET", WEBSOCKET, b"", UPGRADE | {"Origin": origin})
        assert (await raw.head())[0] == (101 if status == 200 else 403)


async def test_a_preflight_request_gets_the_cors_headers() -> None:
    async with bare(cors_allowed_origins=["https://portal.example"]) as server:
        asked = {"Origin": "https://portal.example", "Access_Control_Request_Headers": "X-Own"}
        answer = await server.ask("OPTIONS", POLLING, **asked)
        assert answer.status == 200
        assert answer.headers["access-control-allow-methods"] == "OPTIONS, GET, POST"
        assert answer.headers["access-control-allow-headers"] == "X-Own"


# Packets, by polling


@pytest.mark.parametrize("body", ["4hello", "4one\x1e4two\x1e4three", "4hello\x1ebAQIDBA==", '4{"a":1}', "4"])
async def test_payloads_are_echoed_by_polling(server: Bare, body: str) -> None:
    server.sio.eio.on("message", server.sio.eio.send)
    session = await server.open()
    answer = await session.post(body)
    assert (answer.status, answer.body) == (200, "ok")
    assert (await session.get()).body == body


@pytest.mark.parametrize(
    "body", ["", "abc", "4hello\x1e", "\x1e4hello", "2", "0", "5", "9", b"4\xff", "bAQ", "b~~~~", "d=4hello"]
)
async def test_a_malformed_payload_closes_the_session(server: Bare, body: str | bytes) -> None:
    received: list[Any] = []
    server.sio.eio.on("message", lambda *arguments: received.append(arguments))
    session = await server.open()
    assert (await session.post(body)).status == 400
    assert (await session.get()).status == 400
    assert not received
    assert not server.sio.eio.sockets


async def test_a_second_poll_closes_the_session_and_ends_the_first(server: Bare) -> None:
    session = await server.open()
    first = asyncio.create_task(session.get())
    await wait_for_poll(server, session.sid)
    assert (await session.get()).status == 400
    answer = await first
    assert (answer.status, answer.body) == (200, "1")
    assert (await session.get()).status == 400


async def test_a_second_post_during_the_first_closes_the_session(server: Bare) -> None:
    session = await server.open()
    first = await server.connect()
    await first.send(f"POST /socket.io/?{session.query} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n40".encode())
    await until(lambda: server.sio.eio.sockets[session.sid].posting, HANG)
    assert (await session.post("40")).status == 400
    assert not server.sio.eio.sockets
    await first.send(b"/custom")
    assert (await first.answer()).status == 400


async def test_an_aborted_poll_closes_the_session(server: Bare) -> None:
    session = await server.open()
    raw = await server.connect()
    await raw.send_request("GET", session.query, b"", {})
    await wait_for_poll(server, session.sid)
    raw.close()
    await until(lambda: not server.sio.eio.sockets, HANG)
    assert (await session.get()).status == 400


async def test_a_close_packet_after_an_aborted_poll_is_not_malformed(
    server: Bare, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "transport")
    session = await server.open()
    await session.post("40")
    while "auth" not in (await session.get()).body:
        pass
    poll, post = await server.connect(), await server.connect()
    await poll.send_request("GET", session.query, b"", {})
    await wait_for_poll(server, session.sid)
    await post.send(f"POST /socket.io/?{session.query} HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n41".encode())
    await until(lambda: server.sio.eio.sockets[session.sid].posting, HANG)
    poll.close()
    await until(lambda: not server.sio.eio.sockets, HANG)
    await post.send(b"\x1e1")
    answer = await post.answer()
    assert (answer.status, json.loads(answer.body)["code"]) == (400, 1)
    assert server.sio.rejections == {"session": 1}
    assert "malformed" not in caplog.text


async def test_a_close_packet_by_polling_ends_the_session(server: Bare) -> None:
    session = await server.open()
    waiting = asyncio.create_task(session.get())
    await wait_for_poll(server, session.sid)
    assert (await session.post("1")).body == "ok"
    assert (await waiting).body == "6"
    assert (await session.get()).status == 400
    overtaken = await server.open()
    server.sio.eio.closing_sessions.timeout_s = HANG
    assert (await overtaken.post("1")).body == "ok"
    assert (await overtaken.get()).body == "6"
    assert (await overtaken.get()).status == 400


async def test_a_polling_client_gets_the_close_packet_on_disconnect(server: Bare) -> None:
    now, soon = await server.open(), await server.open()
    waiting = asyncio.create_task(now.get())
    await wait_for_poll(server, now.sid)
    server.sio.eio.closing_sessions.timeout_s = HANG
    await server.sio.eio.disconnect()
    assert (await waiting).body == "1"
    assert (await soon.post("40")).status == 400
    assert (await soon.get()).body == "1"
    assert not server.sio.eio.sockets


@pytest.mark.parametrize("size", [1_000_001, 1_500_000, 50_000_000])
async def test_an_oversized_post_is_refused_and_the_session_stays(server: Bare, size: int) -> None:
    session = await server.open()
    raw = await server.connect()
    await raw.send(f"POST /socket.io/?{session.query} HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n".encode())
    if size < 1_048_576:
        await raw.send(b"4" * size)
    assert (await raw.answer()).status == 413
    assert await raw.is_closed()
    assert (await session.post("40")).status == 200


@pytest.mark.parametrize("size", ["\xb2", "9" * 5000])
async def test_an_invalid_content_length_is_refused_as_too_large(
    server: Bare, size: str, caplog: pytest.LogCaptureFixture
) -> None:
    session = await server.open()
    raw = await server.connect()
    head = f"POST /socket.io/?{session.query} HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n"
    await raw.send(head.encode("latin-1"))
    assert (await raw.answer()).status == 413
    assert await raw.is_closed()
    assert "Traceback" not in caplog.text


async def test_a_chunked_post_has_the_same_size_limit(server: Bare) -> None:
    session = await server.open()
    raw = await server.connect()
    await raw.send(
        f"POST /socket.io/?{session.query} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    for _ in range(11):
        await raw.send(b"%x\r\n%s\r\n" % (100_000, b"4" * 100_000))
    await raw.send(b"0\r\n\r\n")
    assert (await raw.answer()).status == 413
    assert (await session.post("40")).status == 200


# Packets, by websocket


@pytest.mark.parametrize("message", ["4hello", '4{"a":1}', b"\x01\x02\x03"])
async def test_messages_are_echoed_by_websocket(server: Bare, message: str | bytes) -> None:
    server.sio.eio.on("message", server.sio.eio.send)
    raw = await server.websocket()
    await raw.text()
    await raw.say(message)
    assert (await raw.hear())[1] == (message.encode() if isinstance(message, str) else message)


@BOTH_SERVERS
@pytest.mark.parametrize("message", ["", "abc", "0", "2", "2probe", "5", "7", "9", "²"])
async def test_an_unknown_packet_closes_the_websocket(fast_accept: bool, message: str) -> None:
    async with bare(fast_accept) as server:
        raw = await server.websocket()
        await raw.text()
        await raw.say(message)
        assert await raw.told_until_closed() == []
        assert not server.sio.eio.sockets


async def test_a_close_packet_closes_the_websocket(server: Bare) -> None:
    raw = await server.joined()
    await raw.say("1")
    assert await raw.told_until_closed() == []
    assert not server.sio.environ


async def test_a_server_disconnect_sends_a_close_packet(server: Bare) -> None:
    raw = await server.joined()
    await server.sio.eio.disconnect()
    assert await raw.told_until_closed() == ["1"]


@BOTH_SERVERS
async def test_an_oversized_message_closes_the_websocket_as_too_big(fast_accept: bool) -> None:
    async with bare(fast_accept, max_http_buffer_size=1000) as server:
        raw = await server.joined()
        await raw.say("4" * 1001)
        kind, content = await raw.hear()
        assert (kind, content[:2]) == (CLOSE, (1009).to_bytes(2, "big"))
        assert await raw.is_closed()


@BOTH_SERVERS
async def test_compression_is_never_offered(fast_accept: bool) -> None:
    async with bare(fast_accept) as server:
        raw = await server.connect()
        await raw.send_request(
            "GET", WEBSOCKET, b"", UPGRADE | {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
        )
        status, headers = await raw.head()
        assert (status, headers.get("sec-websocket-extensions")) == (101, None)
        await raw.text()
        await raw.frame(TEXT, zlib.compress(b"4" * 1000), flags=0xC0)
        assert await raw.is_closed()
        session = await server.open()
        answer = await server.ask("GET", POLLING, Accept_Encoding="gzip, deflate")
        assert "content-encoding" not in answer.headers
        assert (await session.post("40", Content_Encoding="gzip")).status == 200


# Heartbeats


async def test_only_clients_that_answer_pings_stay_connected() -> None:
    async with bare(ping_interval=0.05, ping_timeout=HANG) as server:
        session = await server.open()
        raw = await server.websocket()
        await raw.text()
        for _ in range(3):
            assert (await session.get()).body == "2"
            assert (await session.post("3")).status == 200
            assert await raw.hear() == (TEXT, b"2")
            await raw.say("3")
    async with bare(ping_interval=0.05, ping_timeout=0.05) as server:
        session = await server.open()
        raw = await server.websocket()
        assert (await raw.told_until_closed())[1:] == ["2"]  # a close packet would end python-socketio's client
        await asyncio.sleep(0.1)  # longer than the ping interval plus the ping time-out of the polling session
        assert (await session.get()).status == 400
        assert not server.sio.environ


def test_deadlines_expire_in_order_with_one_timer() -> None:
    async def check() -> None:
        late: list[str] = []
        loop = asyncio.get_running_loop()
        deadlines: Deadlines[str] = Deadlines(0.02, lambda key, _: late.append(key))
        for key in ("gone", "first", "second"):
            deadlines.add(key)
        deadlines.discard("gone")
        deadlines.add("first")
        assert len([handle for handle in loop._scheduled if not handle.cancelled()]) == 1  # type: ignore[attr-defined]
        await until(lambda: len(late) == 2, HANG)
        assert late == ["second", "first"]
        deadlines.add("overdue", start=0.0)
        assert deadlines.is_expired("overdue")
        deadlines.stop()
        assert not deadlines.is_expired("overdue")

    asyncio.run(check())


# Upgrades


async def test_a_session_upgrades_from_polling_to_websocket(server: Bare) -> None:
    server.sio.eio.on("message", server.sio.eio.send)
    session = await server.open()
    waiting = asyncio.create_task(session.get())
    await wait_for_poll(server, session.sid)
    raw = await session.probe()
    await raw.say("2probe")
    assert await raw.text() == "3probe"
    assert (await waiting).body == "6"
    assert (await session.get()).body == "6"
    assert (await session.post("4late")).body == "ok"
    await raw.say("5")
    await raw.say("4hello")
    assert [await raw.text(), await raw.text()] == ["4late", "4hello"]
    assert (await session.get()).status == 400
    assert (await session.post("4hello")).status == 400


async def test_queued_packets_arrive_after_an_upgrade(server: Bare) -> None:
    session = await server.open()
    raw = await session.probe()
    await raw.say("2probe")
    await raw.text()
    await raw.say("5")
    await until(lambda: server.sio.eio.transport(session.sid) == "websocket", HANG)
    for text in ("one", "two"):
        server.sio.eio.sockets[session.sid].queue.put_nowait(EnginePacket(4, text))
    assert [await raw.text(), await raw.text()] == ["4one", "4two"]


@BOTH_SERVERS
async def test_a_second_websocket_of_a_session_is_closed(fast_accept: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with bare(fast_accept) as server:
        server.sio.eio.on("message", server.sio.eio.send)
        before = server.resources()
        session = await server.open()
        raw = await session.probe()
        assert await (await session.probe()).told_until_closed() == []
        await raw.say("2probe")
        await raw.text()
        await raw.say("5")
        assert await (await session.probe()).told_until_closed() == []
        await raw.say("4hello")
        assert await raw.text() == "4hello"
        direct = await server.websocket()
        sid = json.loads((await direct.text())[1:])["sid"]
        assert await (await server.websocket(f"{WEBSOCKET}&sid={sid}")).told_until_closed() == []
        raw.close()
        direct.close()
        await server.settled(before)
        assert "Traceback" not in caplog.text


@pytest.mark.parametrize("message", ["5", "2", "3probe", "4hello", b"2probe"])
async def test_a_websocket_without_probe_is_closed_and_polling_continues(server: Bare, message: str | bytes) -> None:
    server.sio.eio.on("message", server.sio.eio.send)
    session = await server.open()
    raw = await session.probe()
    await raw.say(message)
    assert await raw.told_until_closed() == []
    await session.post("4hello")
    assert (await session.get()).body == "4hello"


async def test_frames_after_the_close_are_ignored(server: Bare, caplog: pytest.LogCaptureFixture) -> None:
    session = await server.open()
    raw = await session.probe()
    await raw.send(frame(TEXT, "x") * 3)
    assert await raw.told_until_closed() == []
    assert (await session.post("40")).status == 200
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


async def test_an_unfinished_upgrade_times_out(server: Bare) -> None:
    session = await server.open()
    server.sio.eio.upgrades.timeout_s = 0.5
    raw = await session.probe()
    await raw.say("2probe")
    assert await raw.told_until_closed() == ["3probe"]
    assert (await session.post("40")).status == 200


async def test_a_probing_websocket_ends_with_its_session(server: Bare) -> None:
    session = await server.open()
    raw = await session.probe()
    await session.post("1")
    assert await raw.told_until_closed() == []


# Socket.IO


@BOTH_SERVERS
@pytest.mark.parametrize(
    ("packet", "prefix", "event"),
    [
        ("40", "40", '42["auth",{}]'),
        ('40{"token":"123"}', "40", '42["auth",{"token":"123"}]'),
        ("40/custom,", "40/custom,", '42/custom,["auth",{}]'),
        ('40/custom,{"token":"abc"}', "40/custom,", '42/custom,["auth",{"token":"abc"}]'),
    ],
)
async def test_connect_is_the_first_packet_in_a_namespace(
    fast_accept: bool, packet: str, prefix: str, event: str
) -> None:
    async with bare(fast_accept) as server:
        raw = await server.websocket()
        await raw.text()
        await raw.say(packet)
        answer = await raw.text()
        assert answer.startswith(prefix)
        assert list(json.loads(answer.removeprefix(prefix))) == ["sid"]
        assert await raw.text() == event


async def test_an_unknown_namespace_is_refused_and_the_connection_stays(server: Bare) -> None:
    raw = await server.websocket()
    await raw.text()
    await raw.say("40/random")
    assert await raw.text() == '44/random,{"message":"Invalid namespace"}'
    await raw.say("40")
    assert (await raw.text()).startswith("40")


async def test_a_refused_client_gets_only_the_reason() -> None:
    async def refuse(_sid: str, _environ: object, auth: Any) -> None:
        if auth is None:
            raise socketio.exceptions.ConnectionRefusedError("a ticket is needed", {"field": "ticket"})
        raise KeyError("secret")

    async with bare(on_connect=refuse) as server:
        before = server.resources()
        raw = await server.websocket()
        await raw.text()
        await raw.say("40")
        assert json.loads((await raw.text())[2:]) == {"message": "a ticket is needed", "data": {"field": "ticket"}}
        await raw.say('40{"ticket":1}')
        assert await raw.text() == '44{"message":"Connection rejected by server"}'
        raw.close()
        await server.settled(before)


async def test_leaving_a_namespace_keeps_the_others_connected(server: Bare) -> None:
    raw = await server.joined()
    await raw.say("40/custom")
    assert [(await raw.text())[:10], (await raw.text())[:10]] == ["40/custom,", "42/custom,"]
    await raw.say("41/custom")
    await raw.say('42["message","still here"]')
    assert await raw.text() == '42["message-back","still here"]'
    await raw.say("40/custom")
    assert (await raw.text()).startswith("40/custom,")


@pytest.mark.parametrize("namespace", ["", "/custom,"])
async def test_events_and_acknowledgements_are_echoed(server: Bare, namespace: str) -> None:
    raw = await server.joined(f"40{namespace}")
    await raw.say(f'42{namespace}["message",1,"2",{{"3":[true]}}]')
    assert await raw.text() == f'42{namespace}["message-back",1,"2",{{"3":[true]}}]'
    await raw.say(f'42{namespace}456["message-with-ack",1,"2",{{"3":[false]}}]')
    assert await raw.text() == f'43{namespace}456[1,"2",{{"3":[false]}}]'
    await raw.say(f'450-{namespace}7["message-with-ack",1]')
    assert await raw.text() == f"43{namespace}7[1]"


@pytest.mark.parametrize(
    ("event", "answer"), [("452-", '452-["message-back",'), ("452-789", "462-789[")], ids=["event", "acknowledgement"]
)
async def test_binary_attachments_are_echoed(server: Bare, event: str, answer: str) -> None:
    placeholders = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    name = "message-with-ack" if "789" in event else "message"
    raw = await server.joined()
    await raw.say(f'{event}["{name}",{placeholders}')
    await raw.say(b"\x01\x02\x03")
    await raw.say(b"\x04\x05\x06")
    assert await raw.text() == answer + placeholders
    assert [(await raw.hear())[1], (await raw.hear())[1]] == [b"\x01\x02\x03", b"\x04\x05\x06"]


async def test_binary_attachments_are_echoed_by_polling(server: Bare) -> None:
    session = await server.open()
    await session.post("40")
    placeholder = '{"_placeholder":true,"num":0}'
    packets = (await session.get()).body.split("\x1e")
    await session.post(f'451-["message",{placeholder}]\x1ebAQIDBA==')
    while len(packets) < 4:
        packets += (await session.get()).body.split("\x1e")
    assert packets[2:] == [f'451-["message-back",{placeholder}]', "bAQIDBA=="]


async def test_the_server_can_request_an_acknowledgement(server: Bare) -> None:
    raw = await server.joined()
    (sid,) = [sid for sid, _ in server.sio.manager.get_participants("/", None)]
    answer = asyncio.create_task(server.sio.call("ask", 1, to=sid, timeout=HANG))
    assert await raw.text() == '421["ask",1]'
    await raw.say('431["yes"]')
    assert await answer == "yes"


MALFORMED = [
    "4", "4abc", "47", "49", "44", '44"x"', "42", "42{}", "42[]", "42[null]", "42[true]", "42[1.5]", "42[{}]", "42[",
    '42"message"', '42abc["message"]', '421-["message"]', '42/custom["message"]', "43[1]", "431", "431{}", "40[]",
    '40"x"', "40{", "41[]", '45["message"]', '45-["message"]', '45x-["message"]', '451-["message"', '4565-["message"]',
    '451-{}', "461-[]", '42["connect"]', '42["disconnect"]', '42["connect_error"]', '42["disconnecting"]',
    '42["newListener"]', '42["removeListener"]', "40", '42999999999999999999999999999999999999999999999999999999999'
    '99999999999999999999999999999999999999999999999["message"]', b"\x00",
]  # fmt: skip


@pytest.mark.parametrize("packet", MALFORMED)
async def test_a_malformed_packet_closes_the_websocket(server: Bare, packet: str | bytes) -> None:
    raw = await server.joined()
    await raw.say(packet)
    assert await raw.told_until_closed() == []
    assert not server.sio.eio.sockets


async def test_text_instead_of_an_attachment_closes_the_websocket(server: Bare) -> None:
    for follows in ('42["message"]', "41", "40/custom"):
        raw = await server.joined()
        await raw.say('451-["message",{"_placeholder":true,"num":0}]')
        await raw.say(follows)
        assert await raw.told_until_closed() == []


@pytest.mark.parametrize("number", ["1", '"0"', "null", "[]"])
async def test_an_invalid_placeholder_closes_the_websocket(server: Bare, number: str) -> None:
    raw = await server.joined()
    await raw.say(f'451-["message",{{"_placeholder":true,"num":{number}}}]')
    await raw.say(b"\x01")
    assert await raw.told_until_closed() == []


async def test_attachments_together_must_fit_the_message_limit() -> None:
    async with bare(max_http_buffer_size=1000) as server:
        raw = await server.joined()
        await raw.say('453-["message"]')
        for _ in range(3):
            await raw.say(b"x" * 400)
        assert await raw.told_until_closed() == []
        assert not server.sio._binary_packet


@pytest.mark.parametrize("packet", ['42["message"]', "431[]", "41", '451-["message"]', '42/custom,["message"]'])
async def test_a_packet_before_connect_closes_the_websocket(server: Bare, packet: str) -> None:
    raw = await server.websocket()
    await raw.text()
    await raw.say(packet)
    assert await raw.told_until_closed() == []


@pytest.mark.parametrize("packet", ['42["message"]', '451-["message"]', "431[]", "41"])
@pytest.mark.parametrize("by_server", [False, True], ids=["client left", "server disconnected"])
async def test_a_packet_after_leaving_closes_but_is_not_malformed(
    server: Bare, packet: str, by_server: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "transport")
    raw = await server.joined()
    if by_server:
        await server.sio.disconnect(next(server.sio.manager.get_participants("/", None))[0])
    else:
        await raw.say("41")
    await raw.say(packet)
    assert await raw.told_until_closed() == (["41"] if by_server else [])
    assert not server.sio.rejections
    assert "malformed" not in caplog.text


async def test_a_client_can_rejoin_after_leaving(server: Bare) -> None:
    raw = await server.joined()
    await raw.say("41")
    await raw.say("40")
    assert [(await raw.text())[:2], (await raw.text())[:2]] == ["40", "42"]
    await raw.say("42")
    assert await raw.told_until_closed() == []
    assert server.sio.rejections == {"malformed": 1}


async def test_a_malformed_packet_closes_the_polling_session(server: Bare) -> None:
    session = await server.open()
    assert (await session.post("40\x1e4abc")).status == 400
    assert (await session.get()).status == 400
    assert not server.sio.environ


async def test_reserved_event_names_reach_a_catch_all_namespace(server: Bare) -> None:
    received: list[tuple[type, str]] = []

    class Funnel(socketio.AsyncNamespace):  # type: ignore[misc]
        async def trigger_event(self, event: str, *_: Any) -> None:
            received.append((type(event), event))

    server.sio.register_namespace(Funnel("/funnel"))
    raw = await server.websocket()
    await raw.text()
    await raw.say("40/funnel,")
    await raw.text()
    await raw.say('42/funnel,["disconnect"]')
    await until(lambda: len(received) == 2, HANG)
    assert received == [(str, "connect"), (transport.EventName, "disconnect")]


@BOTH_SERVERS
async def test_a_client_that_joins_no_namespace_is_closed(fast_accept: bool) -> None:
    async with bare(fast_accept, connect_timeout=0.5) as server:
        raw = await server.websocket()
        assert (await raw.told_until_closed())[1:] == []
        session = await server.open()
        await until(lambda: not server.sio.eio.sockets, HANG)
        assert (await session.get()).status == 400
        stays = await server.joined()
        await asyncio.sleep(1.0)  # longer than `connect_timeout`
        await stays.say('421["message-with-ack"]')
        assert await stays.text() == "431[]"
        await stays.say("41")
        assert await stays.told_until_closed() == []


# Client addresses, limits and slow clients


def seen_from(headers: dict[str, str], trusted: list[str]) -> Any:
    async def see() -> tuple[str, str]:
        seen: list[tuple[str, str]] = []

        async def record(_sid: str, environ: Mapping[str, Any], _auth: object) -> None:
            seen.append((transport.remote_address(environ), environ["wsgi.url_scheme"]))

        async with bare(fast_accept=True, on_connect=record, trusted_proxies=trusted) as server:
            raw = await server.websocket(**headers)
            await raw.text()
            await raw.say("40")
            await raw.text()
            polling = json.loads((await server.ask("GET", POLLING, **headers)).body[1:])["sid"]
            await server.ask("POST", f"{POLLING}&sid={polling}", "40", **headers)
        assert seen[0] == seen[1]
        return seen[0]

    return see()


@pytest.mark.parametrize(
    ("forwarded", "trusted", "address", "scheme"),
    [
        ("198.51.100.7", [], "127.0.0.1", "http"),
        ("198.51.100.7", ["192.0.2.1"], "127.0.0.1", "http"),
        ("198.51.100.7", ["127.0.0.1"], "198.51.100.7", "https"),
        ("203.0.113.9, 198.51.100.7", ["127.0.0.0/8"], "198.51.100.7", "https"),
        ("198.51.100.7, 10.0.0.3", ["127.0.0.1", "10.0.0.0/8"], "198.51.100.7", "https"),
        ("2001:db8::7", ["127.0.0.1"], "2001:db8::7", "https"),
        ("nonsense", ["127.0.0.1"], "127.0.0.1", "https"),
        ("203.0.113.9, 198.51.100.7:5555", ["127.0.0.1"], "198.51.100.7", "https"),
        ("203.0.113.9, 198.51.100.7, 10.0.0.3:443", ["127.0.0.1", "10.0.0.0/8"], "198.51.100.7", "https"),
        ("203.0.113.9, [2001:db8::7]:5555", ["127.0.0.1"], "2001:db8::7", "https"),
        ("203.0.113.9, [2001:DB8::7]", ["127.0.0.1"], "2001:db8::7", "https"),
        ("203.0.113.9, ::ffff:198.51.100.7", ["127.0.0.1"], "198.51.100.7", "https"),
        ("203.0.113.9, unknown", ["127.0.0.1"], "127.0.0.1", "https"),
        ("203.0.113.9,", ["127.0.0.1"], "127.0.0.1", "https"),
        ("203.0.113.9, 198.51.100.7:x", ["127.0.0.1"], "127.0.0.1", "https"),
        ("203.0.113.9, unknown, 10.0.0.3", ["127.0.0.1", "10.0.0.0/8"], "10.0.0.3", "https"),
    ],
)
async def test_forwarded_headers_count_only_from_trusted_proxies(
    forwarded: str, trusted: list[str], address: str, scheme: str
) -> None:
    headers = {"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https"}
    assert await seen_from(headers, trusted) == (address, scheme)


async def test_one_proxy_connection_serves_several_client_addresses() -> None:
    async with bare(fast_accept=True, trusted_proxies=["127.0.0.1"]) as server:
        raw = await server.connect()
        for address in ("198.51.100.7", "198.51.100.8"):
            assert (await raw.ask("GET", POLLING, X_Forwarded_For=address)).status == 200
        assert (await raw.ask("GET", POLLING)).status == 200
        assert server.sio.eio.addresses == {"198.51.100.7": 1, "198.51.100.8": 1, "127.0.0.1": 1}


@BOTH_SERVERS
async def test_connections_per_address_are_limited(fast_accept: bool) -> None:
    async with bare(fast_accept, per_address=2) as server:
        first, second = await server.joined(), await server.open()
        assert (await server.ask("GET", POLLING)).status == 429
        raw = await server.connect()
        await raw.send_request("GET", WEBSOCKET, b"", UPGRADE)
        assert (await raw.answer()).status == 429
        await second.post("1")
        await server.joined()
        first.close()


async def test_slow_requests_and_idle_connections_are_closed() -> None:
    async with bare(fast_accept=True, request_timeout_s=0.1) as server:
        session = await server.open()
        idle, slow, body = await server.connect(), await server.connect(), await server.connect()
        await slow.send(b"GET /socket.io/ HTTP/1.1\r\nHost: h\r\n")
        await body.send(f"POST /socket.io/?{session.query} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n4".encode())
        for raw in (idle, slow, body):
            assert await raw.is_closed()
        assert server.sio.rejections["slow"] == 3


@pytest.mark.parametrize(
    "rest",
    [
        f"Content-Length: {MAX_PAGE_BODY_BYTES + 1}\r\n\r\n",
        f"Transfer-Encoding: chunked\r\n\r\n{MAX_PAGE_BODY_BYTES + 1:x}\r\n",
    ],
)
async def test_an_oversized_page_body_is_refused_before_it_arrives(rest: str) -> None:
    async with bare(fast_accept=True) as server:
        for path in ("/login", "/socket.io", "/socket.io/more?EIO=4"):
            raw = await server.connect()
            await raw.send(f"POST {path} HTTP/1.1\r\nHost: h\r\n{rest}".encode())
            assert (await raw.head())[0] == 400
            assert await raw.is_closed()


async def test_a_session_can_post_more_after_a_page_body() -> None:
    async with bare(fast_accept=True) as server:
        session = await server.open()
        await session.post("40")
        raw = await server.connect()
        await raw.send(f"POST /login HTTP/1.1\r\nHost: h\r\nContent-Length: {MAX_PAGE_BODY_BYTES}\r\n\r\n".encode())
        await raw.send(b"x" * MAX_PAGE_BODY_BYTES)
        assert (await raw.answer()).status == 404
        assert (await raw.ask("POST", session.query, f'42["message","{"x" * MAX_PAGE_BODY_BYTES}"]')).status == 200


async def test_an_idle_connection_stays_open_for_the_next_request() -> None:
    async with bare(fast_accept=True, request_timeout_s=0.1) as server:
        raw = await server.connect()
        assert (await raw.ask("OPTIONS", POLLING)).status == 200
        later = await server.connect()
        assert await later.is_closed()  # it has exceeded the time limit for a request
        assert (await raw.ask("OPTIONS", POLLING)).status == 200


def test_an_idle_connection_outlives_the_interval_of_pings() -> None:
    # A client that uses long polling sends nothing else than its answer to each ping.
    ping_interval = transport.AsyncServer(async_mode="tornado").eio.ping_interval
    assert 2 * ping_interval < http_server.KEEP_ALIVE_S


async def test_closing_an_idle_connection_is_not_a_rejection() -> None:
    async with bare(fast_accept=True, request_timeout_s=0.5, keep_alive_s=1.0) as server:
        gone = await server.connect()
        gone.close()
        raw = await server.connect()
        assert (await raw.ask("OPTIONS", POLLING)).status == 200
        assert await raw.is_closed()
        assert not server.sio.rejections


@BOTH_SERVERS
async def test_rejections_are_counted_by_reason(fast_accept: bool) -> None:
    async with bare(fast_accept, connect_timeout=0.05) as server:
        raw = await server.websocket()
        await raw.told_until_closed()
        assert server.sio.rejections == {"no_handshake": 1}
    async with bare(fast_accept, max_http_buffer_size=1000, per_address=1) as server:
        seen = server.sio.rejections
        for query, headers, *_ in REFUSED_UPGRADES:
            await server.ask("GET", query, **(UPGRADE | headers))
        assert seen == {"transport": 2, "version": 2, "request": 3, "session": 1, "origin": 3}
        await server.ask("POST", POLLING)
        raw = await server.websocket()
        await server.ask("GET", POLLING)
        assert (seen["method"], seen["per_address"]) == (1, 1)
        await raw.frame(CLOSE, b"\x03\xe8")
        await raw.is_closed()
        for sent in ("4" * 1001, "9", b"\x00"):
            raw = await server.websocket()
            await raw.text()
            await raw.say(sent)
            await raw.told_until_closed()
        assert (seen["payload_size"], seen["malformed"]) == (1, 2)
        for sent in ("9", "42"):
            await (await server.open()).post(sent)
        await until(lambda: seen["malformed"] == 4, HANG)
        session = await server.open()
        await session.post("4" * 1001)
        assert seen["payload_size"] == 2
        server.sio.eio.stopping = True
        server.sio.eio.addresses.clear()
        await server.ask("GET", POLLING)
        assert seen["stopping"] == 1
        assert set(seen) <= set(transport.REASONS)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has TCP_USER_TIMEOUT")
async def test_a_client_that_does_not_read_is_closed() -> None:
    async with bare(fast_accept=True, send_timeout_s=0.1) as server:
        before = server.resources()["files"]
        session = await server.open()
        await server.sio.eio.send(session.sid, "x" * 20_000_000)
        with socket.create_connection(("127.0.0.1", server.port)) as deaf:
            deaf.send(f"GET /socket.io/?{session.query} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            await until(lambda: server.sio.eio.sockets[session.sid].queue.empty(), HANG)
            await until(lambda: server.resources()["files"] == before + 1, HANG)  # only the client's socket is left


@BOTH_SERVERS
async def test_handlers_get_the_request_that_opened_the_session(fast_accept: bool) -> None:
    seen: list[Mapping[str, Any]] = []

    async def record(_sid: str, environ: Mapping[str, Any], _auth: object) -> None:
        seen.append(dict(environ))
        transport.forget_handshake(environ)
        seen.append(dict(environ))

    async with bare(fast_accept, on_connect=record) as server:
        raw = await server.websocket(Cookie="session=1")
        await raw.text()
        await raw.say("40")
        await raw.text()
        assert seen[0]["QUERY_STRING"] == WEBSOCKET
        assert seen[0]["PATH_INFO"] == "/socket.io/"
        assert seen[0]["HTTP_COOKIE"] == "session=1"
        assert seen[0]["REQUEST_METHOD"] == "GET"
        assert seen[0]["tornado.handler"].request.remote_ip == "127.0.0.1"
        assert seen[1] == {"REMOTE_ADDR": "127.0.0.1"}


async def test_the_configured_cookie_is_set() -> None:
    async with bare(cookie="io") as server:
        answer = await server.ask("GET", POLLING)
        sid = json.loads(answer.body[1:])["sid"]
        assert answer.headers["set-cookie"] == f"io={sid}; path=/; SameSite=Lax"


# Resource leaks


OTHER_COMBINATIONS = [(False, False), (False, True), (True, False)]
"""Combinations of `fast_accept` and `failing` for which the test of resource leaks uses fewer connections.

In `make faults`, the test uses the same number of connections for all combinations.
"""


async def connect_and_disconnect(server: Bare, number: int) -> None:
    match number % 8:
        case 0:
            raw = await server.joined()
            raw.close()
        case 1:
            raw = await server.websocket()
            raw.close()
        case 2:
            session = await server.open()
            await session.post("40")
            await session.post("1")
        case 3:
            session = await server.open()
            await session.post("40\x1e40/custom")
            await session.post("nonsense")
        case 4:
            raw = await (await server.open()).probe()
            await raw.say("2probe")
            await raw.text()
            await raw.say("5")
            await raw.say('40\x1e42["message"]')
            await raw.told_until_closed()
        case 5:
            session = await server.open()
            raw = await server.connect()
            head = f"POST /socket.io/?{session.query} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n40"
            await raw.send(head.encode())
            await until(lambda: server.sio.eio.sockets[session.sid].posting, HANG)
            raw.close()
        case 6:
            session = await server.open()
            raw = await server.connect()
            await raw.send_request("GET", session.query, b"", {})
            await wait_for_poll(server, session.sid)
            raw.close()
        case _:
            raw = await server.websocket()
            await raw.text()
            await raw.say("40/custom,")
            await raw.text()
            await raw.frame(CLOSE, b"\x03\xe8")
            assert await raw.is_closed()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fast_accept", "failing", "times"),
    [
        (True, True, TIMES),
        *[(fast_accept, failing, TIMES // 5) for fast_accept, failing in OTHER_COMBINATIONS],
        *[
            pytest.param(fast_accept, failing, 10 * TIMES, marks=pytest.mark.faults)
            for fast_accept, failing in [(True, True), *OTHER_COMBINATIONS]
        ],
    ],
)
async def test_many_connects_and_disconnects_leave_nothing_behind(fast_accept: bool, failing: bool, times: int) -> None:
    async with bare(fast_accept) as server:
        if failing:
            _let_handlers_fail(server.sio)
        before = server.resources()
        for start in range(0, times, 50):
            await asyncio.gather(*(connect_and_disconnect(server, number) for number in range(start, start + 50)))
        await server.settled(before)
        assert not server.sio.manager.pending_connect
        assert not server.sio.manager.pending_disconnect
        assert not server.sio._held_packets


def _let_handlers_fail(sio: transport.AsyncServer) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("a defect of the application")

    for event, namespace in [("disconnect", "/"), ("disconnect", "/custom"), ("connect", "/custom"), ("message", "/")]:
        sio.on(event, fail, namespace=namespace)


@pytest.mark.parametrize("packet", ["1", "41", "42", "4" * 2000], ids=["close", "disconnect", "malformed", "too large"])
async def test_a_closed_connection_is_freed_without_garbage_collection(packet: str) -> None:
    async with bare(fast_accept=True, max_http_buffer_size=1000, connect_timeout=0.5) as server:
        raw = await server.joined()
        (session,) = server.sio.eio.sockets.values()
        left = [weakref.ref(session), weakref.ref(session.websocket)]
        del session
        gc.disable()
        try:
            await raw.say(packet)
            await raw.hear()
            raw.close()
            await until(lambda: not any(reference() for reference in left), HANG)
        finally:
            gc.enable()


async def reset_a_websocket(server: Bare) -> None:
    raw = await server.joined()
    raw.reset()


async def cut_a_post(server: Bare) -> None:
    session, raw = await server.open(), await server.connect()
    await raw.send(f"POST /socket.io/?{session.query} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n4".encode())
    await until(lambda: server.sio.eio.sockets[session.sid].posting, HANG)
    raw.close()
    await session.post("1")


async def send_a_large_head(server: Bare) -> None:
    raw = await server.connect()
    await raw.send(b"GET /" + b"x" * 100_000)
    assert await raw.is_closed()


@pytest.mark.parametrize("fail", [reset_a_websocket, cut_a_post, send_a_large_head])
async def test_a_failed_connection_is_freed_without_garbage_collection(fail: Callable[[Bare], Awaitable[None]]) -> None:
    """The error that ended a connection must not keep the connection's buffers in memory."""

    def left() -> int:
        return sum(type(thing) in (IOStream, Session) for thing in gc.get_objects())

    async with bare(fast_accept=True) as server:
        gc.collect()
        gc.disable()
        try:
            before = left()
            await fail(server)
            await until(lambda: left() == before, HANG)
        finally:
            gc.enable()


async def test_a_disconnect_during_the_connect_handler_leaves_nothing() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def wait(*_: Any) -> None:
        entered.set()
        await leave.wait()

    async with bare(on_connect=wait) as server:
        before = server.resources()
        raw = await server.websocket()
        await raw.text()
        await raw.say("40")
        await entered.wait()
        raw.close()
        leave.set()
        await server.settled(before)


async def test_a_failing_disconnect_handler_still_removes_the_client(server: Bare) -> None:
    _let_handlers_fail(server.sio)
    raw = await server.joined()
    (sid,) = [sid for sid, _ in server.sio.manager.get_participants("/", None)]
    await server.sio.disconnect(sid)
    assert await raw.text() == "41"
    assert not list(server.sio.manager.get_participants("/", None))


@pytest.mark.parametrize("within_s", [HANG, pytest.param(1.0, marks=marks.TIMED_FAULTS)])
async def test_compression_bombs_and_oversized_posts_cost_no_memory(within_s: float) -> None:
    async with bare(max_http_buffer_size=65_536) as server:
        await server.ask("GET", POLLING)
        before = memory_bytes()
        bomb = zlib.compress(bytes(100_000_000))[2:-4]
        took: list[float] = []

        async def attack(number: int) -> Answer | bool:
            begun = time.monotonic()
            answer = await send(number)
            took.append(time.monotonic() - begun)
            return answer

        async def send(number: int) -> Answer | bool:
            if number % 2:
                raw = await server.websocket(**{"Sec-WebSocket-Extensions": "permessage-deflate"})
                await raw.frame(TEXT, bomb[:60_000], flags=0xC0)
                return await raw.is_closed()
            session = await server.open()
            raw = await server.connect()
            head = f"POST /socket.io/?{session.query} HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n"
            await raw.send(head.encode())
            return await raw.answer()

        for outcome in await asyncio.gather(*(attack(number) for number in range(100))):
            assert outcome is True or (isinstance(outcome, Answer) and outcome.status == 413)
        assert memory_bytes() - before < 20_000_000
        assert max(took) < within_s


@BOTH_SERVERS
async def test_a_post_may_reach_the_message_limit(fast_accept: bool) -> None:
    async with bare(fast_accept, max_http_buffer_size=3_000_000) as server:
        session = await server.open()
        assert (await session.post("40")).status == 200
        assert (await session.post('42["message","' + "x" * 2_000_000 + '"]')).status == 200
        assert (await session.post("4" * 3_000_001)).status == 413


@BOTH_SERVERS
async def test_an_oversized_chunked_post_is_refused_before_its_end(fast_accept: bool) -> None:
    async with bare(fast_accept, max_http_buffer_size=65_536) as server:
        session, raw = await server.open(), await server.connect()
        await raw.send(f"POST /socket.io/?{session.query} HTTP/1.1\r\nHost: h\r\n".encode())
        await raw.send(b"Transfer-Encoding: chunked\r\n\r\n")
        refused = asyncio.create_task(raw.answer())
        sent, chunk = 0, b"10000\r\n" + b"4" * 65_536 + b"\r\n"
        with suppress(ConnectionError):
            while not refused.done():
                await raw.send(chunk)
                sent += 65_536
                await asyncio.sleep(0)
        # If data is in flight when the server closes the connection, the answer may be discarded.
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            assert (await refused).status == 413
        assert await raw.is_closed()
        assert sent < 30_000_000  # most of the sent data is in buffers
        assert server.sio.rejections == {"payload_size": 1}
        assert (await session.post("40")).status == 200


def memory_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# Library internals


def test_the_installed_libraries_have_all_private_names() -> None:
    assert library_internals.missing_names(library_internals.HARDENED_SERVER) == []


async def test_missing_private_names_select_the_librarys_handler(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(library_internals, "HARDENED_SERVER", {asyncio.Queue.empty: {"_nothing_like_it"}})
    sio = transport.AsyncServer(async_mode="tornado")
    assert "_nothing_like_it" in caplog.text
    handler = transport.get_tornado_handler(sio)
    assert not issubclass(handler, Handler)


async def wait_for_poll(server: Bare, sid: str) -> None:
    """Wait until the session has a polling request that the server has not answered yet."""
    await until(lambda: server.sio.eio.sockets[sid].is_polled, HANG)
