"""Engine.IO sessions, and the Engine.IO server that manages them."""

import asyncio
import inspect
import logging
import time
from collections import Counter
from collections.abc import Awaitable
from typing import Any, Protocol

import engineio
import msgspec
from engineio.base_socket import BaseSocket
from engineio.packet import CLOSE, MESSAGE, NOOP, OPEN, PING, PONG, Packet
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError

from transport.deadlines import Deadlines
from transport.environ import Environ
from transport.rate_limit import RateLimit, TokenBucket

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 2.0
"""Time in seconds for which a closed polling session is kept, so that a poll on its way still gets an answer."""
UPGRADE_TIMEOUT_S = 10.0
"""Time limit in seconds for the upgrade from polling to a websocket."""
GOING_AWAY = 1001
"""Websocket close code of a server that stops (RFC 6455, section 7.4.1)."""
END_OF_TRANSPORT = Packet(CLOSE)
"""The last item in the queue of a polling session whose transport ends. It is never sent."""


class Websocket(Protocol):
    """The methods of a websocket that a session needs."""

    @property
    def is_sending(self) -> bool:
        """Whether the kernel has not accepted all messages yet."""

    def write_message(self, message: str | bytes, binary: bool = False) -> Any:
        """Send a message."""

    def close(self, code: int | None = None) -> None:
        """Close the websocket with a close code."""


