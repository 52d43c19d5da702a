"""Before the application: who asks, and the short way for websockets."""

import ipaddress
from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Any

import tornado.web
from tornado import httputil
from tornado.httpserver import HTTPServer

from engine.deadlines import Deadlines
from engine.handler import Handler
from engine.headers import parse_headers
from engine.requests import UNAUTHORIZED, Request, is_upgrade

SLOW_S = 10.0
"""How long the headers of a request may take to arrive, and its body."""

Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]


class Door(httputil.HTTPServerConnectionDelegate):
    """Stands before an application, whose `path` is served by `handler`.

    Websockets are let in without the application, whose way with a request costs as much again. What a request says
    of where it came from is believed of the `trusted_proxies`, addresses or networks, alone.
    """

    def __init__(
        self,
        application: tornado.web.Application,
        path: str,
        handler: type[Any],
        trusted_proxies: Collection[str] = (),
        slow_s: float = SLOW_S,
    ) -> None:
        self.application = application
        self._slow_s = slow_s
        self.silent: Deadlines[Any] = Deadlines(slow_s, lambda connection, _: connection.close())
        self.prefix = f"{path}?"
        self.handler: type[Handler] | None = handler if issubclass(handler, Handler) else None
        self.trusted = networks(trusted_proxies)

    def server(self, **options: Any) -> HTTPServer:
        """Return an HTTP server before which the door stands; takes what Tornado's does."""
        server = HTTPServer(self, body_timeout=self._slow_s, **options)
        # It would make a timer and three futures for each request.
        server.conn_params.header_timeout = None
        return server

    def start_request(self, server_conn: object, request_conn: Any) -> httputil.HTTPMessageDelegate:
        """See Tornado."""
        self.silent.add(request_conn)
        request_conn._parse_headers = parse_headers
        return _Visitor(self, server_conn, request_conn)


class _Visitor(httputil.HTTPMessageDelegate):
    def __init__(self, door: Door, server_connection: object, connection: Any) -> None:
        self._door = door
        self._server_connection = server_connection
        self._connection = connection
        self._delegate: httputil.HTTPMessageDelegate | None = None

    def headers_received(
        self, start_line: httputil.RequestStartLine | httputil.ResponseStartLine, headers: httputil.HTTPHeaders
    ) -> Awaitable[None] | None:
        door = self._door
        door.silent.discard(self._connection)
        if door.trusted:
            identify(self._connection.context, headers, door.trusted)
        if (
            door.handler is not None
            and isinstance(start_line, httputil.RequestStartLine)
            and start_line.path.startswith(door.prefix)
            and is_upgrade(headers)
        ):
            request = Request(self._connection, start_line, headers)
            if request.host and door.handler.refusal(request) is None:
                return self._let_in(door.handler(door.application, request))
        self._delegate = door.application.start_request(self._server_connection, self._connection)
        return self._delegate.headers_received(start_line, headers)

    async def _let_in(self, handler: Handler) -> None:
        if not await handler.accept():
            body = UNAUTHORIZED.body()
            headers = httputil.HTTPHeaders({"Content-Type": "application/json", "Content-Length": str(len(body))})
            line = httputil.ResponseStartLine("HTTP/1.1", UNAUTHORIZED.status, "Unauthorized")
            self._connection.write_headers(line, headers, body)
            self._connection.finish()

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._delegate.data_received(chunk) if self._delegate is not None else None

    def finish(self) -> None:
        if self._delegate is not None:
            self._delegate.finish()

    def on_connection_close(self) -> None:
        if self._delegate is not None:
            self._delegate.on_connection_close()


def networks(addresses: Collection[str]) -> Networks:
    """Return the networks that these addresses or networks are; raises ValueError."""
    return [ipaddress.ip_network(address) for address in addresses]


def identify(context: Any, headers: Mapping[str, str], trusted: Networks) -> None:
    """Take from the headers of a request who sent it and how, as far as the connection is that of a trusted proxy.

    A proxy uses one connection for many clients, each of whom may say anything: of the addresses in X-Forwarded-For,
    the last that is not a proxy's counts.
    """
    peer = context.address[0] if isinstance(context.address, tuple) else None
    if peer is None or not _is_among(peer, trusted):
        return
    passed = [part.strip() for part in headers.get("X-Forwarded-For", "").split(",")]
    context.remote_ip = next(
        (one for one in reversed(passed) if _is_address(one) and not _is_among(one, trusted)), peer
    )
    scheme = headers.get("X-Forwarded-Proto", "").split(",")[-1].strip()
    context.protocol = scheme if scheme in ("http", "https") else "http"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_among(address: str, trusted: Networks) -> bool:
    found = ipaddress.ip_address(address)
    return any(found in network for network in trusted)
