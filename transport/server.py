"""python-socketio's Tornado transport, hardened and lean, under any Socket.IO server; it knows nothing of warehouses.

`AsyncServer` and `get_tornado_handler` take the place of python-socketio's own, one for one. A request is looked at
before it is upgraded and before its body is read; what the Engine.IO and Socket.IO protocols do not allow closes the
connection at once; and a websocket costs one task and no timer. A `ConnectionDelegate` may stand before the application: it lets
websockets in by a shorter way, and believes what trusted proxies say of where a request came from.
"""

import asyncio
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import engineio
import msgspec
import socketio
from engineio.base_socket import BaseSocket
from engineio.packet import Packet as EnginePacket
from socketio.packet import ACK, BINARY_ACK, BINARY_EVENT, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Packet
from tornado import httpserver
from tornado.http1connection import HTTP1Connection
from tornado.tcpserver import TCPServer
from tornado.websocket import WebSocketHandler, WebSocketProtocol13

from transport.certificates import Certificate
from transport.deadlines import Deadlines
from transport.environ import Environ
from transport.handler import MAX_DRAINED_BYTES, Handler
from transport.http_server import ConnectionDelegate, set_send_timeout
from transport.rate_limit import RateLimit
from transport.requests import MALFORMED, NO_HANDSHAKE, REASONS
from transport.sessions import Engine

__all__ = [
    "MAX_DRAINED_BYTES",
    "REASONS",
    "UNREADABLE",
    "AsyncServer",
    "Certificate",
    "ConnectionDelegate",
    "EventName",
    "ForgivingJson",
    "HardenedPacket",
    "Json",
    "RateLimit",
    "TextPacket",
    "close_all",
    "forget_handshake",
    "get_tornado_handler",
    "missing",
    "remote_address",
    "set_send_timeout",
]

log = logging.getLogger("transport")

ENTER_S = 0.01
"""Between the word that a client is in and what was emitted to it meanwhile."""
CONNECT_S = 5.0
"""How long a client may be in no namespace."""
MAX_ATTACHMENTS = 64
"""Of one event. Together they may not be larger than a message may."""
RESERVED = frozenset({"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"})
"""Names of events that no client may send: the libraries' own."""

PRIVATE: Mapping[Callable[..., Any], set[str]] = {
    # What we touch and no documentation promises: by who sets or uses it, the names.
    BaseSocket.__init__: {"queue", "connected", "upgraded", "closing", "closed", "session"},
    engineio.AsyncServer.handle_request: {"sockets", "_cors_allowed_origins", "transports"},
    engineio.AsyncServer._handle_connect: {"ping_interval_grace_period", "_generate_sid_cookie"},
    engineio.AsyncServer._make_response: {"_cors_headers"},
    socketio.AsyncServer._handle_eio_message: {
        "_binary_packet",
        "packet_class",
        "_handle_connect",
        "_handle_disconnect",
        "_handle_event",
        "_handle_ack",
    },
    socketio.AsyncServer._handle_eio_connect: {"environ"},
    socketio.AsyncServer._handle_connect: {"pre_connect", "_send_packet", "namespace_handlers", "namespaces"},
    socketio.AsyncServer._handle_disconnect: {"sid_from_eio_sid", "is_connected", "_trigger_event"},
    WebSocketProtocol13._accept_connection: {"stream"},
    WebSocketProtocol13._receive_frame_loop: {"client_terminated", "close_code", "close_reason"},
    WebSocketProtocol13._receive_frame: {"_handle_message", "_abort", "_websocket_mask"},
    HTTP1Connection._read_message_inner: {"_parse_headers"},
    WebSocketProtocol13._challenge_response: {"compute_accept_value"},
    WebSocketHandler.get: {"get_websocket_protocol", "ws_connection"},
    httpserver.HTTPServer.initialize: {"conn_params"},
    TCPServer.add_sockets: {"_handle_connection"},
    httpserver._HTTPRequestContext.__init__: {"address", "remote_ip", "protocol"},
}


def missing() -> list[str]:
    """Return the names in `PRIVATE` that the installed libraries do not have."""
    return sorted(
        f"{owner.__qualname__}: {name}"
        for owner, names in PRIVATE.items()
        for name in names - set(owner.__code__.co_names)
    )


class EventName(str):
    """The name of an event that a client sent. The library's own events are plain strings."""

    __slots__ = ()


class Unreadable(msgspec.Struct, frozen=True):
    """A payload that is JSON, yet cannot be held: nested too deeply, a number too large, half a character."""


