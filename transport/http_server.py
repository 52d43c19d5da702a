"""The HTTP server of the application: client addresses, time limits, and fast acceptance of websockets."""

import ipaddress
import re
import socket
from collections import Counter
from collections.abc import Awaitable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import tornado.web
from tornado import httputil
from tornado.iostream import IOStream, StreamClosedError

from transport.deadlines import Deadlines
from transport.fast_accept import FastAcceptServer
from transport.handler import Handler
from transport.header_parser import parse_headers
from transport.requests import SLOW, UNAUTHORIZED, Request, is_upgrade

REQUEST_TIMEOUT_S = 10.0
"""Time limit in seconds for receiving the headers of an HTTP request. The same limit applies again to its body."""

KEEP_ALIVE_S = 75.0
"""Time limit in seconds for the next request on a connection that has already served a request.

It must be longer than the ping interval. Otherwise the server closes the connection at the moment at which a client
that uses long polling answers a ping on it, and the client loses its Socket.IO connection. It is also longer than 60 s,
for which many proxies keep an idle connection, so that the proxy closes the connection first.
"""

MAX_PAGE_BODY_BYTES = 65_536
"""Maximum size of the body of a page request, in bytes. Tornado buffers the body even of clients without a login."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]

_WITH_PORT = re.compile(r"\[(.+)\](?::\d+)?|([\d.]+):\d+")


class ConnectionDelegate(httputil.HTTPServerConnectionDelegate):
    """Serves a Tornado application. `path` is the URL path of Socket.IO, and `handler` is the request handler for it.

    Websocket requests bypass the application's routing, which would double the cost of accepting a websocket.
    `trusted_proxies` contains the addresses and networks of proxies. X-Forwarded headers of other senders are ignored.
    """

    def __init__(
        self,
        application: tornado.web.Application,
        path: str,
        handler: type[Any],
        trusted_proxies: Collection[str] = (),
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        self.application = application
        self.path = path
        self.request_deadlines: Deadlines[IOStream] = Deadlines(
            request_timeout_s, lambda stream, _: self._close_slow(stream)
        )
        """Deadlines by which connections must complete a request. Headers and body have separate deadlines."""
        self._keep_alive_deadlines: Deadlines[IOStream] = Deadlines(keep_alive_s, lambda stream, _: stream.close())
        """Deadlines for the headers of the next request on connections that have already served a request."""
        self.websocket_prefix = f"GET {path}?".encode()
        """The first bytes of every websocket request."""
        self._prefix = f"{path}?"
        self.handler: type[Handler] | None = handler if issubclass(handler, Handler) else None
        self.rejections: Counter[str] = self.handler.engine.rejections if self.handler else Counter()
        self.trusted_proxies = parse_networks(trusted_proxies)

    def create_server(self, **options: Any) -> FastAcceptServer:
        """Return an HTTP server for the application. `options` are the options of Tornado's `HTTPServer`."""
        server = FastAcceptServer(self, **options)
        server.set_admission(self)
        return server

    def websocket_handler(
        self, connection: Any, line: httputil.RequestStartLine, headers: httputil.HTTPHeaders
    ) -> Handler | None:
        """Return a handler for the request if it is a websocket request that the server accepts, otherwise None."""
        if self.handler is None or not line.path.startswith(self._prefix) or not is_upgrade(headers):
            return None
        if self.trusted_proxies:
            identify_client(connection.context, headers, self.trusted_proxies)
        request = Request(connection, line, headers)
        if not request.host or self.handler.rejection(request) is not None:
            return None
        return self.handler(self.application, request)

    async def upgrade(self, handler: Handler, connection: Any) -> Any:
        """Upgrade a connection to a websocket and return the websocket protocol object.

        If the handler rejects the client, send status 401, close the connection and return None.
        """
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

    def stop_time_limit(self, stream: IOStream) -> None:
        """Remove the deadline of a connection that has received the headers or the body, or that has ended."""
        self.request_deadlines.discard(stream)
        self._keep_alive_deadlines.discard(stream)

    def _close_slow(self, stream: IOStream) -> None:
        if not stream.closed():
            self.rejections[SLOW] += 1
        stream.close()

    def start_request(self, server_conn: object, request_conn: Any) -> httputil.HTTPMessageDelegate:
        """Start the time limit for the headers of a request, and return the delegate that receives the request.

        Tornado calls this method for the first request of a connection, and after the response to each request.
        """
        is_kept_alive = getattr(request_conn.context, "is_kept_alive", False)
        deadlines = self._keep_alive_deadlines if is_kept_alive else self.request_deadlines
        deadlines.add(request_conn.stream)
        request_conn._parse_headers = parse_headers
        return _RequestDelegate(self, server_conn, request_conn)


