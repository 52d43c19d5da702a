"""The client manager that encodes a message once and writes the same bytes to every connection.

It replaces python-socketio's `AsyncManager`. It writes directly to a websocket (`outbox.py`) if three conditions
hold: no upgrade from polling is in progress, the websocket is not compressed, and no packet is queued for it. Messages
for all other connections go through the library's queues. Delivery never awaits, so each connection receives messages
in the order in which they were emitted. For repeated pushes to the same rooms, the manager caches the connections in
these rooms (`recipients.py`).
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import msgspec
import socketio
from engineio.packet import MESSAGE
from engineio.packet import Packet as EnginePacket
from socketio.packet import EVENT
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from common.periodic import run_periodically
from transport import library_internals
from transport.outbox import BINARY, STUCK, TEXT, Outbox, SendQueue, frame
from transport.recipients import Recipients

log = logging.getLogger(__name__)

SWEEP_INTERVAL_S = 1.0
"""Seconds between two searches for stuck connections, which accept no more data."""


class LibraryManager(socketio.AsyncManager):  # type: ignore[misc]
    """The client manager of python-socketio, used if the installed libraries lack the internals that `Fanout` needs."""

    pushed = coalesced = 0
    closed_slow_clients: Mapping[str, int] = {}

    async def push(self, event: str, data: Any, recipients: Recipients, key: Hashable = None) -> None:
        """Send an event to the recipients."""
        self.pushed += len(recipients.rooms)
        await self.emit(event, data, "/", recipients.rooms, ignore_queue=True)

    def handler_class(self, base: type[Any]) -> type[Any]:
        """Return the request handler `base` unchanged."""
        return base

    async def close_stuck_clients(self) -> None:
        """Do nothing until cancelled, because this manager does not detect stuck clients."""
        await asyncio.Event().wait()


def create_manager(limit: int, drain_s: float) -> "Fanout | LibraryManager":
    """Return a `Fanout`, or a `LibraryManager` if the installed libraries do not support direct writes."""
    return Fanout(limit, drain_s) if can_write_directly() else LibraryManager()


def can_write_directly() -> bool:
    """Return whether the installed libraries have the internals that `Fanout` needs. Log a warning if not."""
    missing = library_internals.missing_names(library_internals.DIRECT_WRITES)
    if missing:
        log.warning(
            "the installed libraries are not a supported version; pushes use the slower library code; missing: %s",
            ", ".join(missing),
        )
    return not missing


class KeyedPacket(EnginePacket):  # type: ignore[misc]
    """A packet that replaces an unsent packet of the same connection with the same `key`."""

    def __init__(self, data: str | bytes, key: Hashable) -> None:
        super().__init__(MESSAGE, data)
        self.key = key


class Fanout(socketio.AsyncManager):  # type: ignore[misc]
    """Delivers messages to the connections of this process.

    It closes a connection that has more than `limit` unsent bytes. The docstring of `Outbox` says which bytes count. It
    also closes a connection that has accepted no data for `drain_s` seconds while data was waiting.
    """

    def __init__(self, limit: int, drain_s: float) -> None:
        super().__init__()
        self.pushed = 0
        """Number of pushed messages. A message to several connections counts once for each of them."""
        self.coalesced = 0
        """Number of pushed messages that were replaced by a newer message before they were sent."""
        self.closed_slow_clients: Counter[str] = Counter()
        """Number of connections closed because the client read too slowly, keyed by reason (`UNSENT` or `STUCK`)."""
        self._limit = limit
        self._drain_s = drain_s
        self._outboxes: dict[str, Outbox] = {}
        self._busy: set[Outbox] = set()
        self._behind: set[Outbox] = set()
        self._resolved: WeakSet[Recipients] = WeakSet()  # all `Recipients` that hold outboxes
        self._rooms_of: dict[tuple[str, str], set[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # keeps tasks alive: the event loop holds only weak references

    def set_server(self, server: Any) -> None:
        """Make a server use this manager, its method `send_packet`, and a `SendQueue` for each connection."""
        super().set_server(server)
        server.eio.create_queue = lambda: SendQueue(self._count_coalesced)
        server._send_packet = self.send_packet

    async def send_packet(self, eio_sid: str, packet: Any) -> None:
        """Send a packet, such as an acknowledgement, to one connection. The server uses this as its `_send_packet`."""
        encoded = packet.encode()
        for part in encoded if isinstance(encoded, list) else [encoded]:
            if isinstance(part, str):
                self._deliver_answer(part, _message(part), eio_sid)
            else:
                self._queue(KeyedPacket(part, None), eio_sid)

    def handle_event(self, eio_sid: str | None, encoded: str) -> None:
        """Let the server handle a client's event in a new task. Raise ValueError if the event is malformed."""
        packet = self.server.packet_class(encoded_packet=encoded)
        namespace = packet.namespace or "/"
        sid = self.sid_from_eio_sid(eio_sid, namespace)
        if self.is_connected(sid, namespace):
            server = self.server
            work = server._handle_event_internal(server, sid, eio_sid, packet.data, namespace, packet.id)
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: Any = None,
        skip_sid: Any = None,
        callback: Any = None,
        to: Any = None,
        **kwargs: Any,
    ) -> None:
        """Send an event to rooms. See `socketio.AsyncManager.emit`."""
        encoded = self._encode(event, data, namespace) if callback is None else None
        if encoded is None:
            await super().emit(event, data, namespace, to or room, skip_sid, callback, **kwargs)
            return
        rooms = to or room
        members = self._members(namespace, rooms if isinstance(rooms, list | tuple) else [rooms])
        for sid in skip_sid if isinstance(skip_sid, list) else [skip_sid]:
            members.pop(sid, None)
        message = _message(encoded)
        for eio_sid in members.values():
            self._deliver_answer(encoded, message, eio_sid)

    async def push(self, event: str, data: Any, recipients: Recipients, key: Hashable = None) -> None:
        """Send an event to the recipients, once to each connection.

        With a `key`, the message replaces an unsent message with the same key on the same connection.
        """
        encoded = self._encode(event, data, "/")
        if encoded is None:
            return
        # Do not await from here on: another message could overtake this one on some connections. The loop below
        # contains only the system call, because it is the most frequent operation of the server.
        if not recipients.is_resolved:
            self._resolve(recipients)
        recipients.split(self._behind)
        message = _message(encoded)
        size = len(message)
        ready = recipients.ready
        self.pushed += len(ready) + len(recipients.rest)
        for socket in ready:
            try:
                sent = socket.send(message)
            except OSError as error:
                ready[socket].handle_error(message, error)
            else:
                if sent != size:
                    ready[socket].write_rest(message, sent)
        for eio_sid in recipients.rest:
            self._deliver(encoded, message, eio_sid, key)

    def _resolve(self, recipients: Recipients) -> None:
        outboxes: dict[Outbox, str] = {}
        others: list[str] = []
        for eio_sid in self._members("/", recipients.rooms).values():
            outbox = self._outboxes.get(eio_sid)
            if outbox is None:
                others.append(eio_sid)
            else:
                outboxes[outbox] = eio_sid
        recipients.resolve(outboxes, others)
        self._resolved.add(recipients)

    def _forget_recipients(self) -> None:
        """Clear the cached connections of every `Recipients` object.

        Call this method when a connection joins or leaves, or when its rooms or its transport change.
        """
        if not self._resolved:  # cheaper than to iterate over an empty WeakSet
            return
        for recipients in self._resolved:
            recipients.forget()
        self._resolved.clear()

    def _members(self, namespace: str, rooms: Iterable[Any]) -> dict[str, str]:
        """Return the Engine.IO session id of each connection in the rooms, keyed by Socket.IO session id."""
        get_room = self.rooms.get(namespace, {}).get
        members: dict[str, str] = {}
        for room in rooms:
            sids = get_room(room)
            if sids is not None:
                members.update(sids._fwdm)
        return members

    def _encode(self, event: str, data: Any, namespace: str) -> str | None:
        arguments = list(data) if isinstance(data, tuple) else [] if data is None else [data]
        packet = self.server.packet_class(EVENT, namespace=namespace, data=[event, *arguments])
        encoded = packet.encode()
        return encoded if isinstance(encoded, str) else None

    def _deliver(self, encoded: str, message: bytes, eio_sid: str, key: Hashable) -> None:
        outbox = self._outboxes.get(eio_sid)
        if outbox is None or outbox.queue.pending:
            self._queue(KeyedPacket(encoded, key), eio_sid)
        else:
            outbox.put(message, key)

    def _deliver_answer(self, encoded: str, message: bytes, eio_sid: str) -> None:
        outbox = self._outboxes.get(eio_sid)
        if outbox is None or outbox.queue.pending:
            self._queue(KeyedPacket(encoded, None), eio_sid)
        else:
            outbox.put_answer(message)

    def _queue(self, packet: KeyedPacket, eio_sid: str) -> None:
        socket = self.server.eio.sockets.get(eio_sid)
        if socket is not None and not socket.closing and not socket.closed:
            socket.queue.put_nowait(packet)

    def handler_class(self, base: type[Any]) -> type[Any]:
        """Return a subclass of the request handler `base` that lets this manager write directly to its websockets."""
        return type("Handler", (DirectWriteHandler, base), {"fanout": self})

    def attach(self, handler: Any, message: str | bytes) -> tuple[str | None, Outbox | None]:
        """Create an outbox, which writes directly to the websocket of `handler`.

        Return the Engine.IO session id and the outbox. Return None for both if the websocket is not ready for direct
        writes. Call this method when the library writes `message`: a client may open two websockets for one session,
        but the library writes only to the websocket in use.
        """
        protocol = handler.ws_connection
        if message == "3probe" or protocol is None or protocol._compressor is not None or protocol.stream.closed():
            return None, None
        eio_sid = _announced_session(message) or handler.get_query_argument("sid", None)
        socket = self.server.eio.sockets.get(eio_sid)
        if eio_sid is None or socket is None or not socket.upgraded or not isinstance(socket.queue, SendQueue):
            return None, None
        outbox = Outbox(socket.queue, protocol.stream, self._limit, self._busy, self._behind, self._close_slow)
        self._outboxes[eio_sid] = outbox
        self._forget_recipients()
        return eio_sid, outbox

    def detach(self, eio_sid: str | None, outbox: Outbox) -> None:
        """Remove the outbox (the object that wrote directly to the websocket) of a closed websocket."""
        outbox.end()
        self._behind.discard(outbox)
        if eio_sid is not None and self._outboxes.get(eio_sid) is outbox:
            del self._outboxes[eio_sid]
        self._forget_recipients()

    def _count_coalesced(self) -> None:
        self.coalesced += 1

    def _close_slow(self, outbox: Outbox, reason: str, details: str) -> None:
        self.closed_slow_clients[reason] += 1
        log.warning("closed a slow connection: %s", details)
        outbox.abort()

    async def close_stuck_clients(self) -> None:
        """Close the connections that have accepted no data for too long. Check every second until cancelled."""
        await run_periodically(
            self._close_stuck, SWEEP_INTERVAL_S, log=log, purpose="close stuck connections", wait_first=True
        )

    async def _close_stuck(self) -> None:
        latest = time.monotonic() - self._drain_s
        for outbox in [outbox for outbox in self._busy if outbox.stuck_since < latest]:
            self._close_slow(
                outbox, STUCK, f"it accepted no data for {self._drain_s:g} s; {outbox.unsent} bytes are unsent"
            )

    # The library finds a connection's rooms by searching all rooms. Each connection has its own room, so the cost of a
    # disconnect would grow with the number of connections. `_rooms_of` avoids the search.

    def basic_enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """Add a connection to a room. See `socketio.base_manager.BaseManager`."""
        super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)
        self._rooms_of.setdefault((namespace, sid), set()).add(room)
        self._forget_recipients()

    def basic_leave_room(self, sid: str, namespace: str, room: Any) -> None:
        """Remove a connection from a room. See `socketio.base_manager.BaseManager`."""
        super().basic_leave_room(sid, namespace, room)
        self._rooms_of.get((namespace, sid), set()).discard(room)
        self._forget_recipients()

    def basic_disconnect(self, sid: str, namespace: str, **_: Any) -> None:
        """Remove a connection from all its rooms. See `socketio.base_manager.BaseManager`."""
        for room in list(self._rooms_of.get((namespace, sid), ())):
            self.basic_leave_room(sid, namespace, room)
        self._rooms_of.pop((namespace, sid), None)
        self.callbacks.pop(sid, None)
        for waiting in (self.pending_connect, self.pending_disconnect):
            with suppress(KeyError, ValueError):
                waiting[namespace].remove(sid)
                if not waiting[namespace]:
                    del waiting[namespace]