UNREADABLE: Final = Unreadable()

_EVENT_NAME = re.compile(r'\[\s*("(?:[^"\\]|\\.)*")')


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


class Json:
    """The JSON of all packets: fast, with dates, and NaN as null (with the standard module one NaN ends every page)."""

    @staticmethod
    def dumps(data: object, **_: object) -> str:
        """Return `data` as JSON."""
        return msgspec.json.encode(data).decode()

    @staticmethod
    def loads(text: str) -> Any:
        """Return what `text` holds; raises ValueError, and RecursionError where it is nested too deeply."""
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return json.loads(text, parse_constant=_no_number)


class ForgivingJson(Json):
    """Also tells of an event whose payload is JSON, yet cannot be held."""

    @staticmethod
    def loads(text: str) -> Any:
        """Return what `text` holds; of an event that cannot be held, its name and `UNREADABLE`."""
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            name = _EVENT_NAME.match(text)
            if name is None or not _is_json(text):
                raise ValueError("malformed payload") from None
            return [json.loads(name[1]).encode(errors="replace").decode(), UNREADABLE]


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_no_number)
    except RecursionError:
        return True  # as far as it was read
    except ValueError:
        return False
    return True


class HardenedPacket(Packet):  # type: ignore[misc]
    """A Socket.IO packet; raises ValueError where one that came in is not as the protocol has it."""

    json = Json
    packet_type: int

    def decode(self, encoded_packet: Any) -> int:
        """Read the packet, marking an event's name as one that came over the wire."""
        if not isinstance(encoded_packet, str):
            raise ValueError("binary, and no event that it belongs to")
        attachments: int = super().decode(encoded_packet) or 0
        kind = self.packet_type
        if kind in (BINARY_EVENT, BINARY_ACK):
            if not re.match(r".\d+-", encoded_packet) or attachments > MAX_ATTACHMENTS:
                raise ValueError("not as many attachments as there may be")
            if attachments == 0:
                self.packet_type = EVENT if kind == BINARY_EVENT else ACK
        elif attachments:
            raise ValueError("attachments of a packet that has none")
        _READ.get(kind, _nothing)(self)
        return attachments


def _event(packet: Packet) -> None:
    data = packet.data
    if not isinstance(data, list) or not data or type(data[0]) not in (str, int):
        raise ValueError("an event without a name")
    data[0] = EventName(data[0])


def _acknowledgement(packet: Packet) -> None:
    if not isinstance(packet.data, list) or packet.id is None:
        raise ValueError("an acknowledgement of nothing")


def _handshake(packet: Packet) -> None:
    if packet.data is not None and not isinstance(packet.data, dict):
        raise ValueError("a handshake that is no object")


def _goodbye(packet: Packet) -> None:
    if packet.data is not None:
        raise ValueError("a goodbye that says more")


def _nothing(packet: Packet) -> None:
    raise ValueError(f"no packet that a client may send: {packet.packet_type}")


_READ: Mapping[int, Callable[[Packet], None]] = {
    CONNECT: _handshake,
    DISCONNECT: _goodbye,
    EVENT: _event,
    BINARY_EVENT: _event,
    ACK: _acknowledgement,
    BINARY_ACK: _acknowledgement,
}


class TextPacket(HardenedPacket):
    """A Socket.IO packet of a server that sends nothing binary, and to which nobody needs to."""

    json = ForgivingJson
    # Looking for it in every message was 38 of the 63 us that encoding one took.
    uses_binary_events = False

    @classmethod
    def reconstruct_binary(cls, data: Any, attachments: list[bytes]) -> Any:
        """Leave the placeholders where they are: the walk is recursive."""
        return data


