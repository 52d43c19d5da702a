"""The server accepts a WebSocket by the first bytes of the request, even if they arrive in pieces.

It leaves other requests unread.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.bare_server import UPGRADE, Bare, Raw, bare, frame

QUERY = "EIO=4&transport=websocket"
FIELDS = {"Host": "here.example"} | UPGRADE


def head(line: str = f"GET /socket.io/?{QUERY} HTTP/1.1", fields: Mapping[str, str] = FIELDS) -> bytes:
    """Return the request line and the headers of an HTTP request, as bytes."""
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in fields.items()), "", ""]).encode()


async def opened(raw: Raw) -> str:
    """Return the session id that the server sends to a new WebSocket."""
    status, headers = await raw.head()
    assert (status, headers["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    text = await raw.text()
    return str(json.loads(text.removeprefix("0"))["sid"])


async def join(raw: Raw) -> None:
    """Connect to the namespace `/`. Check that the server's CONNECT packet and first event arrive."""
    await raw.say("40")
    assert (await raw.text()).startswith("40")
    assert "auth" in await raw.text()


@pytest.mark.parametrize("cut", [1, 4, 20, 60, len(head()) - 1])
async def test_a_request_head_may_arrive_in_pieces(cut: int) -> None:
    async with bare(fast_accept=True) as server:
        raw = await server.connect()
        await raw.send(head()[:cut])
        await _was_checked(server)  # the server has now seen only the first piece
        await raw.send(head()[cut:])
        assert await opened(raw) in server.sio.eio.sockets
        await join(raw)


async def test_a_client_may_connect_first_and_send_later() -> None:
    async with bare(fast_accept=True) as server:
        raw = await server.connect()
        await _was_checked(server)
        await raw.send(head())
        await opened(raw)
        await join(raw)


async def test_data_sent_with_the_request_head_is_not_lost() -> None:
    async with bare(fast_accept=True) as server:
        raw = await server.connect()
        await raw.send(head() + frame(1, "40"))
        await opened(raw)
        assert (await raw.text()).startswith("40")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (head("GET /socket.io/?EIO=4&transport=websocket HTTP/1.0"), 101),
        (head("get /socket.io/?EIO=4&transport=websocket HTTP/1.1"), 405),
        (head("GET /socket.io/?EIO=4&transport=websocket"), 400),
        (head("GET /socket.io/?EIO=4 &transport=websocket HTTP/1.1"), 400),
        (head("GET /socket.io/?EIO=4&transport=websocket HTTP/9.9"), 400),
        (head("GET /elsewhere?EIO=4&transport=websocket HTTP/1.1"), 404),
        (head().replace(b"Host:", b"Host"), 400),
        (head().replace(b"Upgrade: websocket", b"Upgrade: h2c"), 400),
        (head(fields={**FIELDS, "X-Much": "x" * 20_000}), 101),
        (b"\r\n" + head(), 101),
    ],
)
async def test_fast_acceptance_does_not_change_answers_to_unusual_requests(request_: bytes, status: int) -> None:
    answered = []
    for fast_accept in (False, True):
        async with bare(fast_accept) as server:
            raw = await server.connect()
            await raw.send(request_)
            answered.append((await raw.head())[0])
            raw.close()
    assert answered == [status, status]


async def test_a_client_refused_by_a_handler_is_answered_and_closed() -> None:
    async def refuse(_sid: str, _environ: Any) -> bool:
        return False

    async with bare(fast_accept=True) as server:
        server.sio.eio.on("connect", refuse)
        before = server.resources()
        raw = await server.connect()
        await raw.send(head())
        answer = await raw.answer()
        assert (answer.status, json.loads(answer.body)["code"]) == (401, 4)
        assert await raw.is_closed()
        await server.settled(before)


@pytest.mark.parametrize("cut", [0, 20], ids=["whole", "in pieces"])
async def test_an_exception_in_the_check_closes_and_logs_once(cut: int, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> bool:
        raise RuntimeError("as a defect would")

    async with bare(fast_accept=True, cors_allowed_origins=fail) as server:
        before = server.resources()
        raw = await server.connect()
        request = head(fields=FIELDS | {"Origin": "https://elsewhere.example"})
        await raw.send(request[:cut])
        await _was_checked(server)
        await raw.send(request[cut:])
        assert await raw.is_closed()
        await server.settled(before)
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


async def test_an_idle_connection_is_closed_after_the_request_timeout() -> None:
    async with bare(fast_accept=True, request_timeout_s=0.1) as server:
        before = server.resources()
        idle = [await server.connect() for _ in range(20)]
        for raw in idle:
            assert await raw.is_closed()
        assert server.sio.eio.rejections["slow"] == len(idle)
        await server.settled(before)


async def test_stopping_the_server_closes_idle_connections() -> None:
    async with bare(fast_accept=True) as server:
        raw = await server.connect()
        await _was_checked(server)
    assert await raw.is_closed()


async def _was_checked(server: Bare) -> None:
    # The server handles connections in order: when it answers this request, it has checked the earlier connections.
    await server.ask("OPTIONS", QUERY)