class Session(BaseSocket):  # type: ignore[misc]
    """An Engine.IO session. Its packets wait in `queue` for the next poll, or go to `websocket` if there is one."""

    server: "EngineServer"
    sid: str
    queue: "asyncio.Queue[Any]"
    connected: bool
    upgrading: bool
    upgraded: bool
    closing: bool
    closed: bool
    address = ""
    websocket: Websocket | None = None
    probing: Websocket | None = None
    """The websocket to which the session is being upgraded. None if no upgrade is in progress."""
    posting = False
    """Whether the server is reading the body of a POST request of this session."""
    joined = False
    """Whether the client of this session is in a Socket.IO namespace."""
    has_joined = False
    """Whether the client of this session is, or was earlier, in a Socket.IO namespace."""
    is_polled = False
    """Whether a poll of the client is waiting for packets."""
    unanswered = 0
    """Number of events of this client that the server is handling."""
    _writer: "asyncio.Task[None] | None" = None
    _token_bucket: TokenBucket | None = None

    def set_rate_limit(self, rate_limit: RateLimit) -> None:
        """Make `admits` enforce this rate limit."""
        self._token_bucket = TokenBucket(rate_limit, time.monotonic())

    def admits(self) -> bool:
        """Count one packet from the client and return whether it is within the rate limit."""
        if self._token_bucket is None or self._token_bucket.consume(time.monotonic()) >= 0:
            return True
        log.info("%s exceeded the packet rate limit", self.sid)
        return False

    async def send(self, packet: Packet) -> None:
        """Send a packet, unless the session is closing."""
        if not self.closing:
            self.put(packet)

    def put(self, packet: Packet) -> None:
        """Send a packet, even if the session is closing."""
        self.queue.put_nowait(packet)
        self._flush()

    def _flush(self) -> None:
        if self.is_polled:
            return  # the waiting poll sends all queued packets
        while self.websocket is not None and not self.queue.empty():
            self._write(self.queue.get_nowait())

    def _write(self, packet: Packet) -> None:
        try:
            if self.websocket is not None:
                data = packet.data if packet.binary else packet.encode()
                self.websocket.write_message(data, binary=packet.binary)
        except (WebSocketClosedError, StreamClosedError):
            pass  # the websocket's `on_close` is called next
        finally:
            self.queue.task_done()

    async def poll(self) -> list[Packet]:
        """Wait for packets and return all of them. Return none if the transport ends.

        Raise ValueError if another poll waits or the session is closed.
        """
        if self.upgrading:
            return [Packet(NOOP)]
        if self.is_polled or self.closed:
            raise ValueError("a second poll while one is waiting, or a poll of a closed session")
        self.is_polled = True
        packets = []
        try:
            packets.append(await self.queue.get())
            while not self.queue.empty():
                packets.append(self.queue.get_nowait())
        finally:
            for _ in packets:
                self.queue.task_done()
            self.is_polled = False
            if self.upgraded:
                self.start_writer()
        if self.closing and packets[-1].packet_type in (CLOSE, NOOP):
            self.end()
        return packets if packets[-1] is not END_OF_TRANSPORT else packets[:-1]

    def probe(self, message: str | bytes) -> None:
        """Handle a message on `probing`, the websocket to which the session is being upgraded.

        Raise ValueError if the message is not part of an upgrade.
        """
        websocket = self.probing
        assert websocket is not None  # noqa: S101 - called only for messages of `probing`
        if message == "2probe" and not self.upgrading:
            self.upgrading = True
            websocket.write_message("3probe")
            if self.is_polled:
                self.queue.put_nowait(Packet(NOOP))
        elif message == "5" and self.upgrading:
            self.server.upgrades.discard(self)
            self.probing, self.websocket = None, websocket
            self.upgrading, self.upgraded = False, True
            if not self.is_polled:
                self.start_writer()
        else:
            raise ValueError("not a packet of an upgrade")

    def stop_probing(self) -> None:
        """Cancel the upgrade to a websocket. The session continues with polling."""
        self.server.upgrades.discard(self)
        websocket, self.probing = self.probing, None
        self.upgrading = False
        if websocket is not None:
            websocket.close()

    def start_writer(self) -> None:
        """Send the queued packets over the websocket, and start a task that sends packets that are queued later."""
        self._flush()
        if self._writer is None and not self.closing:
            self._writer = asyncio.create_task(self._write_queue())

    async def _write_queue(self) -> None:
        while True:
            self._write(await self.queue.get())

    async def receive(self, packet: Packet) -> None:
        """Handle a packet from the client."""
        if packet.packet_type == MESSAGE:
            await self.server.trigger("message", self.sid, packet.data)
        elif packet.packet_type == PONG:
            self.server.pong(self)
        elif packet.packet_type == CLOSE:
            await self.close(abort=True, reason=self.server.reason.CLIENT_DISCONNECT)

    @property
    def is_idle(self) -> bool:
        """Whether no answer is due, no bytes are unsent and no upgrade is in progress."""
        is_sending = self.websocket is not None and self.websocket.is_sending
        return not (self.unanswered or is_sending or self.probing is not None)

    async def end_transport(self, reason: str, code: int | None = None) -> None:
        """Close the session by ending its transport, so that the client reconnects.

        Send no close packet: python-socketio's clients do not reconnect after one. Queued packets are still sent. A
        websocket is closed with `code`.
        """
        if not await self._start_closing(reason):
            return
        if self.websocket is not None:
            self._flush()
            self.end(code)
        else:
            # Keep the session for a moment, so that the next poll gets the queued packets.
            self.server.closing_sessions.add(self)
            self.queue.put_nowait(END_OF_TRANSPORT)

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """Close the session. Without `abort`, send the client a close packet first."""
        client_left = reason == self.server.reason.CLIENT_DISCONNECT
        if not await self._start_closing(reason or self.server.reason.SERVER_DISCONNECT):
            return
        if self.websocket is not None:
            if not abort:
                self.put(Packet(CLOSE))
            self.end()
        elif not abort or client_left:
            # Keep the session for a moment, so that a poll that is already on its way still gets an answer.
            self.server.closing_sessions.add(self)
            self.queue.put_nowait(Packet(NOOP if client_left else CLOSE))
        else:
            if self.is_polled:
                self.queue.put_nowait(Packet(CLOSE))
            self.end()

    async def _start_closing(self, reason: str) -> bool:
        """Mark the session as closing, and call the disconnect handler. Return whether the transport is still open."""
        if self.closing:
            return False
        self.closing = True
        self.server.release(self)
        await self.server.trigger("disconnect", self.sid, reason)
        return not self.closed

    def end(self, code: int | None = None) -> None:
        """Remove the session from the server, and close its websocket with a close code."""
        if self.closed:
            return
        self.closed = True
        self.server.remove(self)
        self.stop_probing()
        if self._writer is not None:
            self._writer.cancel()
        if self.websocket is not None:
            self.websocket.close(code)
            self.websocket = None  # break the reference cycle: otherwise only the garbage collector frees both objects


