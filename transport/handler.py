"""The request handler: polling, posts, and websockets."""

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import tornado.web
from engineio.packet import CLOSE, PONG, Packet
from tornado import httputil
from tornado.iostream import IOStream, StreamClosedError
from tornado.websocket import WebSocketHandler

from transport.engineio_packets import payload, read, read_payload
from transport.frames import BINARY, CONTINUATION, TEXT, Broken, Frames, TooLarge
from transport.requests import (
    BAD_METHOD,
    BAD_REQUEST,
    BAD_VERSION,
    FLOODING,
    FORBIDDEN,
    MALFORMED,
    STOPPING,
    TOO_LARGE,
    TOO_MANY,
    UNAUTHORIZED,
    UNKNOWN_SESSION,
    UNKNOWN_TRANSPORT,
    Refusal,
    Request,
    is_same_origin,
    is_upgrade,
)
from transport.sessions import Engine, Session

Asked = httputil.HTTPServerRequest | Request

log = logging.getLogger("transport")

_LENGTH = re.compile(r"[0-9]{1,15}")
MAX_DRAINED_BYTES = 1_048_576
"""Bytes up to which a body that is too large is read to its end: only so does every client hear why it is refused."""

CHUNK = 16_384
"""Bytes of a websocket that are read at a time."""
FRAME_WORK, PATIENT_WORK = 1024, 262_144
"""In bytes: what a frame counts besides its content, and how much one client may send before others have a turn."""


