"""Starts and stops the HTTP server: its sockets, its certificate and the Tornado application."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

import socketio
import tornado.netutil
import tornado.routing
import tornado.web

import transport
from app.background import background_task
from errors import UsageError
from settings import Settings, Source
from transport import fanout, redis_manager
from web.security_headers import SecurityHeaders

MAX_HEADER_BYTES = 16_384
EXTRA_BODY_BYTES = 1_048_576
"""Tornado stops reading a request body that exceeds the largest allowed size by more than this number of bytes."""
DRAIN_S = 1.5
"""Time limit in seconds for closing the connections at shutdown.

The whole shutdown may take 5 s. The rest of the 5 s is for a database that hangs.
"""

Manager = fanout.Fanout | fanout.LibraryManager


@dataclass(frozen=True)
class Listener:
    """The listening sockets, and the certificate for https."""

    host: str
    sockets: Sequence[socket.socket]
    certificate: transport.Certificate | None

    @classmethod
    def open(cls, settings: Settings, origin: Source, port: int) -> Self:
        """Load the certificate and bind the sockets. Port 0 means any free port. Raise `UsageError` if this fails."""
        certificate = _certificate(settings, origin)
        return cls(settings.host, _bind(settings.host, port), certificate)

    def close(self) -> None:
        """Close the sockets."""
        for each in self.sockets:
            each.close()

    @property
    def url(self) -> str:
        """The URL to open in a browser."""
        port = self.sockets[0].getsockname()[1]
        return f"http{'s' * bool(self.certificate)}://{_url_host(self.host)}:{port}/"


def create_manager(settings: Settings) -> Manager:
    """Return the client manager for a single process or, if the settings contain Redis, for several processes."""
    limits = settings.max_unsent, settings.max_stuck
    return (
        fanout.create_manager(*limits)
        if settings.redis is None
        else redis_manager.create_manager(settings.redis, *limits)
    )


@asynccontextmanager
async def serve_http(
    listener: Listener,
    sio: socketio.AsyncServer,
    manager: Manager,
    pages: Sequence[tornado.routing.Rule],
    settings: Settings,
) -> AsyncIterator[None]:
    """Serve Socket.IO and the pages while the `async with` block runs, then close every connection."""
    handler: type[Any] = manager.handler_class(transport.get_tornado_handler(sio, per_address=settings.max_per_address))
    application = tornado.web.Application([(r"/socket\.io/", handler), *pages], transforms=[SecurityHeaders])
    delegate = transport.ConnectionDelegate(application, "/socket.io/", handler, settings.trusted_proxies)
    certificate = listener.certificate
    http = delegate.create_server(
        max_body_size=max(transport.MAX_DRAINED_BYTES, settings.max_payload) + EXTRA_BODY_BYTES,
        max_header_size=MAX_HEADER_BYTES,
        ssl_options=certificate.context if certificate else None,
    )
    transport.set_send_timeout(listener.sockets, settings.max_stuck)
    http.add_sockets(listener.sockets)
    try:
        async with background_task("certificate", certificate.keep_current(http)) if certificate else nullcontext():
            yield
    finally:
        await transport.close_all(sio, DRAIN_S)
        http.stop()
        await sio.shutdown()
        await http.close_all_connections()


def _bind(host: str, port: int) -> Sequence[socket.socket]:
    try:
        if port:
            return tornado.netutil.bind_sockets(port, host)
        # Use one address only: with port 0, each address of a host would get a different port.
        return tornado.netutil.bind_sockets(0, host)[:1]
    except OSError as error:
        raise UsageError(f"cannot listen on {host} port {port}: {error.strerror}; use another port") from None


def _certificate(settings: Settings, origin: Source) -> transport.Certificate | None:
    if settings.tls is None:
        return None
    try:
        return transport.Certificate(settings.tls.certificate, settings.tls.key)
    except OSError as error:
        raise UsageError(f"{origin.where('tls')}: cannot use the certificate: {error}") from None


def _url_host(host: str) -> str:
    """Return the host for a URL. If `host` means every address, return 127.0.0.1, which a browser can open."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
