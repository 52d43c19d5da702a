"""The HTTP server in front of the application: client addresses, time limits, and fast acceptance of websockets."""

import ipaddress
import re
import socket
from collections import Counter
from collections.abc import Awaitable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import tornado.web
from tornado import httputil
from tornado.iostream import StreamClosedError

from transport.deadlines import Deadlines
from transport.fast_accept import FastAcceptServer
from transport.handler import Handler
from transport.header_parser import parse_headers
from transport.requests import SLOW, UNAUTHORIZED, Request, is_upgrade

REQUEST_TIMEOUT_S = 10.0
"""How long the headers of a request may take to arrive, and then its body."""

MAX_PAGE_BODY_BYTES = 65_536
"""Limit for the body of a request for a page: it is held in memory until all of it has arrived, whoever sends it."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]

_WITH_PORT = re.compile(r"\[(.+)\](?::\d+)?|([\d.]+):\d+")


class ConnectionDelegate(httputil.HTTPServerConnectionDelegate):
    """Serves an application, whose `path` is served by `handler`.

    Websockets are accepted without the application, which would double the cost. The headers in which a proxy names the
    client are believed only from `trusted_proxies`, which are addresses or networks.
    """

    def __init__(
        self,
        application: tornado.web.Application,
        path: str,
        handler: type[Any],
        trusted_proxies: Collection[str] = (),
        request_timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        self.application = application
        self.path = path
        self.request_deadlines: Deadlines[Any] = Deadlines(
            request_timeout_s, lambda connection, _: self._close_slow(connection)
        )
        """Connections that we wait for: first for the headers of a request, then for its body."""
        self.websocket_prefix = f"GET {path}?".encode()
        """The first bytes of every websocket request."""
        self._prefix = f"{path}?"
        self.handler: type[Handler] | None = handler if issubclass(handler, Handler) else None
        self.rejections: Counter[str] = self.handler.engine.rejections if self.handler else Counter()
        self.trusted_proxies = parse_networks(trusted_proxies)

    def create_server(self, **options: Any) -> FastAcceptServer:
        """Return an HTTP server for the application; `options` are those of Tornado's `HTTPServer`."""
        server = FastAcceptServer(self, **options)
        server.set_admission(self)
        return server

    def websocket_handler(
        self, connection: Any, line: httputil.RequestStartLine, headers: httputil.HTTPHeaders
    ) -> Handler | None:
        """Return the handler of a websocket request; None for all others, and where it is rejected."""
        if self.handler is None or not line.path.startswith(self._prefix) or not is_upgrade(headers):
            return None
        if self.trusted_proxies:
            identify_client(connection.context, headers, self.trusted_proxies)
        request = Request(connection, line, headers)
        if not request.host or self.handler.rejection(request) is not None:
            return None
        return self.handler(self.application, request)

    async def upgrade(self, handler: Handler, connection: Any) -> Any:
        """Make a websocket of a connection and return its protocol; None, and closed, where it is rejected."""
        protocol = await handler.accept()
        if protocol is not None:
            return protocol
        self.rejections[UNAUTHORIZED.reason] += 1
        body = UNAUTHORIZED.body()
        head = f"HTTP/1.1 {UNAUTHORIZED.status} Unauthorized\r\nContent-Type: application/json\r\n"
        stream = connection.detach()
        with suppress(StreamClosedError):
            await stream.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        stream.close()
        return None

    def _close_slow(self, connection: Any) -> None:
        if not (connection.stream.closed() or getattr(connection.context, "is_idle", False)):
            self.rejections[SLOW] += 1
        connection.close()

    def start_request(self, server_conn: object, request_conn: Any) -> httputil.HTTPMessageDelegate:
        """See Tornado."""
        self.request_deadlines.add(request_conn)
        request_conn._parse_headers = parse_headers
        return _RequestDelegate(self, server_conn, request_conn)


