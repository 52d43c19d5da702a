"""The server parses WebSocket frames (RFC 6455, section 5) and request headers from clients."""

import struct

import pytest
from tornado.httputil import HTTPHeaders, HTTPInputError

from tests.support.bare_server import BINARY, CLOSE, TEXT, Bare, Raw, bare, frame
from transport.header_parser import parse_headers

CONTINUATION, PING, PONG = 0x0, 0x9, 0xA
MORE = 0x00
"""Flags of a frame that is not the last frame of its message."""


async def listening(server: Bare) -> tuple[Raw, list[str | bytes]]:
    """Open a WebSocket.

    Return two things: the WebSocket, and the list in which the server collects received messages.
    """
    messages: list[str | bytes] = []
    server.sio.eio.on("message", lambda _, message: messages.append(message))
    raw = await server.websocket()
    await raw.text()
    return raw, messages


@pytest.mark.parametrize("piece", [1, 7, 10**6])
async def test_a_message_may_arrive_in_fragments_and_pieces(piece: int) -> None:
    text, data = "€" * 50, bytes(range(200))
    sent = (
        frame(TEXT, ("4" + text).encode()[:30], MORE)  # ends inside a character
        + frame(PING, "first")
        + frame(CONTINUATION, "", MORE)
        + frame(CONTINUATION, ("4" + text).encode()[30:])
        + frame(BINARY, data[:130], MORE)
        + frame(CONTINUATION, data[130:])
        + frame(TEXT, "4end")
        + frame(PING, "last")
    )
    async with bare() as server:
        raw, messages = await listening(server)
        for start in range(0, len(sent), piece):
            await raw.send(sent[start : start + piece])
        assert [await raw.hear(), await raw.hear()] == [(PONG, b"first"), (PONG, b"last")]
        assert messages == [text, data, "end"]


@pytest.mark.parametrize("size", [0, 1, 124, 125, 65_534, 65_535, 200_000])
async def test_a_message_may_have_any_size(size: int) -> None:
    async with bare() as server:
        raw, messages = await listening(server)
        await raw.send(frame(TEXT, "4" + "x" * size) + frame(BINARY, b"x" * size) + frame(PING, ""))
        assert await raw.hear() == (PONG, b"")
        assert messages == ["x" * size, b"x" * size]


BROKEN = {
    "not masked": b"\x81\x02\x00\x00\x00\x004a",
    "reserved bit": frame(TEXT, "4a", 0xC0),
    "unknown opcode": frame(0x3, "4a"),
    "unknown control opcode": frame(0xB, ""),
    "oversized pong": frame(PONG, "x" * 126),
    "fragmented ping": frame(PING, "x", MORE),
    "continuation without a start": frame(CONTINUATION, "4a"),
    "message inside a message": frame(TEXT, "4a", MORE) + frame(TEXT, "4a"),
    "text not in UTF-8": frame(TEXT, b"4\xff"),
    "close reason not in UTF-8": frame(CLOSE, b"\x03\xe8\xff"),
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
async def test_an_invalid_frame_closes_the_connection(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with bare() as server:
        raw, messages = await listening(server)
        await raw.send(sent + frame(TEXT, "4after"))
        assert await raw.is_closed()
        assert not messages
        assert not server.sio.eio.websockets
        assert not [record for record in caplog.records if record.exc_info]  # not a defect of the server


async def test_the_size_limit_also_applies_to_fragmented_messages() -> None:
    async with bare(max_http_buffer_size=1000) as server:
        raw, messages = await listening(server)
        await raw.send(frame(TEXT, "4" * 600, MORE) + frame(PING, "") + frame(CONTINUATION, "4" * 401))
        assert await raw.hear() == (PONG, b"")
        kind, content = await raw.hear()
        assert (kind, content[:2]) == (CLOSE, struct.pack("!H", 1009))
        assert await raw.is_closed()
        assert not messages


async def test_a_close_frame_is_answered_with_its_code() -> None:
    async with bare() as server:
        raw, _ = await listening(server)
        await raw.frame(CLOSE, struct.pack("!H", 4001) + b"bye")
        assert await raw.hear() == (CLOSE, struct.pack("!H", 4001))
        assert await raw.is_closed()


REQUESTS = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nuser-AGENT:  Mozilla/5.0 (X11)  \r\nEmpty: \r\n\r\n",
    b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\na: 3\r\n\r\n",
    b"GET / HTTP/1.1\r\nA:1\r\nB:\t2\t\r\nC: a\tb\r\nD: \xe9\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: 1\r\n folded: 2\r\n\r\n",
    b"GET / HTTP/1.1\r\nA : 1\r\n\r\n",
    b"GET / HTTP/1.1\r\n: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: 1\r2\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: \x7f\r\n\r\n",
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_headers_are_parsed_as_tornado_parses_them(request_: bytes) -> None:
    line, _, rest = request_.decode("latin1").lstrip("\r\n").partition("\n")
    try:
        expected = HTTPHeaders.parse(rest)
    except HTTPInputError:
        with pytest.raises(HTTPInputError):
            parse_headers(request_)
    else:
        parsed_line, headers = parse_headers(request_)
        assert (parsed_line, list(headers.get_all())) == (line.rstrip("\r"), list(expected.get_all()))
