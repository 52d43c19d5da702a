"""Before the application: who asks, and the short way for websockets."""

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
from transport.fast_accept import Server
from transport.handler import Handler
from transport.header_parser import parse_headers
from transport.requests import SLOW, UNAUTHORIZED, Request, is_upgrade

SLOW_S = 10.0
"""How long the headers of a request may take to arrive, and its body."""

PAGE_BODY = 65_536
"""Bytes of a body that are taken for a page: they are kept until all of it has come, whoever sends it."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]

_WITH_PORT = re.compile(r"\[(.+)\](?::\d+)?|([\d.]+):\d+")


class ConnectionDelegate(httputil.HTTPServerConnectionDelegate):
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
        self.path = path
        self.slow: Deadlines[Any] = Deadlines(slow_s, lambda connection, _: self._turn_away(connection))
        """Connections that we wait for: first for the headers of a request, then for its body."""
        self.beginning = f"GET {path}?".encode()
        """Of a request that may ask for a websocket."""
        self._prefix = f"{path}?"
        self.handler: type[Handler] | None = handler if issubclass(handler, Handler) else None
        self.refusals: Counter[str] = self.handler.engine.refusals if self.handler else Counter()
        self.trusted = networks(trusted_proxies)

    def server(self, **options: Any) -> Server:
        """Return an HTTP server before which the door stands; takes what Tornado's does."""
        server = Server(self, **options)
        server.begin(self)
        return server

    def admit(self, connection: Any, line: httputil.RequestStartLine, headers: httputil.HTTPHeaders) -> Handler | None:
        """Return the handler of a request for a websocket; None for all others, and where it is refused."""
        if self.handler is None or not line.path.startswith(self._prefix) or not is_upgrade(headers):
            return None
        if self.trusted:
            identify(connection.context, headers, self.trusted)
        request = Request(connection, line, headers)
        if not request.host or self.handler.refusal(request) is not None:
            return None
        return self.handler(self.application, request)

    async def let_in(self, handler: Handler, connection: Any) -> Any:
        """Make a websocket of a connection, and return what is received by; None, and closed, where it is refused."""
        protocol = await handler.accept()
        if protocol is not None:
            return protocol
        self.refusals[UNAUTHORIZED.reason] += 1
        body = UNAUTHORIZED.body()
        head = f"HTTP/1.1 {UNAUTHORIZED.status} Unauthorized\r\nContent-Type: application/json\r\n"
        stream = connection.detach()
        with suppress(StreamClosedError):
            await stream.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        stream.close()
        return None

    def _turn_away(self, connection: Any) -> None:
        if not (connection.stream.closed() or getattr(connection.context, "is_idle", False)):
            self.refusals[SLOW] += 1
        connection.close()

    def start_request(self, server_conn: object, request_conn: Any) -> httputil.HTTPMessageDelegate:
        """See Tornado."""
        self.slow.add(request_conn)
        request_conn._parse_headers = parse_headers
        return _Visitor(self, server_conn, request_conn)


class _Visitor(httputil.HTTPMessageDelegate):
    def __init__(self, door: ConnectionDelegate, server_connection: object, connection: Any) -> None:
        self._door = door
        self._server_connection = server_connection
        self._connection = connection
        self._delegate: httputil.HTTPMessageDelegate | None = None

    def headers_received(
        self, start_line: httputil.RequestStartLine | httputil.ResponseStartLine, headers: httputil.HTTPHeaders
    ) -> Awaitable[None] | None:
        door = self._door
        door.slow.discard(self._connection)
        self._connection.context.is_idle = False
        if isinstance(start_line, httputil.RequestStartLine):
            handler = door.admit(self._connection, start_line, headers)
            if handler is not None:
                return self._let_in(handler)
            if start_line.path.partition("?")[0] != door.path:
                self._connection.set_max_body_size(PAGE_BODY)
        if door.trusted:
            identify(self._connection.context, headers, door.trusted)
        door.slow.add(self._connection)
        self._delegate = door.application.start_request(self._server_connection, self._connection)
        return self._delegate.headers_received(start_line, headers)

    async def _let_in(self, handler: Handler) -> None:
        protocol = await self._door.let_in(handler, self._connection)
        if protocol is not None:
            # In a task of its own: this one would hold on to all that was read with.
            handler.engine.start(handler.receive(protocol))

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._delegate.data_received(chunk) if self._delegate is not None else None

    def finish(self) -> None:
        self._door.slow.discard(self._connection)
        self._connection.context.is_idle = True  # to let a browser's spare connection go is no refusal
        if self._delegate is not None:
            self._delegate.finish()

    def on_connection_close(self) -> None:
        self._door.slow.discard(self._connection)
        if self._delegate is not None:
            self._delegate.on_connection_close()


def set_send_timeout(listening: Collection[socket.socket], stuck_s: float) -> None:
    """Have the system end connections that take nothing of what is sent to them for so long, whoever sends it.

    Nothing of ours waits for one who asked for a page and does not read it. Only Linux can do that.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        for one in listening:  # what comes in by them inherits it
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(stuck_s * 1000))


def networks(addresses: Collection[str]) -> Networks:
    """Return the networks that these addresses or networks are; raises ValueError."""
    return [ipaddress.ip_network(address) for address in addresses]


def identify(context: Any, headers: Mapping[str, str], trusted: Networks) -> None:
    """Take from the headers of a request who sent it and how, as far as the connection is that of a trusted proxy.

    A proxy uses one connection for many clients, each of whom may say anything: of the addresses in X-Forwarded-For,
    the last that is not a proxy's counts. What stands before something that is no address is only a client's word: then
    it is the proxy's own that counts.
    """
    peer = _address(context.address[0]) if isinstance(context.address, tuple) else None
    if peer is None or not _is_among(peer, trusted):
        return
    sender = peer
    for entry in reversed(headers.get("X-Forwarded-For", "").split(",")):
        passed = _address(entry.strip())
        if passed is None:
            break
        sender = passed
        if not _is_among(sender, trusted):
            break
    context.remote_ip = str(sender)
    scheme = headers.get("X-Forwarded-Proto", "").split(",")[-1].strip()
    context.protocol = scheme if scheme in ("http", "https") else "http"


def _address(text: str) -> Address | None:
    """Return the address, which may have a port: `192.0.2.7:5555`, `[2001:db8::7]:5555`; None where it is none."""
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((found[1] or found[2]) if found else text)
    except ValueError:
        return None
    # One client is not to have two names, also where a proxy listens for both kinds at once.
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address


def _is_among(address: Address, trusted: Networks) -> bool:
    return any(address in network for network in trusted)