@tornado.web.stream_request_body
class Handler(WebSocketHandler):
    """Serves the requests of an `AsyncServer`. `get_tornado_handler` makes subclasses of it."""

    engine: Engine
    per_address: int | None
    session: Session | None = None
    _body: bytearray | None = None
    _arrived = 0
    """Bytes of the body so far."""

    # With these two the library's handler says that it is through with one message. Nothing waits here.
    receive_queue: "asyncio.Queue[Any]" = asyncio.Queue()

    def __init__(self, application: tornado.web.Application, request: Any, **options: Any) -> None:
        if isinstance(request, Request):
            # What else Tornado makes is for answers, and there will be none.
            self.application = application
            self.request = request  # type: ignore[assignment]
            self.ws_connection = self.close_code = self.close_reason = None
        else:
            super().__init__(application, request, **options)

    async def get_next_message(self) -> None:
        """Say that all messages so far have been dealt with."""

    @classmethod
    def refusal(cls, request: Asked) -> Refusal | None:
        """Return why a request cannot be served; None where it can."""
        query, headers = request.query_arguments, request.headers
        transport = query.get("transport")
        if transport not in ([b"polling"], [b"websocket"]) or transport[0].decode() not in cls.engine.transports:
            return UNKNOWN_TRANSPORT
        if not cls._allows(request):
            return FORBIDDEN
        websocket = transport == [b"websocket"]
        if websocket != is_upgrade(headers):
            return BAD_REQUEST
        if request.method == "OPTIONS":
            return None
        if websocket and (headers.get("Sec-WebSocket-Version") != "13" or not headers.get("Sec-WebSocket-Key")):
            return BAD_REQUEST
        return cls._refusal_within(request, websocket) if "sid" in query else cls._refusal_of_new(request)

    @classmethod
    def _refusal_of_new(cls, request: Asked) -> Refusal | None:
        if request.query_arguments.get("EIO") != [b"4"]:
            return BAD_VERSION
        if request.method != "GET":
            return BAD_METHOD
        if cls.engine.stopping:
            return STOPPING
        if cls.per_address is not None and cls.engine.addresses[request.remote_ip or ""] >= cls.per_address:
            return TOO_MANY
        return None

    @classmethod
    def _refusal_within(cls, request: Asked, websocket: bool) -> Refusal | None:
        """Return why a request cannot be served that names its session."""
        session = cls._named(request)
        if session is None or not session.connected:
            return UNKNOWN_SESSION
        # A second websocket of a session is no bad request: it is let in, and closed.
        if not cls.engine.allow_upgrades if websocket else session.upgraded:
            return BAD_REQUEST
        if request.method not in (("GET",) if websocket or session.closing else ("GET", "POST")):
            return BAD_REQUEST
        return None

    @classmethod
    def _named(cls, request: Asked) -> Session | None:
        sid = request.query_arguments.get("sid")
        return None if sid is None else cls.engine.find(sid[0].decode(errors="replace"))

    @classmethod
    def _allows(cls, request: Asked) -> bool:
        origin = request.headers.get("Origin")
        if origin is None or is_same_origin(origin, request.headers.get("Host")):
            return True
        if cls.engine.cors_allowed_origins is None:
            return False
        allowed = cls.engine._cors_allowed_origins({"HTTP_ORIGIN": origin, "HTTP_HOST": request.host})
        return allowed is None or origin in allowed

    @property
    def _drained(self) -> int:
        return max(MAX_DRAINED_BYTES, self.max_message_size)

    async def prepare(self) -> None:
        """Refuse what cannot be served, before its body is read."""
        refused = self.refusal(self.request)
        if refused is not None:
            self._refuse(refused)
            return
        self.session = self._named(self.request)
        if self.request.method != "POST" or self.session is None:
            return
        length = self.request.headers.get("Content-Length", "0")
        if not _LENGTH.fullmatch(length) or int(length) > self._drained:
            self._refuse(TOO_LARGE)
        elif self.session.posting:
            await self._break_off()
        else:
            self.session.posting = True
            self._body = bytearray()

    def data_received(self, chunk: bytes) -> None:
        """Take a part of a body; of one that is too large, no more than tells so."""
        body = self._body
        if body is None:
            return
        self._arrived += len(chunk)
        if len(body) <= self.engine.max_http_buffer_size:
            body += chunk
        elif self._arrived > self._drained and self.session is not None:  # in chunks, of which nobody said how many
            self._body, self.session.posting = None, False
            self._refuse(TOO_LARGE)

    def on_connection_close(self) -> None:
        """Wait no more for the rest of a body; the library's handler of websockets would, for ever."""
        super().on_connection_close()
        tornado.web.RequestHandler.on_connection_close(self)

    def _refuse(self, refusal: Refusal) -> None:
        self.engine.refusals[refusal.reason] += 1
        self._close_after(refusal)

    def _close_after(self, refusal: Refusal) -> None:
        # What follows on this connection may be the rest of a body: it must not be read as a request.
        connection: Any = self.request.connection
        self.session = None
        self.set_header("Connection", "close")
        self.set_status(refusal.status)
        self._answer("application/json", refusal.body()).add_done_callback(lambda _: connection.close())

    def _answer(self, content_type: str, body: bytes) -> "asyncio.Future[None]":
        self.set_header("Content-Type", content_type)
        self.set_header("Cache-Control", "no-store")
        for name, value in self._cors_headers():
            self.set_header(name, value)
        return self.finish(body)

    def _cors_headers(self) -> list[tuple[str, str]]:
        origin = self.request.headers.get("Origin")
        if origin is None or is_same_origin(origin, self.request.host) or not self._allows(self.request):
            return []
        environ = {"REQUEST_METHOD": self.request.method, "HTTP_ORIGIN": origin, "HTTP_HOST": self.request.host}
        asked = self.request.headers.get("Access-Control-Request-Headers")
        if asked is not None:
            environ["HTTP_ACCESS_CONTROL_REQUEST_HEADERS"] = asked
        found: list[tuple[str, str]] = self.engine._cors_headers(environ)
        return found

    async def get(self, *_arguments: Any, **_named: Any) -> None:
        """Upgrade to a websocket, begin a session, or wait for what there is to send."""
        if is_upgrade(self.request.headers):
            protocol = await self.accept()
            if protocol is None:
                self._refuse(UNAUTHORIZED)
            else:
                self.engine.start(self.receive(protocol))
            return
        if self.session is None:
            self.session = await self.engine.open(self)
            if self.session is None:
                self._refuse(UNAUTHORIZED)
                return
            self._set_cookie(self.session.sid)
            packets = [self.engine.greeting(self.session)]
        else:
            try:
                packets = await self.session.poll()
            except ValueError:
                await self._break_off()
                return
        self._answer("text/plain; charset=UTF-8", payload(packets))

    def _set_cookie(self, sid: str) -> None:
        cookie = self.engine.cookie
        if cookie:
            attributes = cookie if isinstance(cookie, dict) else {"name": cookie, "path": "/", "SameSite": "Lax"}
            self.set_header("Set-Cookie", self.engine._generate_sid_cookie(sid, attributes))

    async def post(self, *_arguments: Any, **_named: Any) -> None:
        """Take packets."""
        session, body, self._body = self.session, self._body, None
        if session is None or body is None:
            return
        session.posting = False
        if session.closing:  # since the request began, as when a client breaks off its poll and says goodbye
            self._refuse(UNKNOWN_SESSION)
            return
        if len(body) > self.engine.max_http_buffer_size:
            self._refuse(TOO_LARGE)
            return
        try:
            for packet in read_payload(body):
                if not session.admits():
                    await self._break_off(FLOODING)
                    return
                await session.receive(packet)
                if session.closing:
                    break
        except ValueError:
            await self._break_off()
            return
        if session.closing and packet.packet_type != CLOSE:
            self._close_after(BAD_REQUEST)  # counted where it was closed
        else:
            self._answer("text/plain; charset=UTF-8", b"ok")

    async def options(self, *_arguments: Any, **_named: Any) -> None:
        """Tell a browser what it may send."""
        self._answer("text/plain; charset=UTF-8", b"ok")

    async def _break_off(self, refusal: Refusal = MALFORMED) -> None:
        """Refuse a request that ends its session."""
        if self.session is not None:
            await self.session.close(abort=True, reason=self.engine.reason.TRANSPORT_ERROR)
        self._refuse(refusal)

    # From here on: websockets.

    async def accept(self) -> Any:
        """Upgrade a request that was not refused; return what `receive` needs, None where a handler refuses it.

        It may be closed before anything is received: then it is the handler's no more, yet the client's close, or
        the time for it, is still to come.
        """
        session = self._named(self.request)
        opened = session is None and "sid" not in self.request.query_arguments
        if opened:
            session = await self.engine.open(self)
        if session is None:
            return None
        protocol = self._switch(opened)
        if opened:
            self.session, session.websocket, session.upgraded = session, self, True
            await session.send(self.engine.greeting(session))
        elif session.upgraded or session.probing is not None or session.closing:
            self.close()
        else:
            self.session, session.probing = session, self
            self.engine.upgrades.add(session)
            self.forget_request()
        return protocol

    def _switch(self, more: bool) -> Any:
        """Answer that we switch protocols, and return the new one. With `more`, a message follows at once."""
        protocol: Any = self.get_websocket_protocol()
        connection: Any = self.request.connection
        proof = protocol.compute_accept_value(self.request.headers["Sec-WebSocket-Key"])
        protocol.stream = connection.detach()
        self._finished = True
        self.ws_connection = protocol
        self.engine.websockets.add(self)
        with suppress(StreamClosedError, OSError):  # reading takes note of it
            protocol.stream.set_nodelay(True)
            _answer(protocol.stream, _SWITCHED + proof.encode() + b"\r\n\r\n", more)
        return protocol

    async def receive(self, protocol: Any) -> None:
        """Take what the client sends, until the websocket is closed."""
        frames = Frames(self.max_message_size)
        work = 0
        try:
            while not protocol.client_terminated:
                work += await self._take_all(protocol, frames, await protocol.stream.read_bytes(CHUNK, partial=True))
                if work > PATIENT_WORK:
                    work = 0
                    if self._is_over:
                        protocol._abort()  # we have closed it, and it goes on as if we had not
                    await asyncio.sleep(0)
        except TooLarge:
            self.engine.refusals[TOO_LARGE.reason] += 1
            protocol.close(1009, "message too big")
        except Broken as error:
            self.engine.refusals[MALFORMED.reason] += 1
            log.debug("a websocket was closed: %s", error)
        except StreamClosedError as error:
            log.debug("a websocket was closed: %s", error)
        except Exception:
            log.exception("a message could not be taken")
        finally:
            protocol._abort()
            self.on_ws_connection_close(protocol.close_code, protocol.close_reason)

    # Not a part of the loop above, which would hold on to the last message until the next comes.
    async def _take_all(self, protocol: Any, frames: Frames, data: bytes) -> int:
        """Take what `data` completes; return how much work that was."""
        work = len(data)
        for kind, content in frames.read(data):
            work += FRAME_WORK
            session = self.session
            if session is not None and not self._is_over and not session.admits():
                await self._cut_off(session, protocol)
                break
            if kind in (TEXT, BINARY):
                handled = self.on_message(content)
                if handled is not None:
                    await handled
            elif kind != CONTINUATION:
                protocol._handle_message(kind, content)
            if protocol.client_terminated:
                break
        return work

    @property
    def _is_over(self) -> bool:
        """Whether the websocket is no session's, or not any more."""
        session = self.session
        return session is None or session.closing or (session.websocket is not self and session.probing is not self)

    def forget_request(self) -> None:
        """Let go of the request, but for what may still be asked for while the websocket is open."""
        if isinstance(self.request, Request):
            self.request.forget()

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Take a message of a websocket."""
        session = self.session
        if session is None or self._is_over:
            return None
        try:
            if session.websocket is not self:
                session.probe(message)
                return None
            packet = read(message)
        except ValueError as error:
            log.info("%s sent a malformed packet: %s", session.sid, error)
            return self._give_up()
        if packet.packet_type == PONG:
            self.engine.pong(session)
            return None
        return self._take(session, packet)

    async def _take(self, session: Session, packet: Packet) -> None:
        await session.receive(packet)
        if session.joined:
            await self.get_next_message()

    async def _cut_off(self, session: Session, protocol: Any) -> None:
        """Close it at once: the client's own close would come behind all that it sends."""
        self.engine.refusals[FLOODING.reason] += 1
        await session.close(abort=True, reason=self.engine.reason.TRANSPORT_ERROR)
        protocol._abort()

    async def _give_up(self) -> None:
        self.engine.refusals[MALFORMED.reason] += 1
        session = self.session
        if session is not None and session.websocket is self:
            await session.close(abort=True, reason=self.engine.reason.TRANSPORT_ERROR)
        elif session is not None:
            session.stop_probing()

    def on_ws_connection_close(self, close_code: int | None = None, close_reason: str | None = None) -> None:
        """See Tornado."""
        self.close_code, self.close_reason = close_code, close_reason
        self.ws_connection = None
        self.on_close()

    def on_close(self) -> None:
        """Take note that the client has left, or does not wait for an answer any more."""
        session, websocket = self.session, self in self.engine.websockets
        self.engine.websockets.discard(self)
        if session is None:
            return
        if not websocket:
            self.engine.start(session.close(abort=True, reason=self.engine.reason.TRANSPORT_ERROR))
        elif session.websocket is self:
            self.engine.start(session.close(abort=True, reason=self.engine.reason.TRANSPORT_CLOSE))
        elif session.probing is self:
            session.stop_probing()

    @property
    def max_message_size(self) -> int:
        """The bytes that a message may have."""
        return int(self.engine.max_http_buffer_size)

    def get_compression_options(self) -> None:
        """Compress nothing: it took twice the CPU and 200 kB more a connection, and made bombs of messages."""
        return


def _answer(stream: IOStream, head: bytes, more: bool) -> None:
    """Send the head of an answer, in one packet with what follows at once if there is `more`."""
    if more and type(stream) is IOStream and not stream.closed() and not stream.writing():
        head = head[stream.socket.send(head, socket.MSG_MORE) :]
    if head:
        stream.write(head)


_SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
