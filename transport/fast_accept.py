"""Accepts websocket requests without Tornado's HTTP connection objects.

Tornado prepares each connection for several requests in a row. This preparation was a fifth of the cost of a new
websocket. Therefore the server peeks at the first request in the socket's buffer. It reads the request only if it is a
well-formed websocket request that the server accepts. Every other request stays in the buffer, and Tornado handles it.
"""

import asyncio
import logging
import re
import socket
from collections import Counter
from typing import Any, Protocol, cast

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPInputError, RequestStartLine
from tornado.iostream import IOStream

from transport.deadlines import Deadlines
from transport.handler import Handler
from transport.header_parser import parse_headers
from transport.requests import SLOW

log = logging.getLogger(__name__)

PEEK_FLAGS = socket.MSG_PEEK | socket.MSG_DONTWAIT
MAX_PEEKED_BYTES = 16_384
"""Maximum size in bytes of a request head (request line and headers) that the server peeks at."""

_REQUEST_LINE = re.compile(r"GET [!-~]+ HTTP/1\.1")


class Admission(Protocol):
    """Decides which websocket requests are accepted."""

    handler: type[Handler] | None
    request_deadlines: Deadlines[Any]
    rejections: Counter[str]
    websocket_prefix: bytes

    def websocket_handler(self, connection: Any, line: RequestStartLine, headers: HTTPHeaders) -> Handler | None:
        """Return a handler for the request if it is a websocket request that the server accepts, otherwise None."""

    def stop_time_limit(self, stream: IOStream) -> None:
        """Remove the deadline of a connection, if any."""

    async def upgrade(self, handler: Handler, connection: Any) -> Any:
        """Upgrade a connection to a websocket. Return the websocket protocol, or None if the client is rejected."""


class FastAcceptServer(HTTPServer):
    """Tornado's HTTP server, extended to accept websocket requests without Tornado's HTTP connection objects."""

    admission: Admission
    unread: "Deadlines[AcceptedConnection]"
    """The connections that have sent nothing yet, each with the deadline for its first data."""

    def set_admission(self, admission: Admission) -> None:
        """Set the object that decides which websocket requests are accepted."""
        self.admission = admission
        self.unread = Deadlines(admission.request_deadlines.timeout_s, self._close_slow)
        # Tornado's own time-out would create a timer and three futures for each request.
        self.conn_params.header_timeout = None

    def _close_slow(self, accepted: "AcceptedConnection", _: float) -> None:
        self.admission.rejections[SLOW] += 1
        accepted.close()

    def _handle_connection(self, connection: socket.socket, address: Any) -> None:
        if self.ssl_options is not None or self.admission.handler is None or not isinstance(address, tuple):
            self.hand_to_tornado(connection, address)
        else:
            AcceptedConnection(self, connection, address).check()

    def hand_to_tornado(self, connection: socket.socket, address: Any) -> None:
        """Let Tornado read the requests of a connection."""
        super()._handle_connection(connection, address)

    def on_close(self, server_conn: object) -> None:
        """Forget a connection that has ended. Tornado calls this method."""
        stream = cast(HTTP1ServerConnection, server_conn).stream
        self.admission.stop_time_limit(stream)
        stream.error = None  # see `Handler.receive`
        super().on_close(server_conn)

    def stop(self) -> None:
        """Stop accepting connections and close those that have sent nothing yet."""
        super().stop()
        for accepted in list(self.unread):
            accepted.close()
        self.unread.stop()


class AcceptedConnection:
    """An accepted connection from which nothing has been read yet."""

    __slots__ = ("_is_waiting", "_server", "_socket", "address", "protocol", "remote_ip")

    def __init__(self, server: FastAcceptServer, connection: socket.socket, address: tuple[Any, ...]) -> None:
        self.address = address
        self.remote_ip = address[0]
        self.protocol = "http"
        self._server = server
        self._socket = connection
        self._is_waiting = False

    @property
    def context(self) -> "AcceptedConnection":
        """This object itself. Callers read the client's address and protocol from the `context` of a connection."""
        return self

    def check(self) -> None:
        """Handle the first request, now or as soon as it arrives. If an error occurs, close the connection."""
        try:
            self._check()
        except Exception:
            log.exception("cannot handle the first request of a connection; the connection is closed")
            self.close()

    def _check(self) -> None:
        try:
            head = self._socket.recv(MAX_PEEKED_BYTES, PEEK_FLAGS)
        except BlockingIOError:
            self._wait()
            return
        except OSError:
            head = b""
        self._stop_waiting()
        handler = self._websocket_handler(head)
        if handler is None:
            self._server.hand_to_tornado(self._socket, self.address)
        else:
            handler.engine.run_in_background(self._serve(handler))

    def _websocket_handler(self, head: bytes) -> Handler | None:
        admission = self._server.admission
        end = head.find(b"\r\n\r\n") + 4
        if end < 4 or not head.startswith(admission.websocket_prefix):
            return None
        try:
            line, headers = parse_headers(head[:end])
        except HTTPInputError:
            return None
        if not _REQUEST_LINE.fullmatch(line):
            return None
        handler = admission.websocket_handler(self, RequestStartLine(*line.split(" ")), headers)
        if handler is not None:
            self._socket.recv(end)
        return handler

    async def _serve(self, handler: Handler) -> None:
        # Upgrade and receive in one task: a second task costs as much as reading the client's first message.
        protocol = await self._server.admission.upgrade(handler, self)
        if protocol is not None:
            await handler.receive(protocol)

    def detach(self) -> IOStream:
        """Return a stream of the socket. It starts after the first request, which has already been read."""
        return IOStream(self._socket)

    def close(self) -> None:
        """Close the connection."""
        self._stop_waiting()
        self._socket.close()

    def _wait(self) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            self._server.unread.add(self)
            asyncio.get_running_loop().add_reader(self._socket, self.check)

    def _stop_waiting(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._server.unread.discard(self)
            asyncio.get_running_loop().remove_reader(self._socket)