class AsyncServer(socketio.AsyncServer):  # type: ignore[misc]
    """A Socket.IO server that takes nothing from a client but what the protocol allows.

    Takes what `socketio.AsyncServer` does, and `connect_timeout`: the seconds that a client may be in no namespace, and
    `pace`: how many packets it may send before it is cut off. `cors_allowed_origins` are those allowed besides our own.
    """

    def __init__(
        self,
        *arguments: Any,
        serializer: Any = "default",
        connect_timeout: float = CONNECT_S,
        rate_limit: RateLimit | None = None,
        **options: Any,
    ) -> None:
        gaps = missing()
        self._engine: type[engineio.AsyncServer] = engineio.AsyncServer if gaps else Engine
        if gaps:
            log.warning(
                "the installed libraries differ from those known; the transport is not hardened, for want of %s",
                ", ".join(gaps),
            )
            options["monitor_clients"] = True
        self._strangers: Deadlines[str] = Deadlines(connect_timeout, self._turn_away)
        self._held: dict[str, list[EnginePacket]] = {}
        self._entering: Deadlines[str] = Deadlines(ENTER_S, lambda eio_sid, _: self._release(eio_sid))
        super().__init__(*arguments, serializer=HardenedPacket if serializer == "default" else serializer, **options)
        self.eio.rate_limit = rate_limit
        self.refusals: Counter[str] = Counter() if gaps else self.eio.refusals
        """Requests and clients that were refused or closed at the door, by one of `REASONS`."""

    def _engineio_server_class(self) -> type[engineio.AsyncServer]:
        return self._engine

    async def shutdown(self) -> None:
        """Stop the work in the background."""
        self._strangers.stop()
        self._entering.stop()
        await super().shutdown()

    async def _handle_eio_connect(self, eio_sid: str, environ: Any) -> None:
        await super()._handle_eio_connect(eio_sid, environ)
        self._strangers.add(eio_sid)

    async def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        try:
            packet = self._read(eio_sid, data)
            if packet is not None:
                self._check(eio_sid, packet)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            # Nothing that a client of ours would send, and no defect of ours.
            if self._has_left(eio_sid):
                log.debug("%s sent a packet after it had left: %s", eio_sid, error)
            else:
                log.info("%s sent a malformed packet: %s", eio_sid, error)
                self.refusals[MALFORMED.reason] += 1
            await self._break_off(eio_sid)
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

    def _read(self, eio_sid: str, data: str | bytes) -> Any:
        """Return the packet, or None while attachments of it are missing."""
        waiting = self._binary_packet.get(eio_sid)
        if waiting is None:
            packet = self.packet_class(encoded_packet=data)
            if packet.packet_type not in (BINARY_EVENT, BINARY_ACK):
                return packet
            self._check(eio_sid, packet)
            self._binary_packet[eio_sid] = packet
            return None
        if not isinstance(data, bytes):
            raise ValueError("text where an attachment is missing")
        if sum(map(len, waiting.attachments)) + len(data) > self.eio.max_http_buffer_size:
            raise ValueError("attachments larger than a message may be")
        if not waiting.add_attachment(data):
            return None
        del self._binary_packet[eio_sid]
        return waiting

    def _check(self, eio_sid: str, packet: Any) -> None:
        """Raise ValueError where a client may not send this packet now."""
        namespace = packet.namespace or "/"
        joined = self.manager.sid_from_eio_sid(eio_sid, namespace) is not None
        if packet.packet_type == CONNECT:
            if joined:
                raise ValueError("a second handshake")
        elif not joined and not self._is_anywhere(eio_sid):
            raise ValueError("no handshake before it")
        elif packet.packet_type == EVENT and packet.data[0] in RESERVED and not self._has_funnel(namespace):
            raise ValueError("a name that no client may use")

    def _is_anywhere(self, eio_sid: str) -> bool:
        return any(self.manager.sid_from_eio_sid(eio_sid, name) for name in list(self.manager.get_namespaces()))

    def _has_left(self, eio_sid: str) -> bool:
        """Return whether a client has left, or was sent away: what it sent before it knew of that still comes."""
        session = self.eio.sockets.get(eio_sid)
        return session is not None and session.has_joined and not session.joined

    def _has_funnel(self, namespace: str) -> bool:
        """Return whether the namespace takes every event itself, and knows an `EventName` when it sees one."""
        handler = self.namespace_handlers.get(namespace)
        return handler is not None and type(handler).trigger_event is not socketio.AsyncNamespace.trigger_event

    async def _trigger_event(self, event: str, namespace: str, *arguments: Any) -> Any:
        if isinstance(event, EventName) and event in RESERVED and not self._has_funnel(namespace):
            return self.not_handled
        return await super()._trigger_event(event, namespace, *arguments)

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        namespace = namespace or "/"
        if eio_sid not in self.environ:
            return
        known = {*self.handlers, *self.namespace_handlers, *self.namespaces}
        if namespace not in known and self.namespaces != "*":
            await self._refuse(eio_sid, namespace, "Invalid namespace")
            return
        self._strangers.discard(eio_sid)
        self._held[eio_sid] = []
        try:
            await super()._handle_connect(eio_sid, namespace, data)
        except Exception:
            log.exception("the connect handler of %s failed", namespace)
            sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
            if sid is not None:
                await self.manager.disconnect(sid, namespace, ignore_queue=True)
            await self._refuse(eio_sid, namespace, "Connection rejected by server")
        if eio_sid not in self.environ:
            # Until now the library did not know whose leaving that was.
            await self._handle_disconnect(eio_sid, namespace, self.reason.TRANSPORT_CLOSE)
        if self.manager.sid_from_eio_sid(eio_sid, namespace) is None:
            self._held.pop(eio_sid, None)
        else:
            self._entering.add(eio_sid)
        self._expect(eio_sid)

    async def _refuse(self, eio_sid: str, namespace: str, message: str) -> None:
        packet = self.packet_class(CONNECT_ERROR, data={"message": message}, namespace=namespace)
        await self._send_packet(eio_sid, packet)

    # What is emitted while a client is let in must not come before the word that it is in; nor with it in one piece,
    # for who waits for that word may not listen for more yet.

    async def _send_eio_packet(self, eio_sid: str, packet: EnginePacket) -> None:
        held = self._held.get(eio_sid)
        if held is not None:
            held.append(packet)
        else:
            await super()._send_eio_packet(eio_sid, packet)

    async def _send_packet(self, eio_sid: str, packet: Any) -> None:
        if packet.packet_type not in (CONNECT, CONNECT_ERROR):
            self._entering.discard(eio_sid)
            self._release(eio_sid)
        await super()._send_packet(eio_sid, packet)

    def _release(self, eio_sid: str) -> None:
        session = self.eio.sockets.get(eio_sid)
        for packet in self._held.pop(eio_sid, ()):
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
        self._expect(eio_sid)

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Disconnect a client from a namespace; see `socketio.AsyncServer`."""
        eio_sid = self.manager.eio_sid_from_sid(sid, namespace or "/")
        try:
            await super().disconnect(sid, namespace, ignore_queue)
        except Exception:
            log.exception("the disconnect handler of %s failed", namespace or "/")
            await self.manager.disconnect(sid, namespace or "/", ignore_queue=True)
        if eio_sid is not None:
            self._expect(eio_sid)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        self._binary_packet.pop(eio_sid, None)
        self._held.pop(eio_sid, None)
        self._entering.discard(eio_sid)
        await super()._handle_eio_disconnect(eio_sid, reason)
        self._strangers.discard(eio_sid)

    def _expect(self, eio_sid: str) -> None:
        """Let the time of a client begin that is in no namespace."""
        session = self.eio.sockets.get(eio_sid)
        if session is not None and not session.closing:
            session.joined = self._is_anywhere(eio_sid)
            session.has_joined |= session.joined
            if not session.joined:
                self._strangers.add(eio_sid)

    def _turn_away(self, eio_sid: str, _: float) -> None:
        self.refusals[NO_HANDSHAKE] += 1
        self.start_background_task(self._break_off, eio_sid)

    async def _break_off(self, eio_sid: str) -> None:
        session = self.eio.sockets.get(eio_sid)
        if session is not None:
            await session.close(wait=False, abort=True, reason=self.reason.TRANSPORT_ERROR)


def get_tornado_handler(server: socketio.AsyncServer, *, per_address: int | None = None) -> type[Any]:
    """Return the request handler of `server`, which lets in at most `per_address` clients of one address."""
    if isinstance(server.eio, Engine):
        return type("Handler", (Handler,), {"engine": server.eio, "per_address": per_address})
    base = socketio.get_tornado_handler(server)
    return type("Handler", (base,), {"get_compression_options": lambda _: None})


def remote_address(environ: Mapping[str, Any]) -> str:
    """Return the address of the client."""
    return environ.address if isinstance(environ, Environ) else str(environ["REMOTE_ADDR"])


def forget_handshake(environ: Any) -> None:
    """Let go of what is kept of a connection's first request, but for the address: 9 kB each."""
    if isinstance(environ, Environ):
        environ.forget()


async def close_all(server: socketio.AsyncServer, patience_s: float) -> None:
    """Let nobody new in, say goodbye to every client, and wait for them to go, at most `patience_s` seconds.

    They are closed by Engine.IO: a Socket.IO disconnect would tell browsers not to come back by themselves.
    """
    engine = server.eio
    engine.stopping = True
    await engine.disconnect()
    end = time.monotonic() + patience_s
    while (engine.sockets or engine.websockets) and time.monotonic() < end:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.02)