class EngineServer(engineio.AsyncServer):  # type: ignore[misc]
    """An Engine.IO server with sessions of class `Session`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.stopping = False
        self.rate_limit: RateLimit | None = None
        """Rate limit for the packets of each client, or None for no limit."""
        self.addresses: Counter[str] = Counter()
        """Number of sessions, keyed by client address."""
        self.rejections: Counter[str] = Counter()
        """Number of rejected requests and closed clients, keyed by reason (see `requests.REASONS`)."""
        self.websockets: set[Websocket] = set()
        self._tasks: set[asyncio.Task[None]] = set()  # keeps tasks alive: the event loop holds only weak references
        self._pings: Deadlines[Session] = Deadlines(self.ping_interval, self._ping)
        self._pongs: Deadlines[Session] = Deadlines(self.ping_timeout, self._close_unresponsive)
        self.closing_sessions: Deadlines[Session] = Deadlines(CLOSE_TIMEOUT_S, lambda session, _: session.end())
        self.upgrades: Deadlines[Session] = Deadlines(UPGRADE_TIMEOUT_S, lambda session, _: session.stop_probing())

    def find(self, sid: str) -> Session | None:
        """Return the session with this id, or None if there is none.

        If the client has not answered the last ping in time, close the session and return None.
        """
        session: Session | None = self.sockets.get(sid)
        if session is not None and self._pongs.is_expired(session):
            self._pongs.discard(session)
            self._close_unresponsive(session, 0)
            return None
        return session

    async def open(self, handler: Any) -> Session | None:
        """Open a session and return it.

        Return None if the connect handler rejects the session or if the session closes meanwhile.
        """
        session = Session(self, self.generate_id())
        session.address = handler.request.remote_ip or ""
        if self.rate_limit is not None:
            session.set_rate_limit(self.rate_limit)
        self.sockets[session.sid] = session
        self.addresses[session.address] += 1
        accepted = await self.trigger("connect", session.sid, Environ(handler))
        if session.closing:
            return None
        if accepted is not None and accepted is not True:
            self.release(session)
            self.remove(session)
            return None
        session.connected = True
        self._pings.add(session)
        return session

    def open_packet(self, session: Session) -> Packet:
        """Return the OPEN packet of a session."""
        by_polling = session.websocket is None and self.allow_upgrades and "websocket" in self.transports
        handshake = {
            "sid": session.sid,
            "upgrades": ["websocket"] if by_polling else [],
            "pingTimeout": round(self.ping_timeout * 1000),
            "pingInterval": round((self.ping_interval + self.ping_interval_grace_period) * 1000),
            "maxPayload": self.max_http_buffer_size,
        }
        return Packet(OPEN, msgspec.json.encode(handshake).decode())

    def _ping(self, session: Session, due: float) -> None:
        self._pongs.add(session, due)
        session.put(Packet(PING))

    def pong(self, session: Session) -> None:
        """Handle a client's answer to a ping."""
        if not session.closing:
            self._pongs.discard(session)
            self._pings.add(session)

    def _close_unresponsive(self, session: Session, _: float) -> None:
        # The client may only be slow, or its computer may be asleep. It must reconnect as soon as it can.
        self.run_in_background(session.end_transport(self.reason.PING_TIMEOUT))

    def run_in_background(self, work: Awaitable[None]) -> None:
        """Run `work` in a new task."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def trigger(self, event: str, *arguments: Any) -> Any:
        """Call the event handler of `connect`, `message` or `disconnect`. Return its result, or False if it fails."""
        handler = self.handlers.get(event)
        if handler is None:
            return None
        try:
            result = handler(*arguments)
            return await result if inspect.isawaitable(result) else result
        except Exception:
            log.exception("the %s handler failed", event)
            return False

    def release(self, session: Session) -> None:
        """Stop the ping timers of a session, and decrease the number of sessions of the client's address."""
        self._pings.discard(session)
        self._pongs.discard(session)
        self.addresses[session.address] -= 1
        if not self.addresses[session.address]:
            del self.addresses[session.address]

    def remove(self, session: Session) -> None:
        """Remove a session from the server."""
        self.closing_sessions.discard(session)
        self.sockets.pop(session.sid, None)

    async def disconnect(self, sid: str | None = None) -> None:
        """Close the session with the id `sid`, or all sessions if `sid` is None."""
        for session in list(self.sockets.values()) if sid is None else [self.sockets.get(sid)]:
            if session is not None:
                await session.close(reason=self.reason.SERVER_DISCONNECT)

    async def shutdown(self) -> None:
        """Stop all timers."""
        for deadlines in (self._pings, self._pongs, self.closing_sessions, self.upgrades):
            deadlines.stop()
        await super().shutdown()
