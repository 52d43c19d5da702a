"""The Engine.IO request handler for polling, POST requests and websockets."""

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import tornado.web
from engineio.packet import CLOSE, PONG, Packet
from tornado.iostream import IOStream, StreamClosedError
from tornado.websocket import WebSocketHandler

from transport.engineio_packets import decode_packet, decode_payload, encode_payload
from transport.frames import BINARY, CONTINUATION, TEXT, FrameReader, MessageTooLarge, ProtocolError
from transport.request_checks import RequestChecks
from transport.requests import (
    BAD_REQUEST,
    FLOODING,
    MALFORMED,
    STOPPING,
    TOO_LARGE,
    UNAUTHORIZED,
    UNKNOWN_SESSION,
    Rejection,
    Request,
    is_same_origin,
    is_upgrade,
)
from transport.sessions import Session

log = logging.getLogger(__name__)

_LENGTH = re.compile(r"[0-9]{1,15}")
MAX_DRAINED_BYTES = 1_048_576
"""If a request body is too large, the server still reads up to this number of bytes of it and discards them.

Some clients read the answer only after they have sent the whole body.
"""

CHUNK_BYTES = 16_384
"""Maximum number of bytes per read from a websocket."""
FRAME_WORK, MAX_WORK_PER_TURN = 1024, 262_144
"""The server counts the work for a frame as the size of the frame plus `FRAME_WORK`, in bytes.

After more than `MAX_WORK_PER_TURN` bytes of work for one client, other clients get a turn.
"""


