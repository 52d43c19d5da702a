"""A Socket.IO server that contains only the transport, and a client that sends raw bytes.

The server runs in the event loop of the test. It has two namespaces, `/` and `/custom`, as in the test suites of the
protocols. Each namespace sends the payload of the client's CONNECT back in the event `auth`. The namespace answers the
event `message` with the event `message-back` and the same arguments. It acknowledges the event `message-with-ack` with
the arguments of that event.
"""

import asyncio
import gc
import json
import os
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import tornado.httpserver
import tornado.netutil
import tornado.web

import transport
from tests.support.pem import believing_anybody, name_of
from tests.support.serving_inside import until

HANG = 60.0  # seconds; an operation that takes longer hangs
QUIET = 3600  # seconds; the ping interval is longer than any test, because a ping could hide a fault
SOON = 0.05
NAMESPACES = ("/", "/custom")
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
TEXT, BINARY, CLOSE = 1, 2, 8
MASK = b"\x12\x34\x56\x78"

Connected = Callable[[str, Mapping[str, Any], Any], Awaitable[None]]


@dataclass
class Bare:
    """A running server that contains only the transport."""

    sio: transport.AsyncServer
    port: int
    tls: ssl.SSLContext | None = None
    """TLS context for connections to the server. None means no TLS."""

    async def connect(self) -> "Raw":
        """Open a TCP connection to the server without sending anything."""
        return Raw(*await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls))

    async def ask(self, method: str, query: str, body: bytes | str = b"", **headers: str) -> "Answer":
        """Send an HTTP request on a new connection. Return the response."""
        raw = await self.connect()
        answer = await raw.ask(method, query, body, **headers)
        raw.close()
        return answer

    async def open(self) -> "Polling":
        """Open an Engine.IO session by long polling."""
        answer = await self.ask("GET", "EIO=4&transport=polling")
        assert answer.status == 200
        assert answer.body.startswith("0")
        return Polling(self, json.loads(answer.body[1:])["sid"])

    async def websocket(self, query: str = "EIO=4&transport=websocket", **headers: str) -> "Raw":
        """Open a websocket. Do not read any message from it."""
        raw = await self.connect()
        await raw.send_request("GET", query, b"", UPGRADE | headers)
        assert (await raw.head())[0] == 101
        return raw

    async def joined(self, packet: str = "40") -> "Raw":
        """Open a websocket, send the packet and wait until the server accepts it.

        The default packet is a CONNECT to the namespace `/`.
        """
        raw = await self.websocket()
        assert (await raw.text())[0] == "0"
        await raw.say(packet)
        assert (await raw.text()).startswith("40")
        assert "auth" in await raw.text()
        return raw

    def resources(self) -> dict[str, int]:
        """Count the resources that a connection could leak. Return the number in use of each kind of resource."""
        gc.collect()
        return {
            "sessions": len(self.sio.eio.sockets),
            "environs": len(self.sio.environ),
            "rooms": sum(map(len, self.sio.manager.rooms.values())),
            "websockets": len(self.sio.eio.websockets),
            "addresses": len(self.sio.eio.addresses),
            "tasks": len(asyncio.all_tasks()),
            "files": len(os.listdir("/proc/self/fd")),
        }

    async def settled(self, before: dict[str, int]) -> None:
        """Wait until `resources` returns the same numbers as in `before`."""
        await until(lambda: self.resources() == before, HANG)


@dataclass
class Answer:
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass
class Polling:
    """An Engine.IO session that uses long polling."""

    server: Bare
    sid: str

    @property
    def query(self) -> str:
        """Query string of the session's requests."""
        return f"EIO=4&transport=polling&sid={self.sid}"

    async def get(self) -> Answer:
        """Send a polling request (GET). Return the response."""
        return await self.server.ask("GET", self.query)

    async def post(self, body: bytes | str, **headers: str) -> Answer:
        """Send packets with a POST request. Return the response."""
        return await self.server.ask("POST", self.query, body, **headers)

    async def probe(self) -> "Raw":
        """Open a websocket with which this session can be upgraded."""
        return await self.server.websocket(f"EIO=4&transport=websocket&sid={self.sid}")


