"""python-socketio's Tornado transport, hardened. It stands under any Socket.IO server and knows nothing of warehouses.

So far: messages are not compressed, payloads that cannot be decoded still reach the server as what they are, names
that came over the wire cannot be taken for the library's own `connect` and `disconnect`, bodies over the limit are
refused with 413 before they are read, who sends malformed packets is closed, nothing is kept of who left while being
let in, and at the end everybody is told.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import socketio
import tornado.web
from engineio.packet import CLOSE
from engineio.packet import Packet as EnginePacket
from engineio.payload import Payload
from socketio.packet import BINARY_EVENT, EVENT, Packet

# Engine.IO takes no more than 16 packets in one body, and loses the rest; `max_payload` bounds the body already.
Payload.max_decode_packets = 65_536


log = logging.getLogger("transport")


class EventName(str):
    """The name of an event that a client sent. The library's own events are plain strings."""

    __slots__ = ()


class Unreadable(msgspec.Struct, frozen=True):
    """A payload that is JSON, yet cannot be held: nested too deeply, a number too large, half a character."""


UNREADABLE: Final = Unreadable()

_EVENT_NAME = re.compile(r'\[\s*("(?:[^"\\]|\\.)*")')


class Json:
    """The JSON of all packets: fast, with dates, and NaN as null (with the standard module one NaN ends every page)."""

    @staticmethod
    def dumps(data: object, **_: object) -> str:
        """Return `data` as JSON."""
        return msgspec.json.encode(data).decode()

    @staticmethod
    def loads(text: str) -> Any:
        """Return what `text` holds; of an event that cannot be held, its name and `UNREADABLE`."""
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            name = _EVENT_NAME.match(text)
            if name is None:
                raise ValueError("malformed payload") from None
            return [json.loads(name[1]).encode(errors="replace").decode(), UNREADABLE]


class HardenedPacket(Packet):  # type: ignore[misc]
    """A Socket.IO packet as this transport reads and writes it."""

    # We send nothing binary; looking for it in every message was 38 of the 63 us that encoding one took.
    uses_binary_events = False
    json = Json

    def decode(self, encoded_packet: str) -> int:
        """Read the packet, marking an event's name as one that came over the wire."""
        attachments: int = super().decode(encoded_packet) or 0
        if self.packet_type in (EVENT, BINARY_EVENT):
            if not isinstance(self.data, list) or not self.data or not isinstance(self.data[0], (str, int)):
                raise ValueError("an event without a name")
            self.data[0] = EventName(self.data[0])
        return attachments

    @classmethod
    def reconstruct_binary(cls, data: Any, attachments: list[bytes]) -> Any:
        """Leave the placeholders where they are: no question takes anything binary, and the walk is recursive."""
        return data


class Server(socketio.AsyncServer):  # type: ignore[misc]
    """A Socket.IO server that keeps nothing of a client that left while it was being let in, or before."""

    stopping = False
    """Nobody new is let in, while those who are here are told that we go."""

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        try:
            await super()._handle_eio_message(eio_sid, data)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            # Nothing that a client of ours would send, and no defect of ours.
            log.info("%s sent a malformed packet: %s", eio_sid, error)
            if eio_sid in self.eio.sockets:
                await close(self.eio.sockets[eio_sid], self.reason.TRANSPORT_ERROR)

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        if eio_sid not in self.environ:
            return
        await super()._handle_connect(eio_sid, namespace, data)
        # Until now the library did not know whose leaving that was.
        if eio_sid not in self.environ:
            await self._handle_disconnect(eio_sid, namespace, self.reason.TRANSPORT_CLOSE)


def is_same_origin(origin: str, host: str | None) -> bool:
    """Return whether a page of `origin` came from us, who were called by `host`."""
    return urlsplit(origin).netloc.lower() == (host or "").lower()


def get_tornado_handler(
    server: socketio.AsyncServer, max_payload: int, allowed_origins: Sequence[str] = ()
) -> type[tornado.web.RequestHandler]:
    """Return the request handler of `server`.

    Bodies over `max_payload` bytes are refused, and so are websockets of pages that are neither of our own origin nor
    of the `allowed_origins`.
    """
    base: Any = socketio.get_tornado_handler(server)

    @tornado.web.stream_request_body
    class Handler(base):  # type: ignore[misc]
        def prepare(self) -> None:
            self._body = bytearray()
            if getattr(server, "stopping", False) and self.get_query_argument("sid", None) is None:
                self.set_status(503)
                self.finish()
                return
            length = self.request.headers.get("Content-Length", "0")
            if not length.isdigit() or int(length) > max_payload:
                self._refuse_body()

        def data_received(self, chunk: bytes) -> None:
            self._body += chunk
            if len(self._body) > max_payload and not self._finished:
                self._refuse_body()

        async def post(self, *args: Any, **kwargs: Any) -> None:
            self.request.body = bytes(self._body)
            await super().post(*args, **kwargs)

        def _refuse_body(self) -> None:
            # What follows on this connection is the rest of the body: it must not be read as a request.
            self.set_header("Connection", "close")
            self.set_status(413)
            self.finish()

        def check_origin(self, origin: str) -> bool:
            return is_same_origin(origin, self.request.headers.get("Host")) or origin in allowed_origins

        def get_compression_options(self) -> None:
            # Compressing each message for each socket was twice the CPU and 200 kB more a connection.
            return None

    return Handler


def remote_address(environ: dict[str, Any]) -> str:
    """Return the address of the client; `REMOTE_ADDR` is always 127.0.0.1 here."""
    return str(environ["tornado.handler"].request.remote_ip)


def forget_handshake(environ: dict[str, Any]) -> None:
    """Let go of what the library keeps of a connection's first request, but for the handler: 3 kB of headers each."""
    handler = environ["tornado.handler"]
    environ.clear()
    environ["tornado.handler"] = handler


async def close_all(server: socketio.AsyncServer, patience_s: float) -> None:
    """Let nobody new in, say goodbye to every client, and wait for them to go, at most `patience_s` seconds.

    They are closed by Engine.IO: a Socket.IO disconnect would tell browsers not to come back by themselves.
    """
    server.stopping = True
    sockets = server.eio.sockets
    for one in list(sockets.values()):
        if one.upgraded:
            await close(one, server.reason.SERVER_DISCONNECT)
        else:
            # Closed now, the session would be unknown to the poll that is just on its way, and the goodbye with it.
            await one.queue.put(EnginePacket(CLOSE))
    end = time.monotonic() + patience_s
    while sockets and time.monotonic() < end:
        await asyncio.sleep(0.02)  # the library tells nobody when they go
        for sid, one in [(sid, one) for sid, one in sockets.items() if not one.upgraded and one.queue.empty()]:
            await one.close(wait=False, abort=True, reason=server.reason.SERVER_DISCONNECT)
            sockets.pop(sid, None)


async def close(socket: Any, reason: str) -> None:
    """Close one Engine.IO connection."""
    await socket.close(wait=False, reason=reason)
    # The end of what is to be sent: now the websocket is closed, which is all that a browser's takes note of.
    await socket.queue.put(None)


async def watch(server: socketio.AsyncServer, pause_s: float) -> None:
    """Drop clients that do not answer pings any more, until cancelled; takes the place of `monitor_clients`."""
    while True:
        await asyncio.sleep(pause_s)
        now = time.time()
        for sid, one in list(server.eio.sockets.items()):
            if one.closed:
                server.eio.sockets.pop(sid, None)
            elif one.last_ping and not one.closing and now - one.last_ping > server.eio.ping_timeout:
                await one.check_ping_timeout()