@tornado.web.stream_request_body
class Handler(RequestChecks, WebSocketHandler):
    """Serves the HTTP requests and websockets of an `AsyncServer`.

    `get_tornado_handler` creates subclasses of this class.
    """

    session: Session | None = None
    _body: bytearray | None = None
    _received_bytes = 0
    """Number of bytes of the request body received so far."""

    # `DirectWriteHandler` in fanout.py reads `receive_queue` and overrides `get_next_message` to learn when every
    # message has been handled. The library's own handler has both, too. This handler queues no messages.
    receive_queue: "asyncio.Queue[Any]" = asyncio.Queue()

    def __init__(self, application: tornado.web.Application, request: Any, **options: Any) -> None:
        if isinstance(request, Request):
            # The rest of Tornado's setup is for HTTP responses. A websocket request has none.
            self.application = application
            self.request = request  # type: ignore[assignment]
            self.ws_connection = self.close_code = self.close_reason = None
        else:
            super().__init__(application, request, **options)

    async def get_next_message(self) -> None:
        """Do nothing. The handler calls this method after each message, and subclasses can override it."""

    @property
    def _max_drained_bytes(self) -> int:
        return max(MAX_DRAINED_BYTES, self.max_message_size)

    async def prepare(self) -> None:
        """Check the request before its body is read, and reject it if it cannot be served."""
        rejection = self.rejection(self.request)
        if rejection is not None:
            self._reject(rejection)
            return
        self.session = self._find_session(self.request)
        if self.request.method != "POST" or self.session is None:
            return
        length = self.request.headers.get("Content-Length", "0")
        if not _LENGTH.fullmatch(length) or int(length) > self._max_drained_bytes:
            self._reject(TOO_LARGE)
        elif self.session.posting:
            await self._reject_and_close()
        else:
            self.session.posting = True
            self._body = bytearray()

    def data_received(self, chunk: bytes) -> None:
        """Add a chunk to the request body. Do not store more than is needed to detect that the body is too large."""
        body = self._body
        if body is None:
            return
        self._received_bytes += len(chunk)
        if len(body) <= self.engine.max_http_buffer_size:
            body += chunk
        elif self._received_bytes > self._max_drained_bytes and self.session is not None:
            # The body is chunked, so its size was unknown until now.
            self._body, self.session.posting = None, False
            self._reject(TOO_LARGE)

    def on_connection_close(self) -> None:
        """Stop waiting for the rest of the request body when the connection is closed.

        Tornado's websocket handler would wait forever.
        """
        super().on_connection_close()
        tornado.web.RequestHandler.on_connection_close(self)
        body = self.request._body_future
        error = None if body.cancelled() else body.exception()
        if error is not None:
            # `_execute` receives this exception before the call. Then the exception's traceback leads back to this
            # handler, and would keep the handler and its session in memory until the next garbage collection.
            asyncio.get_running_loop().call_soon(error.with_traceback, None)

    def _reject(self, rejection: Rejection) -> None:
        self.engine.rejections[rejection.reason] += 1
        self._respond_and_close(rejection)

    def _respond_and_close(self, rejection: Rejection) -> None:
        # The next bytes on this connection may be the rest of a body. They must not be parsed as a request.
        connection: Any = self.request.connection
        self.session = None
        self.set_header("Connection", "close")
        self.set_status(rejection.status)
        self._respond("application/json", rejection.body()).add_done_callback(lambda _: connection.close())

    def _respond(self, content_type: str, body: bytes) -> "asyncio.Future[None]":
        self.set_header("Content-Type", content_type)
        self.set_header("Cache-Control", "no-store")
        for name, value in self._cors_headers():
            self.set_header(name, value)
        return self.finish(body)

    def _cors_headers(self) -> list[tuple[str, str]]:
        origin = self.request.headers.get("Origin")
        if origin is None or is_same_origin(origin, self.request.host) or not self._allows_origin(self.request):
            return []
        environ = {"REQUEST_METHOD": self.request.method, "HTTP_ORIGIN": origin, "HTTP_HOST": self.request.host}
        requested = self.request.headers.get("Access-Control-Request-Headers")
        if requested is not None:
            environ["HTTP_ACCESS_CONTROL_REQUEST_HEADERS"] = requested
        cors_headers: list[tuple[str, str]] = self.engine._cors_headers(environ)
        return cors_headers

    async def get(self, *_arguments: Any, **_named: Any) -> None:
        """Upgrade to a websocket, open a session, or answer a poll as soon as packets are waiting."""
        if is_upgrade(self.request.headers):
            protocol = await self.accept()
            if protocol is None:
                self._reject(UNAUTHORIZED)
            else:
                self.engine.run_in_background(self.receive(protocol))
            return
        if self.session is None:
            self.session = await self.engine.open(self)
            if self.session is None:
                self._reject(UNAUTHORIZED)
                return
            self._set_cookie(self.session.sid)
            packets = [self.engine.open_packet(self.session)]
        else:
            try:
                packets = await self.session.poll()
            except ValueError:
                await self._reject_and_close()
                return
            if not packets:
                self._respond_and_close(STOPPING if self.engine.stopping else UNKNOWN_SESSION)
                return
        self._respond("text/plain; charset=UTF-8", encode_payload(packets))

    def _set_cookie(self, sid: str) -> None:
        cookie = self.engine.cookie
        if cookie:
            attributes = cookie if isinstance(cookie, dict) else {"name": cookie, "path": "/", "SameSite": "Lax"}
            self.set_header("Set-Cookie", self.engine._generate_sid_cookie(sid, attributes))

    async def post(self, *_arguments: Any, **_named: Any) -> None:
        """Handle the packets in the body of a POST request."""
        session, body, self._body = self.session, self._body, None
        if session is None or body is None:
            return
        session.posting = False
        if session.closing:
            # It was closed after the request began, for example because the client also aborted its poll.
            self._reject(UNKNOWN_SESSION)
            return
        if len(body) > self.engine.max_http_buffer_size:
            self._reject(TOO_LARGE)
            return
        try:
            for packet in decode_payload(body):
                if not session.admits():
                    await self._reject_and_close(FLOODING)
                    return
                await session.receive(packet)
                if session.closing:
                    break
        except ValueError:
            await self._reject_and_close()
            return
        if session.closing and packet.packet_type != CLOSE:
            self._respond_and_close(BAD_REQUEST)  # the rejection was counted when the session was closed
        else:
            self._respond("text/plain; charset=UTF-8", b"ok")

    async def options(self, *_arguments: Any, **_named: Any) -> None:
        """Answer a CORS preflight request."""
        self._respond("text/plain; charset=UTF-8", b"ok")

    async def _reject_and_close(self, rejection: Rejection = MALFORMED) -> None:
        """Reject a request and close its Engine.IO session."""
        if self.session is not None:
            await self.session.close(abort=True, reason=self.engine.reason.TRANSPORT_ERROR)
        self._reject(rejection)

    # Websockets

    async def accept(self) -> Any:
        """Upgrade a request to a websocket. Return the websocket protocol object, which `receive` needs.

        Return None if the connect handler rejects the session or the session is unknown. If the session already has a
        websocket, close the new websocket at once. In this case, `receive` must still be called: it waits for the
        client's close frame or for Tornado's time-out.
        """
        session = self._find_session(self.request)
        is_new = session is None and "sid" not in self.request.query_arguments
        if is_new:
            session = await self.engine.open(self)
        if session is None:
            return None
        protocol = self._switch_protocols(is_new)
        if is_new:
            self.session, session.websocket, session.upgraded = session, self, True
            await session.send(self.engine.open_packet(session))
        elif session.upgraded or session.probing is not None or session.closing:
            self.close()
        else:
            self.session, session.probing = session, self
            self.engine.upgrades.add(session)
            self.forget_request()
        return protocol

    def _switch_protocols(self, more: bool) -> Any:
        """Send the 101 response and return the websocket protocol. If `more` is true, a message follows at once."""
        protocol: Any = self.get_websocket_protocol()
        connection: Any = self.request.connection
        accept_value = protocol.compute_accept_value(self.request.headers["Sec-WebSocket-Key"])
        protocol.stream = connection.detach()
        self._finished = True
        self.ws_connection = protocol
        self.engine.websockets.add(self)
        with suppress(StreamClosedError, OSError):  # the next read detects a closed connection
            protocol.stream.set_nodelay(True)
            _write_head(protocol.stream, _SWITCHING_PROTOCOLS + accept_value.encode() + b"\r\n\r\n", more)
        return protocol

    async def receive(self, protocol: Any) -> None:
        """Handle the client's messages until the websocket is closed."""
        frame_reader = FrameReader(self.max_message_size)
        work = 0
        try:
            while not protocol.client_terminated:
                work += await self._handle_data(
                    protocol, frame_reader, await protocol.stream.read_bytes(CHUNK_BYTES, partial=True)
                )
                if work > MAX_WORK_PER_TURN:
                    work = 0
                    if self._is_over:
                        protocol._abort()  # the server has closed the session, but the client keeps sending
                    await asyncio.sleep(0)
        except MessageTooLarge:
            self.engine.rejections[TOO_LARGE.reason] += 1
            protocol.close(1009, "message too big")
        except ProtocolError as error:
            self.engine.rejections[MALFORMED.reason] += 1
            log.debug("a websocket was closed: %s", error)
        except StreamClosedError as error:
            log.debug("a websocket was closed: %s", error)
        except Exception:
            log.exception("cannot handle a message of a websocket; the websocket is closed")
        finally:
            protocol._abort()
            # The traceback of the error that closed the stream leads back to the stream and to a buffer of 64 KiB. A
            # flood of reset connections would fill the memory with such cycles before the next garbage collection.
            protocol.stream.error = None
            self.on_ws_connection_close(protocol.close_code, protocol.close_reason)

    # This is a separate method because local variables of `receive` would keep a message alive until the next one.
    async def _handle_data(self, protocol: Any, frame_reader: FrameReader, data: bytes) -> int:
        """Handle the messages that are complete after the bytes `data` arrived. Return the work for them, in bytes."""
        work = len(data)
        for kind, content in frame_reader.read(data):
            work += FRAME_WORK
            session = self.session
            if session is not None and not self._is_over and not session.admits():
                await self._close_flooding(session, protocol)
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
    def is_sending(self) -> bool:
        """Whether the kernel has not accepted all messages of this websocket yet."""
        protocol: Any = self.ws_connection
        return protocol is not None and protocol.stream.writing()

    @property
    def _is_over(self) -> bool:
        """Whether this websocket is unused: no open session uses it or is being upgraded to it."""
        session = self.session
        return session is None or session.closing or (session.websocket is not self and session.probing is not self)

    def forget_request(self) -> None:
        """Release the parts of the request that are not needed while the websocket is open."""
        if isinstance(self.request, Request):
            self.request.forget()

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Handle a message from the websocket."""
        session = self.session
        if session is None or self._is_over:
            return None
        try:
            if session.websocket is not self:
                session.probe(message)
                return None
            packet = decode_packet(message)
        except ValueError as error:
            log.info("%s sent a malformed packet: %s", session.sid, error)
            return self._close_malformed()
        if packet.packet_type == PONG:
            self.engine.pong(session)
            return None
        return self._handle_packet(session, packet)

    async def _handle_packet(self, session: Session, packet: Packet) -> None:
        await session.receive(packet)
        if session.joined:
            await self.get_next_message()

    async def _close_flooding(self, session: Session, protocol: Any) -> None:
        """Close the session and the websocket of a client that sends too many packets, without a closing handshake.

        The client's close frame would arrive only after all the frames that the client has already sent.
        """
        self.engine.rejections[FLOODING.reason] += 1
        await session.close(abort=True, reason=self.engine.reason.TRANSPORT_ERROR)
        protocol._abort()

    async def _close_malformed(self) -> None:
        self.engine.rejections[MALFORMED.reason] += 1
        session = self.session
        if session is not None and session.websocket is self:
            await session.close(abort=True, reason=self.engine.reason.TRANSPORT_ERROR)
        elif session is not None:
            session.stop_probing()

    def on_ws_connection_close(self, close_code: int | None = None, close_reason: str | None = None) -> None:
        """Store why the websocket was closed, and call `on_close`."""
        self.close_code, self.close_reason = close_code, close_reason
        self.ws_connection = None
        self.on_close()

    def on_close(self) -> None:
        """Close the Engine.IO session whose websocket was closed, or whose poll or POST request was aborted.

        If only the new websocket of an upgrade was closed, cancel the upgrade and keep the session.
        """
        session, is_websocket = self.session, self in self.engine.websockets
        self.engine.websockets.discard(self)
        if session is None:
            return
        if not is_websocket:
            self.engine.run_in_background(session.close(abort=True, reason=self.engine.reason.TRANSPORT_ERROR))
        elif session.websocket is self:
            self.engine.run_in_background(session.close(abort=True, reason=self.engine.reason.TRANSPORT_CLOSE))
        elif session.probing is self:
            session.stop_probing()

    @property
    def max_message_size(self) -> int:
        """Maximum size of a message, in bytes."""
        return int(self.engine.max_http_buffer_size)

    def get_compression_options(self) -> None:
        """Disable compression.

        Compression took twice the CPU time and 200 kB more memory per connection, and allowed decompression bombs.
        """
        return


def _write_head(stream: IOStream, head: bytes, more: bool) -> None:
    """Send the head of a response.

    If `more` is true, let the kernel send the head and the next write in one TCP segment.
    """
    if more and type(stream) is IOStream and not stream.closed() and not stream.writing():
        head = head[stream.socket.send(head, socket.MSG_MORE) :]
    if head:
        stream.write(head)


_SWITCHING_PROTOCOLS = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)
