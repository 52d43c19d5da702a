"""New connections: a websocket request is accepted before Tornado makes an HTTP connection of it.

What Tornado sets up to read requests one after the other was a fifth of the cost of a new websocket. So the first
request is peeked at in the socket's buffer, and read only if it asks for a websocket that we accept. All others, and
all that is not in the usual form, Tornado finds unread.
"""

import asyncio
import logging
import re
import socket
from collections import Counter
from typing import Any, Protocol

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
"""Of a request's head."""

_REQUEST_LINE = re.compile(r"GET [!-~]+ HTTP/1\.1")


class Admission(Protocol):
    """Decides which websocket requests are accepted."""

    handler: type[Handler] | None
    request_deadlines: Deadlines[Any]
    rejections: Counter[str]
    websocket_prefix: bytes

    def websocket_handler(self, connection: Any, line: RequestStartLine, headers: HTTPHeaders) -> Handler | None:
        """Return the handler of a websocket request; None for all others, and where it is rejected."""

    async def upgrade(self, handler: Handler, connection: Any) -> Any:
        """Make a websocket of a connection and return its protocol; None where the connect handler rejects it."""


class FastAcceptServer(HTTPServer):
    """Tornado's HTTP server, which accepts websockets the fast way."""

    admission: Admission
    unread: "Deadlines[AcceptedConnection]"
    """Connections that have sent nothing yet."""

    def set_admission(self, admission: Admission) -> None:
        """Set what decides on websocket requests."""
        self.admission = admission
        self.unread = Deadlines(admission.request_deadlines.timeout_s, self._close_slow)
        # Tornado's own timeout would make a timer and three futures for each request.
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
        """Have Tornado read requests from a connection."""
        super()._handle_connection(connection, address)

    def stop(self) -> None:
        """Accept no more connections, and close those that have sent nothing yet."""
        super().stop()
        for accepted in list(self.unread):
            accepted.close()
        self.unread.stop()


class AcceptedConnection:
    """A connection of which nothing has been read."""

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
        """The client's address and protocol, which Tornado holds in an object of its own."""
        return self

    def check(self) -> None:
        """Handle the request, now or as soon as it arrives. If that fails, the connection is closed."""
        try:
            self._check()
        except Exception:
            log.exception("a connection was closed: its request could not be handled")
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
        # Both in one task: another for what the client sends cost as much as reading its first message.
        protocol = await self._server.admission.upgrade(handler, self)
        if protocol is not None:
            await handler.receive(protocol)

    def detach(self) -> IOStream:
        """Return the stream of the connection, whose first request has been read."""
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