def frame(kind: int, message: str | bytes, flags: int = 0x80) -> bytes:
    """Return a websocket frame with a mask, as clients send it."""
    data = message.encode() if isinstance(message, str) else message
    size = len(data)
    if size > 65535:
        head = struct.pack("!BBQ", flags | kind, 0xFF, size)
    elif size > 125:
        head = struct.pack("!BBH", flags | kind, 0xFE, size)
    else:
        head = struct.pack("!BB", flags | kind, 0x80 | size)
    mask = int.from_bytes(MASK * (size // 4 + 1), "big") >> (8 * (4 - size % 4))
    return head + MASK + (int.from_bytes(data, "big") ^ mask).to_bytes(size, "big")


class Raw:
    """A TCP connection to the server, with methods for HTTP and websocket frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send these bytes."""
        self._writer.write(data)
        await self._writer.drain()

    async def send_request(self, method: str, query: str, body: bytes | str, headers: Mapping[str, str]) -> None:
        """Send an HTTP request."""
        content = body.encode() if isinstance(body, str) else body
        all_headers = {"Host": "here.example"} | dict(headers)
        if content:
            all_headers["Content-Length"] = str(len(content))
        lines = [f"{method} /socket.io/?{query} HTTP/1.1", *(f"{name}: {value}" for name, value in all_headers.items())]
        await self.send("\r\n".join([*lines, "", ""]).encode() + content)

    async def ask(self, method: str, query: str, body: bytes | str = b"", **headers: str) -> Answer:
        """Send an HTTP request. Return the response. Underscores in header names become hyphens."""
        await self.send_request(method, query, body, {name.replace("_", "-"): headers[name] for name in headers})
        return await self.answer()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read an HTTP response up to the end of the headers. Return the status and the headers."""
        async with asyncio.timeout(HANG):
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        pairs = (line.split(": ", 1) for line in lines)
        return int(first.split()[1]), {name.lower(): value for name, value in pairs}

    async def answer(self) -> Answer:
        """Read and return an HTTP response."""
        status, headers = await self.head()
        async with asyncio.timeout(HANG):
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(status, headers, body.decode())

    async def say(self, message: str | bytes) -> None:
        """Send a websocket message. A str is sent as a text message, and bytes are sent as a binary message."""
        await self.frame(TEXT if isinstance(message, str) else BINARY, message)

    async def frame(self, kind: int, message: str | bytes, flags: int = 0x80) -> None:
        """Send a websocket frame."""
        await self.send(frame(kind, message, flags))

    async def hear(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of the next frame. Raise `IncompleteReadError` at the end of the stream."""
        async with asyncio.timeout(HANG):
            kind, size = await self._reader.readexactly(2)
            if size == 126:
                size = struct.unpack("!H", await self._reader.readexactly(2))[0]
            return kind & 0x0F, await self._reader.readexactly(size)

    async def text(self) -> str:
        """Return the next message that is not an Engine.IO ping. Answer the pings that arrive before this message."""
        while True:
            kind, content = await self.hear()
            assert kind == TEXT
            if content != b"2":
                return content.decode()
            await self.say("3")

    async def told_until_closed(self) -> list[str]:
        """Return all messages until the server closes the websocket, then complete the closing handshake."""
        told = []
        while True:
            kind, content = await self.hear()
            if kind == CLOSE:
                break
            told.append(content.decode())
        await self.frame(CLOSE, content)
        await self.is_closed()
        return told

    @property
    def certificate(self) -> str:
        """Common name of the server's certificate."""
        return name_of(self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True))

    async def is_closed(self) -> bool:
        """Wait until the server closes the connection, then return True.

        Raise `TimeoutError` if the server does not close the connection in time.
        """
        async with asyncio.timeout(HANG):
            try:
                while await self._reader.read(65536):
                    pass
            except ConnectionError:
                pass
        self.close()
        return True

    def close(self) -> None:
        """Close the TCP connection without sending a websocket close frame."""
        self._writer.close()

    def reset(self) -> None:
        """Abort the TCP connection: the server's next read fails."""
        self._writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


@asynccontextmanager
async def bare(
    fast_accept: bool = False,
    on_connect: Connected | None = None,
    certificate: transport.Certificate | None = None,
    **options: Any,
) -> AsyncIterator[Bare]:
    """Run the server during the block.

    If `fast_accept` is true or a certificate is given, the server uses a `transport.ConnectionDelegate`.
    """
    limits = {name: options.pop(name) for name in ("per_address",) if name in options}
    send_timeout_s = options.pop("send_timeout_s", None)
    delegate_options = {
        name: options.pop(name) for name in ("trusted_proxies", "request_timeout_s", "keep_alive_s") if name in options
    }
    times = {"ping_interval": QUIET, "ping_timeout": QUIET, "connect_timeout": QUIET}
    sio = transport.AsyncServer(async_mode="tornado", namespaces=list(NAMESPACES), **(times | options))
    sio.eio.closing_sessions.timeout_s = SOON
    for namespace in NAMESPACES:
        _serve(sio, namespace, on_connect)
    handler = transport.get_tornado_handler(sio, **limits)
    application = tornado.web.Application([(r"/socket\.io/", handler)])
    context = certificate.context if certificate else None
    server: tornado.httpserver.HTTPServer
    if fast_accept or certificate:
        delegate = transport.ConnectionDelegate(application, "/socket.io/", handler, **delegate_options)
        server = delegate.create_server(ssl_options=context)
    else:
        server = tornado.httpserver.HTTPServer(application)
    (socket,) = tornado.netutil.bind_sockets(0, "127.0.0.1")
    if send_timeout_s is not None:
        transport.set_send_timeout([socket], send_timeout_s)
    server.add_sockets([socket])
    reloading = asyncio.create_task(certificate.keep_current(server)) if certificate else None
    try:
        yield Bare(sio, socket.getsockname()[1], believing_anybody() if certificate else None)
    finally:
        if reloading:
            reloading.cancel()
        server.stop()
        await transport.close_all(sio, 0.0)
        await sio.shutdown()
        await server.close_all_connections()


def _serve(sio: transport.AsyncServer, namespace: str, on_connect: Connected | None) -> None:
    async def connect(sid: str, environ: Mapping[str, Any], auth: Any = None) -> None:
        if on_connect is not None:
            await on_connect(sid, environ, auth)
        await sio.emit("auth", auth or {}, to=sid, namespace=namespace)

    async def message(sid: str, *arguments: Any) -> None:
        await sio.emit("message-back", arguments, to=sid, namespace=namespace)

    async def message_with_ack(_sid: str, *arguments: Any) -> tuple[Any, ...]:
        return arguments

    sio.on("connect", connect, namespace=namespace)
    sio.on("message", message, namespace=namespace)
    sio.on("message-with-ack", message_with_ack, namespace=namespace)
