"""The client manager that encodes a message once and hands the same bytes to every connection.

It takes the place of python-socketio's `AsyncManager`. A connection on a websocket that is past its upgrade and
uncompressed, and for which nothing is queued, is written to directly (`wire.py`); every other goes the library's own
way, through its queue. Delivering never awaits, so that messages reach each connection in the order of emission. Who
is pushed to again and again is found once (`audience.py`).
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import engineio
import msgspec
import socketio
from engineio.async_drivers.tornado import get_tornado_handler
from engineio.async_socket import AsyncSocket
from engineio.base_socket import BaseSocket
from engineio.packet import MESSAGE
from engineio.packet import Packet as EnginePacket
from socketio.base_manager import BaseManager
from socketio.packet import EVENT
from tornado.iostream import IOStream
from tornado.websocket import WebSocketClosedError, WebSocketHandler, WebSocketProtocol13

from transport.outbox import BINARY, STUCK, TEXT, Outbox, SendQueue, frame
from transport.recipients import Recipients

log = logging.getLogger("live")

SWEEP_S = 1.0
"""Between two looks for connections that are stuck."""

PRIVATE: Mapping[Callable[..., Any], set[str]] = {
    # What we touch and no documentation promises: by who sets or uses it, the names.
    BaseManager.get_participants: {"_fwdm"},
    BaseSocket.__init__: {"queue", "closing", "closed", "upgraded"},
    engineio.AsyncServer.send_packet: {"_get_socket"},
    AsyncSocket.poll: {"queue", "task_done"},
    socketio.AsyncServer._handle_event: {"_handle_event_internal", "sid_from_eio_sid", "is_connected"},
    socketio.AsyncServer._handle_event_internal: {"_send_packet"},
    get_tornado_handler: {"WebSocketHandler"},
    WebSocketHandler.write_message: {"ws_connection"},
    WebSocketProtocol13.__init__: {"_compressor"},
    WebSocketProtocol13.close: {"stream"},
    IOStream.__init__: {"socket"},
    asyncio.Queue.put_nowait: {"_put"},
    asyncio.Queue.get_nowait: {"_get"},
    asyncio.Queue.empty: {"_queue"},
}


class LibraryManager(socketio.AsyncManager):  # type: ignore[misc]
    """The library's own way, for libraries that are not those we know."""

    pushed = conflated = 0
    closed: Mapping[str, int] = {}

    async def push(self, event: str, data: Any, recipients: Recipients, key: Hashable = None) -> None:
        """Send an event to an audience."""
        self.pushed += len(recipients.rooms)
        await self.emit(event, data, "/", recipients.rooms, ignore_queue=True)

    def handler(self, base: type[Any]) -> type[Any]:
        """Return the request handler `base` as it is."""
        return base

    async def sweep(self) -> None:
        """Wait until cancelled."""
        await asyncio.Event().wait()


def manager(limit: int, drain_s: float) -> "Fanout | LibraryManager":
    """Return the fastest client manager that the installed libraries allow."""
    return Fanout(limit, drain_s) if are_libraries_known() else LibraryManager()


def are_libraries_known() -> bool:
    """Return whether the installed libraries are those that a `Fanout` can stand on; where they are not, say so."""
    gaps = missing()
    if gaps:
        log.warning(
            "the installed libraries differ from those known; pushing the slow way, for want of %s", ", ".join(gaps)
        )
    return not gaps


def missing() -> list[str]:
    """Return the names in `PRIVATE` that the installed libraries do not have."""
    return sorted(f"{owner.__qualname__}: {name}" for owner, names in PRIVATE.items() for name in names - _names(owner))


def _names(owner: Callable[..., Any]) -> set[str]:
    return set(owner.__code__.co_names)


class KeyedPacket(EnginePacket):  # type: ignore[misc]
    """A packet that takes the place of an unsent one with the same `key`."""

    def __init__(self, data: str | bytes, key: Hashable) -> None:
        super().__init__(MESSAGE, data)
        self.key = key


