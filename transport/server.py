"""A hardened Socket.IO server and its request handler, based on python-socketio.

`AsyncServer` and `get_tornado_handler` are drop-in replacements for those of python-socketio. A request is checked
before it is upgraded and before its body is read. A client that violates the Engine.IO or Socket.IO protocol is
disconnected at once. Each websocket needs one task and no timer.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import engineio
import socketio
from engineio.packet import Packet as EnginePacket
from socketio.packet import BINARY_ACK, BINARY_EVENT, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT

from transport import library_internals
from transport.deadlines import Deadlines
from transport.environ import Environ
from transport.handler import Handler
from transport.rate_limit import RateLimit
from transport.requests import MALFORMED, NO_HANDSHAKE
from transport.sessions import EngineServer, Session
from transport.socketio_packets import EventName, HardenedPacket

log = logging.getLogger(__name__)

RELEASE_DELAY_S = 0.01
"""Delay in seconds after the CONNECT packet.

Events that were emitted while the client was connecting are sent after this delay.
"""
CONNECT_TIMEOUT_S = 5.0
"""Time limit in seconds for a client that is in no Socket.IO namespace to join one."""
RESERVED_EVENTS = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
"""Event names that clients may not send, because the libraries use them."""


class AsyncServer(socketio.AsyncServer):  # type: ignore[misc]
    """A Socket.IO server that disconnects every client that violates the protocol.

    It has the parameters of `socketio.AsyncServer` and two more. `connect_timeout` is the maximum time in seconds that
    a client may be in no namespace. `rate_limit` limits the packets of each client. The server disconnects a client
    that exceeds one of these limits. The server's own origin is always allowed, in addition to `cors_allowed_origins`.
    """

    def __init__(
        self,
        *arguments: Any,
        serializer: Any = "default",
        connect_timeout: float = CONNECT_TIMEOUT_S,
        rate_limit: RateLimit | None = None,
        **options: Any,
    ) -> None:
        missing = library_internals.missing_names(library_internals.HARDENED_SERVER)
        self._engine_class: type[engineio.AsyncServer] = engineio.AsyncServer if missing else EngineServer
        if missing:
            log.warning(
                "the installed libraries are not a supported version; the transport is not hardened; missing: %s",
                ", ".join(missing),
            )
            options["monitor_clients"] = True
        self._connect_deadlines: Deadlines[str] = Deadlines(connect_timeout, self._close_unconnected)
        """Deadlines by which clients that are in no namespace must join one."""
        self._held_packets: dict[str, list[EnginePacket]] = {}
        """Events held back until a client has its CONNECT packet, keyed by Engine.IO session id."""
        self._release_deadlines: Deadlines[str] = Deadlines(
            RELEASE_DELAY_S, lambda eio_sid, _: self._release_packets(eio_sid)
        )
        super().__init__(*arguments, serializer=HardenedPacket if serializer == "default" else serializer, **options)
        self.eio.rate_limit = rate_limit
        self.rejections: Counter[str] = Counter() if missing else self.eio.rejections
        """Number of rejected requests and closed clients, keyed by reason (see `requests.REASONS`)."""

    def _engineio_server_class(self) -> type[engineio.AsyncServer]:
        return self._engine_class

    async def shutdown(self) -> None:
        """Stop all timers and background tasks."""
        self._connect_deadlines.stop()
        self._release_deadlines.stop()
        await super().shutdown()

    async def _handle_eio_connect(self, eio_sid: str, environ: Any) -> None:
        await super()._handle_eio_connect(eio_sid, environ)
        self._connect_deadlines.add(eio_sid)

    async def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        try:
            packet = self._decode(eio_sid, data)
            if packet is not None:
                self._check_allowed(eio_sid, packet)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            # The client is at fault: Storewatch's own client never sends this. It is not a server error.
            if self._has_left(eio_sid):
                log.debug("%s sent a packet after it had left all namespaces: %s", eio_sid, error)
            else:
                log.info("%s sent a malformed packet: %s", eio_sid, error)
                self.rejections[MALFORMED.reason] += 1
            await self._abort(eio_sid)
            return
        if packet is None:
            return
        if packet.packet_type == CONNECT:
            await self._handle_connect(eio_sid, packet.namespace, packet.data)
        elif packet.packet_type == DISCONNECT:
            await self._handle_disconnect(eio_sid, packet.namespace, self.reason.CLIENT_DISCONNECT)
        elif packet.packet_type in (EVENT, BINARY_EVENT):
            await self._handle_event(eio_sid, packet.namespace, packet.id, packet.data)
        else:
            await self._handle_ack(eio_sid, packet.namespace, packet.id, packet.data)

    def _decode(self, eio_sid: str, data: str | bytes) -> Any:
        """Decode a packet of a client and return it. Return None while binary attachments of the packet are missing."""
        incomplete = self._binary_packet.get(eio_sid)
        if incomplete is None:
            packet = self.packet_class(encoded_packet=data)
            if packet.packet_type not in (BINARY_EVENT, BINARY_ACK):
                return packet
            self._check_allowed(eio_sid, packet)
            self._binary_packet[eio_sid] = packet
            return None
        if not isinstance(data, bytes):
            raise ValueError("a text message instead of a missing attachment")
        if sum(map(len, incomplete.attachments)) + len(data) > self.eio.max_http_buffer_size:
            raise ValueError("attachments larger than the maximum message size")
        if not incomplete.add_attachment(data):
            return None
        del self._binary_packet[eio_sid]
        return incomplete

    def _check_allowed(self, eio_sid: str, packet: Any) -> None:
        """Raise ValueError if the client may not send this packet now."""
        namespace = packet.namespace or "/"
        joined = self.manager.sid_from_eio_sid(eio_sid, namespace) is not None
        if packet.packet_type == CONNECT:
            if joined:
                raise ValueError("a second CONNECT packet for the same namespace")
        elif not joined and not self._is_in_any_namespace(eio_sid):
            raise ValueError("a packet before the CONNECT packet")
        elif (
            packet.packet_type == EVENT
            and packet.data[0] in RESERVED_EVENTS
            and not self._handles_all_events(namespace)
        ):
            raise ValueError("a reserved event name")

    def _is_in_any_namespace(self, eio_sid: str) -> bool:
        return any(self.manager.sid_from_eio_sid(eio_sid, name) for name in list(self.manager.get_namespaces()))

    def _has_left(self, eio_sid: str) -> bool:
        """Return whether a client was in a namespace earlier and is in none now.

        Packets that the client sent before it left may still arrive.
        """
        session = self.eio.sockets.get(eio_sid)
        return session is not None and session.has_joined and not session.joined

    def _handles_all_events(self, namespace: str) -> bool:
        """Return whether the namespace overrides `trigger_event`.

        Such a namespace can distinguish the events of a client from those of the library, because the name of a
        client's event is an `EventName`.
        """
        handler = self.namespace_handlers.get(namespace)
        return handler is not None and type(handler).trigger_event is not socketio.AsyncNamespace.trigger_event

    async def _trigger_event(self, event: str, namespace: str, *arguments: Any) -> Any:
        if isinstance(event, EventName) and event in RESERVED_EVENTS and not self._handles_all_events(namespace):
            return self.not_handled
        return await super()._trigger_event(event, namespace, *arguments)

    async def _handle_event_internal(
        self, server: Any, sid: str, eio_sid: str, data: Any, namespace: str, id: Any
    ) -> None:
        session = self.eio.sockets.get(eio_sid)
        if not isinstance(session, Session):  # the client has left, or the library's own server is used
            await super()._handle_event_internal(server, sid, eio_sid, data, namespace, id)
            return
        session.unanswered += 1
        try:
            await super()._handle_event_internal(server, sid, eio_sid, data, namespace, id)
        finally:
            session.unanswered -= 1

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        namespace = namespace or "/"
        if eio_sid not in self.environ:
            return
        namespaces = {*self.handlers, *self.namespace_handlers, *self.namespaces}
        if namespace not in namespaces and self.namespaces != "*":
            await self._reject(eio_sid, namespace, "Invalid namespace")
            return
        self._connect_deadlines.discard(eio_sid)
        self._held_packets[eio_sid] = []
        try:
            await super()._handle_connect(eio_sid, namespace, data)
        except Exception:
            log.exception("the connect handler of %s failed", namespace)
            sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
            if sid is not None:
                await self.manager.disconnect(sid, namespace, ignore_queue=True)
            await self._reject(eio_sid, namespace, "Connection rejected by server")
        if eio_sid not in self.environ:
            # The client left while it was connecting. The library ignores such a disconnect, so repeat it now.
            await self._handle_disconnect(eio_sid, namespace, self.reason.TRANSPORT_CLOSE)
        if self.manager.sid_from_eio_sid(eio_sid, namespace) is None:
            self._held_packets.pop(eio_sid, None)
        else:
            self._release_deadlines.add(eio_sid)
        self._update_joined(eio_sid)

    async def _reject(self, eio_sid: str, namespace: str, message: str) -> None:
        packet = self.packet_class(CONNECT_ERROR, data={"message": message}, namespace=namespace)
        await self._send_packet(eio_sid, packet)

    # Send events only after the CONNECT packet and in a later write: a client that waits for CONNECT may not have
    # subscribed to events yet.

    async def _send_eio_packet(self, eio_sid: str, packet: EnginePacket) -> None:
        held_packets = self._held_packets.get(eio_sid)
        if held_packets is not None:
            held_packets.append(packet)
        else:
            await super()._send_eio_packet(eio_sid, packet)

    async def _send_packet(self, eio_sid: str, packet: Any) -> None:
        if packet.packet_type not in (CONNECT, CONNECT_ERROR):
            self._release_deadlines.discard(eio_sid)
            self._release_packets(eio_sid)
        await super()._send_packet(eio_sid, packet)

    def _release_packets(self, eio_sid: str) -> None:
        session = self.eio.sockets.get(eio_sid)
        for packet in self._held_packets.pop(eio_sid, ()):
            if session is not None:
                session.put(packet)

    async def _handle_disconnect(self, eio_sid: str, namespace: str | None, reason: str | None = None) -> None:
        namespace = namespace or "/"
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        try:
            await super()._handle_disconnect(eio_sid, namespace, reason)
        except Exception:
            log.exception("the disconnect handler of %s failed", namespace)
            await self.manager.disconnect(sid, namespace, ignore_queue=True)
        self._update_joined(eio_sid)

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Disconnect a client from a namespace. See `socketio.AsyncServer`."""
        eio_sid = self.manager.eio_sid_from_sid(sid, namespace or "/")
        try:
            await super().disconnect(sid, namespace, ignore_queue)
        except Exception:
            log.exception("the disconnect handler of %s failed", namespace or "/")
            await self.manager.disconnect(sid, namespace or "/", ignore_queue=True)
        if eio_sid is not None:
            self._update_joined(eio_sid)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        self._binary_packet.pop(eio_sid, None)
        self._held_packets.pop(eio_sid, None)
        self._release_deadlines.discard(eio_sid)
        await super()._handle_eio_disconnect(eio_sid, reason)
        self._connect_deadlines.discard(eio_sid)

    def _update_joined(self, eio_sid: str) -> None:
        """Update the session's `joined` and `has_joined`.

        If the client is in no namespace, start the time limit for joining one.
        """
        session = self.eio.sockets.get(eio_sid)
        if session is not None and not session.closing:
            session.joined = self._is_in_any_namespace(eio_sid)
            session.has_joined |= session.joined
            if not session.joined:
                self._connect_deadlines.add(eio_sid)

    def _close_unconnected(self, eio_sid: str, _: float) -> None:
        self.rejections[NO_HANDSHAKE] += 1
        self.start_background_task(self._abort, eio_sid)

    async def _abort(self, eio_sid: str) -> None:
        session = self.eio.sockets.get(eio_sid)
        if session is not None:
            await session.close(wait=False, abort=True, reason=self.reason.TRANSPORT_ERROR)


def get_tornado_handler(server: socketio.AsyncServer, *, per_address: int | None = None) -> type[Any]:
    """Return the request handler of `server`. It accepts at most `per_address` clients from one address."""
    if isinstance(server.eio, EngineServer):
        return type("Handler", (Handler,), {"engine": server.eio, "per_address": per_address})
    base = socketio.get_tornado_handler(server)
    return type("Handler", (base,), {"get_compression_options": lambda _: None})


def remote_address(environ: Mapping[str, Any]) -> str:
    """Return the IP address of the client from the WSGI environ of its request."""
    return environ.address if isinstance(environ, Environ) else str(environ["REMOTE_ADDR"])


def forget_handshake(environ: Any) -> None:
    """Release the data of a connection's first request, except the client's address. This saves 9 kB per connection."""
    if isinstance(environ, Environ):
        environ.forget()