class _RequestDelegate(httputil.HTTPMessageDelegate):
    def __init__(self, connection_delegate: ConnectionDelegate, server_connection: object, connection: Any) -> None:
        self._connection_delegate = connection_delegate
        self._server_connection = server_connection
        self._connection = connection
        self._application_delegate: httputil.HTTPMessageDelegate | None = None

    def headers_received(
        self, start_line: httputil.RequestStartLine | httputil.ResponseStartLine, headers: httputil.HTTPHeaders
    ) -> Awaitable[None] | None:
        connection_delegate = self._connection_delegate
        connection_delegate.request_deadlines.discard(self._connection)
        self._connection.context.is_idle = False
        if isinstance(start_line, httputil.RequestStartLine):
            handler = connection_delegate.websocket_handler(self._connection, start_line, headers)
            if handler is not None:
                return self._serve_websocket(handler)
            if start_line.path.partition("?")[0] != connection_delegate.path:
                self._connection.set_max_body_size(MAX_PAGE_BODY_BYTES)
        if connection_delegate.trusted_proxies:
            identify_client(self._connection.context, headers, connection_delegate.trusted_proxies)
        connection_delegate.request_deadlines.add(self._connection)
        self._application_delegate = connection_delegate.application.start_request(
            self._server_connection, self._connection
        )
        return self._application_delegate.headers_received(start_line, headers)

    async def _serve_websocket(self, handler: Handler) -> None:
        protocol = await self._connection_delegate.upgrade(handler, self._connection)
        if protocol is not None:
            # In a task of its own: this one would keep everything alive that the request was read with.
            handler.engine.run_in_background(handler.receive(protocol))

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._application_delegate.data_received(chunk) if self._application_delegate is not None else None

    def finish(self) -> None:
        self._connection_delegate.request_deadlines.discard(self._connection)
        self._connection.context.is_idle = True  # closing a browser's spare connection is no rejection
        if self._application_delegate is not None:
            self._application_delegate.finish()

    def on_connection_close(self) -> None:
        self._connection_delegate.request_deadlines.discard(self._connection)
        if self._application_delegate is not None:
            self._application_delegate.on_connection_close()


def set_send_timeout(sockets: Collection[socket.socket], timeout_s: float) -> None:
    """Have the kernel close connections that accept no data for so long, whoever sends it.

    It covers clients that request a page and do not read it, for which no code of ours waits. Only Linux supports it.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        for listening_socket in sockets:  # the connections that they accept inherit it
            listening_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(timeout_s * 1000))


def parse_networks(addresses: Collection[str]) -> Networks:
    """Return networks from texts that hold an address or a network each; raises ValueError."""
    return [ipaddress.ip_network(address) for address in addresses]


def identify_client(context: Any, headers: Mapping[str, str], trusted_proxies: Networks) -> None:
    """Set the client's address and protocol from the headers of a request, if a trusted proxy sent it.

    A proxy uses one connection for many clients, and each of them may send any header: of the addresses in
    X-Forwarded-For, the last that is not a proxy's counts. If an entry after it is no address, nothing before that
    entry can be believed, and the address of the proxy that added it counts.
    """
    peer = _address(context.address[0]) if isinstance(context.address, tuple) else None
    if peer is None or not _is_among(peer, trusted_proxies):
        return
    sender = peer
    for entry in reversed(headers.get("X-Forwarded-For", "").split(",")):
        forwarded = _address(entry.strip())
        if forwarded is None:
            break
        sender = forwarded
        if not _is_among(sender, trusted_proxies):
            break
    context.remote_ip = str(sender)
    scheme = headers.get("X-Forwarded-Proto", "").split(",")[-1].strip()
    context.protocol = scheme if scheme in ("http", "https") else "http"


def _address(text: str) -> Address | None:
    """Return the address, which may have a port: `192.0.2.7:5555`, `[2001:db8::7]:5555`; None otherwise."""
    with_port = _WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((with_port[1] or with_port[2]) if with_port else text)
    except ValueError:
        return None
    # A client must not have two addresses, not even where a proxy listens on IPv4 and IPv6 at once.
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address


def _is_among(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)
