"""Connections that have just come: a websocket is let in before an HTTP connection is made of it.

What Tornado makes to read requests from a connection, one after the other, cost a fifth of what a websocket did to
come. So the first request is looked at where it lies, and taken only if it asks for a websocket that we let in: all
others, and all that is not as nearly all send it, Tornado finds untouched.
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

log = logging.getLogger("transport")

LOOK = socket.MSG_PEEK | socket.MSG_DONTWAIT
MOST = 16_384
"""Bytes of a head that are looked at."""

_LINE = re.compile(r"GET [!-~]+ HTTP/1\.1")


class Admission(Protocol):
    """What decides who is let in."""

    handler: type[Handler] | None
    slow: Deadlines[Any]
    refusals: Counter[str]
    beginning: bytes

    def admit(self, connection: Any, line: RequestStartLine, headers: HTTPHeaders) -> Handler | None:
        """Return the handler of a request for a websocket; None for all others, and where it is refused."""

    async def let_in(self, handler: Handler, connection: Any) -> Any:
        """Make a websocket of a connection, and return what is received by; None where it is refused after all."""


class Server(HTTPServer):
    """Tornado's HTTP server with a `door` before it."""

    door: Admission
    silent: "Deadlines[Arrival]"
    """Who has not said anything yet."""

    def begin(self, door: Admission) -> None:
        """Put the door before it."""
        self.door = door
        self.silent = Deadlines(door.slow.patience_s, self._turn_away)
        # It would make a timer and three futures for each request.
        self.conn_params.header_timeout = None

    def _turn_away(self, arrival: "Arrival", _: float) -> None:
        self.door.refusals[SLOW] += 1
        arrival.close()

    def _handle_connection(self, connection: socket.socket, address: Any) -> None:
        if self.ssl_options is not None or self.door.handler is None or not isinstance(address, tuple):
            self.take(connection, address)
        else:
            Arrival(self, connection, address).look()

    def take(self, connection: socket.socket, address: Any) -> None:
        """Read requests from a connection, Tornado's way."""
        super()._handle_connection(connection, address)

    def stop(self) -> None:
        """Let nobody in any more."""
        super().stop()
        for arrival in list(self.silent):
            arrival.close()
        self.silent.stop()


class Arrival:
    """A connection of which nothing has been read."""

    __slots__ = ("_is_awaited", "_server", "_socket", "address", "protocol", "remote_ip")

    def __init__(self, server: Server, connection: socket.socket, address: tuple[Any, ...]) -> None:
        self.address = address
        self.remote_ip = address[0]
        self.protocol = "http"
        self._server = server
        self._socket = connection
        self._is_awaited = False

    @property
    def context(self) -> "Arrival":
        """Who asks, and how: what Tornado keeps in an object of its own."""
        return self

    def look(self) -> None:
        """See what is asked; if nothing has come yet, when it has. Where that fails, the connection is closed."""
        try:
            self._look()
        except Exception:
            log.exception("a connection was closed: what it asked could not be looked at")
            self.close()

    def _look(self) -> None:
        try:
            head = self._socket.recv(MOST, LOOK)
        except BlockingIOError:
            self._wait()
            return
        except OSError:
            head = b""
        self._stop_waiting()
        handler = self._admit(head)
        if handler is None:
            self._server.take(self._socket, self.address)
        else:
            handler.engine.start(self._let_in(handler))

    def _admit(self, head: bytes) -> Handler | None:
        door = self._server.door
        end = head.find(b"\r\n\r\n") + 4
        if end < 4 or not head.startswith(door.beginning):
            return None
        try:
            line, headers = parse_headers(head[:end])
        except HTTPInputError:
            return None
        if not _LINE.fullmatch(line):
            return None
        handler = door.admit(self, RequestStartLine(*line.split(" ")), headers)
        if handler is not None:
            self._socket.recv(end)
        return handler

    async def _let_in(self, handler: Handler) -> None:
        # Both in one task: another for what the client sends cost as much as reading its first message.
        protocol = await self._server.door.let_in(handler, self)
        if protocol is not None:
            await handler.receive(protocol)

    def detach(self) -> IOStream:
        """Return the stream of the connection, whose first request has been taken."""
        return IOStream(self._socket)

    def close(self) -> None:
        """Close it."""
        self._stop_waiting()
        self._socket.close()

    def _wait(self) -> None:
        if not self._is_awaited:
            self._is_awaited = True
            self._server.silent.add(self)
            asyncio.get_running_loop().add_reader(self._socket, self.look)

    def _stop_waiting(self) -> None:
        if self._is_awaited:
            self._is_awaited = False
            self._server.silent.discard(self)
            asyncio.get_running_loop().remove_reader(self._socket)