class Fanout(socketio.AsyncManager):  # type: ignore[misc]
    """Delivers to the connections of this process.

    A connection with more than `limit` unsent bytes besides answers, or from which none has left for `drain_s` seconds
    while some waited, is closed.
    """

    def __init__(self, limit: int, drain_s: float) -> None:
        super().__init__()
        self.pushed = 0
        """Messages pushed, once for each connection."""
        self.conflated = 0
        """Of these, those that were not sent because a newer one took their place."""
        self.closed: Counter[str] = Counter()
        """Connections closed because they did not read, by what showed it: `UNSENT` or `STUCK`."""
        self._limit = limit
        self._drain_s = drain_s
        self._outboxes: dict[str, Outbox] = {}
        self._busy: set[Outbox] = set()
        self._behind: set[Outbox] = set()
        self._found: WeakSet[Recipients] = WeakSet()  # all that hold wires
        self._rooms_of: dict[tuple[str, str], set[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself does not hold on to them

    def set_server(self, server: Any) -> None:
        """Take the place of the server's own manager, and of the queues of its connections."""
        super().set_server(server)
        server.eio.create_queue = lambda: SendQueue(self._count_conflated)
        server._send_packet = self.send_packet

    async def send_packet(self, eio_sid: str, packet: Any) -> None:
        """Send a packet, such as an acknowledgement, to one connection; takes the place of the server's own."""
        encoded = packet.encode()
        for part in encoded if isinstance(encoded, list) else [encoded]:
            if isinstance(part, str):
                self._answer(part, _message(part), eio_sid)
            else:
                self._queue(KeyedPacket(part, None), eio_sid)

    def take_in(self, eio_sid: str | None, encoded: str) -> None:
        """Have the server handle an event that came in; raises ValueError where it is malformed."""
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
        """Send an event to rooms; see `socketio.AsyncManager.emit`."""
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
            self._answer(encoded, message, eio_sid)

    async def push(self, event: str, data: Any, recipients: Recipients, key: Hashable = None) -> None:
        """Send an event to an audience, once to each connection.

        With a `key`, it takes the place of one with the same that a connection has not got yet.
        """
        encoded = self._encode(event, data, "/")
        if encoded is None:
            return
        # No await from here on: another message in between would overtake this one for some. And nothing in the loop
        # but the system's call: it is what the server does most.
        if not recipients.is_found:
            self._find(recipients)
        recipients.part(self._behind)
        message = _message(encoded)
        size = len(message)
        ready = recipients.ready
        self.pushed += len(ready) + len(recipients.rest)
        for socket in ready:
            try:
                sent = socket.send(message)
            except OSError as error:
                ready[socket].fail(message, error)
            else:
                if sent != size:
                    ready[socket].leave(message, sent)
        for eio_sid in recipients.rest:
            self._deliver(encoded, message, eio_sid, key)

    def _find(self, recipients: Recipients) -> None:
        outboxes: dict[Outbox, str] = {}
        others: list[str] = []
        for eio_sid in self._members("/", recipients.rooms).values():
            outbox = self._outboxes.get(eio_sid)
            if outbox is None:
                others.append(eio_sid)
            else:
                outboxes[outbox] = eio_sid
        recipients.fill(outboxes, others)
        self._found.add(recipients)

    def _forget(self) -> None:
        """Have every audience found anew: somebody has come or gone, or is reached in another way."""
        if not self._found:  # which is cheaper than to look at none
            return
        for recipients in self._found:
            recipients.forget()
        self._found.clear()

    def _members(self, namespace: str, rooms: Iterable[Any]) -> dict[str, str]:
        """Return Engine.IO's session of each connection in the rooms."""
        known = self.rooms.get(namespace, {}).get
        members: dict[str, str] = {}
        for room in rooms:
            found = known(room)
            if found is not None:
                members.update(found._fwdm)
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

    def _answer(self, encoded: str, message: bytes, eio_sid: str) -> None:
        outbox = self._outboxes.get(eio_sid)
        if outbox is None or outbox.queue.pending:
            self._queue(KeyedPacket(encoded, None), eio_sid)
        else:
            outbox.answer(message)

    def _queue(self, packet: KeyedPacket, eio_sid: str) -> None:
        socket = self.server.eio.sockets.get(eio_sid)
        if socket is not None and not socket.closing and not socket.closed:
            socket.queue.put_nowait(packet)

    def handler(self, base: type[Any]) -> type[Any]:
        """Return the request handler `base`, its websockets written to by us."""
        return type("Handler", (DirectWriteHandler, base), {"fanout": self})

    def attach(self, handler: Any, message: str | bytes) -> tuple[str | None, Outbox | None]:
        """Return a new wire for the websocket through which the library says its first `message` after an upgrade.

        That it speaks there tells which websocket is in use, also where a client has opened two for one session.
        """
        protocol = handler.ws_connection
        if message == "3probe" or protocol is None or protocol._compressor is not None or protocol.stream.closed():
            return None, None
        eio_sid = _session(message) or handler.get_query_argument("sid", None)
        socket = self.server.eio.sockets.get(eio_sid)
        if eio_sid is None or socket is None or not socket.upgraded or not isinstance(socket.queue, SendQueue):
            return None, None
        outbox = Outbox(socket.queue, protocol.stream, self._limit, self._busy, self._behind, self._cut)
        self._outboxes[eio_sid] = outbox
        self._forget()
        return eio_sid, outbox

    def detach(self, eio_sid: str | None, outbox: Outbox) -> None:
        """Forget the wire of a websocket that is closed."""
        outbox.end()
        self._behind.discard(outbox)
        if eio_sid is not None and self._outboxes.get(eio_sid) is outbox:
            del self._outboxes[eio_sid]
        self._forget()

    def _count_conflated(self) -> None:
        self.conflated += 1

    def _cut(self, outbox: Outbox, reason: str, told: str) -> None:
        self.closed[reason] += 1
        log.warning("closed a connection that does not read: %s", told)
        outbox.cut()

    async def sweep(self) -> None:
        """Close connections that are stuck, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            late = time.monotonic() - self._drain_s
            for outbox in [outbox for outbox in self._busy if outbox.stuck_since < late]:
                self._cut(outbox, STUCK, f"nothing has left for {self._drain_s:g} s, {outbox.unsent} bytes wait")

    # The library finds a connection's rooms by looking through all rooms there are: with one room for each
    # connection, a disconnect would cost more the more are connected.

    def basic_enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """See `socketio.base_manager.BaseManager`."""
        super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)
        self._rooms_of.setdefault((namespace, sid), set()).add(room)
        self._forget()

    def basic_leave_room(self, sid: str, namespace: str, room: Any) -> None:
        """See `socketio.base_manager.BaseManager`."""
        super().basic_leave_room(sid, namespace, room)
        self._rooms_of.get((namespace, sid), set()).discard(room)
        self._forget()

    def basic_disconnect(self, sid: str, namespace: str, **_: Any) -> None:
        """See `socketio.base_manager.BaseManager`."""
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
    """Return a Socket.IO packet as Engine.IO's message in a frame."""
    return frame(b"4" + encoded.encode())


class DirectWriteHandler(WebSocketHandler):
    """What a request handler does differently when its websocket is written to by a `Fanout`."""

    fanout: Fanout
    receive_queue: "asyncio.Queue[Any]"
    _outbox: Outbox | None = None
    _eio_sid: str | None = None
    _idle = False
    """The library has nothing of this websocket in hand, and waits for more."""

    def write_message(self, message: Any, binary: bool = False) -> Any:
        """Send what the library has to say, after what was pushed before it."""
        if self._outbox is None:
            self._eio_sid, self._outbox = self.fanout.attach(self, message)
        if self._outbox is None:
            return super().write_message(message, binary)
        if self.ws_connection is None or self.ws_connection.is_closing():
            raise WebSocketClosedError
        payload = message.encode() if isinstance(message, str) else message
        return self._outbox.put(frame(payload, BINARY if binary else TEXT))

    async def get_next_message(self) -> Any:
        """Wait for the next message: how the library says that it is through with the one before."""
        self._idle = self.receive_queue.empty()
        return await super().get_next_message()  # type: ignore[misc]

    def on_message(self, message: str | bytes) -> Any:
        """Take an event in at once: a queue, four tasks and a timer were half of what answering it cost."""
        # Without a wire the upgrade is not over, and the library may have earlier messages that came by polling.
        if self._idle and self._outbox is not None and isinstance(message, str) and message.startswith("42"):
            with suppress(ValueError):  # the library has its own way with what is malformed
                self.fanout.take_in(self._eio_sid, message[1:])
                return None
        self._idle = False
        return super().on_message(message)

    def on_ping(self, data: bytes) -> None:
        """Let Tornado's answer go first."""
        super().on_ping(data)
        if self._outbox is not None:
            self._outbox.yield_to_stream()

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close the websocket; nothing may be sent after that is said."""
        if self._outbox is not None:
            self._outbox.end()
        super().close(code, reason)

    def on_close(self) -> None:
        """Let go of the wire."""
        super().on_close()
        if self._outbox is not None:
            self.fanout.detach(self._eio_sid, self._outbox)


def _session(message: str | bytes) -> str | None:
    """Return the Engine.IO session that an OPEN packet announces."""
    if not isinstance(message, str) or not message.startswith("0"):
        return None
    found: str = msgspec.json.decode(message[1:])["sid"]
    return found