def _message(encoded: str) -> bytes:
    """Wrap an encoded Socket.IO packet in an Engine.IO message and a websocket frame."""
    return frame(b"4" + encoded.encode())


class DirectWriteHandler(WebSocketHandler):
    """A mixin for request handlers. It lets a `Fanout` write directly to the websocket of the handler."""

    fanout: Fanout
    receive_queue: "asyncio.Queue[Any]"
    _outbox: Outbox | None = None
    _eio_sid: str | None = None
    _idle = False
    """Whether the library has handled all messages of this websocket and waits for the next one."""

    def write_message(self, message: Any, binary: bool = False) -> Any:
        """Send a message from the library, after all messages that were pushed earlier."""
        if self._outbox is None:
            self._eio_sid, self._outbox = self.fanout.attach(self, message)
        if self._outbox is None:
            return super().write_message(message, binary)
        if self.ws_connection is None or self.ws_connection.is_closing():
            raise WebSocketClosedError
        payload = message.encode() if isinstance(message, str) else message
        return self._outbox.put(frame(payload, BINARY if binary else TEXT))

    @property
    def is_sending(self) -> bool:
        """Whether the kernel has not accepted all messages of this websocket yet."""
        return self._outbox.unsent > 0 if self._outbox is not None else bool(super().is_sending)  # type: ignore[misc]

    async def get_next_message(self) -> Any:
        """Wait for the next message. The library calls this when it has handled the previous message."""
        self._idle = self.receive_queue.empty()
        return await super().get_next_message()  # type: ignore[misc]

    def on_message(self, message: str | bytes) -> Any:
        """Handle a message from the websocket. Handle an event at once if no earlier message is waiting.

        An event that is handled at once avoids the library's queue, four tasks and a timer. These were half of the cost
        of answering an event.
        """
        # Without an outbox the upgrade is not complete: the library may still hold earlier messages from polling.
        if self._idle and self._outbox is not None and isinstance(message, str) and message.startswith("42"):
            with suppress(ValueError):  # the library's own code below handles malformed events
                self.fanout.handle_event(self._eio_sid, message[1:])
                return None
        self._idle = False
        return super().on_message(message)

    def on_ping(self, data: bytes) -> None:
        """Let Tornado answer a ping, and send further messages only after the pong."""
        super().on_ping(data)
        if self._outbox is not None:
            self._outbox.yield_to_stream()

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close the websocket. Stop its outbox first, because nothing may be sent after the close frame."""
        if self._outbox is not None:
            self._outbox.end()
        super().close(code, reason)

    def on_close(self) -> None:
        """Remove the outbox of the closed websocket."""
        super().on_close()
        if self._outbox is not None:
            self.fanout.detach(self._eio_sid, self._outbox)


def _announced_session(message: str | bytes) -> str | None:
    """Return the Engine.IO session id in an OPEN packet, or None if `message` is another packet."""
    if not isinstance(message, str) or not message.startswith("0"):
        return None
    sid: str = msgspec.json.decode(message[1:])["sid"]
    return sid