class _RequestDelegate(httputil.HTTPMessageDelegate):
    def __init__(self, connection_delegate: ConnectionDelegate, server_connection: object, connection: Any) -> None:
        self._connection_delegate = connection_delegate
        self._server_connection = server_connection
        self._connection = connection
        self._stream: IOStream = connection.stream  # the connection forgets its stream when it becomes a websocket
        self._application_delegate: httputil.HTTPMessageDelegate | None = None

    def headers_received(
        self, start_line: httputil.RequestStartLine | httputil.ResponseStartLine, headers: httputil.HTTPHeaders
    ) -> Awaitable[None] | None:
        connection_delegate = self._connection_delegate
        connection_delegate.stop_time_limit(self._stream)
        self._connection.context.is_kept_alive = True
        if isinstance(start_line, httputil.RequestStartLine):
            handler = connection_delegate.websocket_handler(self._connection, start_line, headers)
            if handler is not None:
                return self._serve_websocket(handler)
            if start_line.path.partition("?")[0] != connection_delegate.path:
                self._connection.set_max_body_size(MAX_PAGE_BODY_BYTES)
        if connection_delegate.trusted_proxies:
            identify_client(self._connection.context, headers, connection_delegate.trusted_proxies)
        connection_delegate.request_deadlines.add(self._stream)
        self._application_delegate = connection_delegate.application.start_request(
            self._server_connection, self._connection
        )
        return self._application_delegate.headers_received(start_line, headers)

    async def _serve_websocket(self, handler: Handler) -> None:
        protocol = await self._connection_delegate.upgrade(handler, self._connection)
        if protocol is not None:
            # Run this in a new task: the current task would keep the request's objects until the websocket closes.
            handler.engine.run_in_background(handler.receive(protocol))

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._application_delegate.data_received(chunk) if self._application_delegate is not None else None

    def finish(self) -> None:
        self._connection_delegate.stop_time_limit(self._stream)
        if self._application_delegate is not None:
            self._application_delegate.finish()

    def on_connection_close(self) -> None:
        self._connection_delegate.stop_time_limit(self._stream)
        if self._application_delegate is not None:
            self._application_delegate.on_connection_close()


def set_send_timeout(sockets: Collection[socket.socket], timeout_s: float) -> None:
    """Make the kernel close a connection if the client acknowledges no data for `timeout_s` seconds.

    Otherwise a client that requests a page and does not read it would keep its connection open, because Storewatch's
    own time limits do not cover the sending of a page. Only Linux supports this socket option.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        for listening_socket in sockets:  # accepted connections inherit the option
            listening_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(timeout_s * 1000))


def parse_networks(addresses: Collection[str]) -> Networks:
    """Parse addresses and networks such as 10.0.0.0/8. Raise ValueError if one of them is invalid."""
    return [ipaddress.ip_network(address) for address in addresses]


def identify_client(context: Any, headers: Mapping[str, str], trusted_proxies: Networks) -> None:
    """Set the client's address and protocol in `context` from the X-Forwarded headers, if a trusted proxy sent them.

    A client can send any X-Forwarded-For header, and each proxy appends one address. Therefore read the addresses from
    right to left and use the first address that is not a trusted proxy. If an entry is not an address, stop at this
    entry and use the address to the right of it, which is the address of the proxy that added the entry.
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
    """Parse an IP address. Return None if it is invalid.

    The text may also contain a port, such as `192.0.2.7:5555` or `[2001:db8::7]:5555`.
    """
    with_port = _WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((with_port[1] or with_port[2]) if with_port else text)
    except ValueError:
        return None
    # Map IPv4-mapped IPv6 addresses to IPv4. Otherwise a client has two addresses if a proxy listens on IPv4 and IPv6.
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address


def _is_among(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)
