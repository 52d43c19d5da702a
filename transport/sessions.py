"""Engine.IO's sessions, and the server that holds them."""

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
"""How long a closed polling session waits for one more poll, to answer it with the close packet."""
UPGRADE_TIMEOUT_S = 10.0
"""How long the change from polling to a websocket may take."""


class Websocket(Protocol):
    """The methods of a websocket that a session needs."""

    def write_message(self, message: str | bytes, binary: bool = False) -> Any:
        """Send a message."""

    def close(self) -> None:
        """Close it."""


class Session(BaseSocket):  # type: ignore[misc]
    """An Engine.IO session: what is sent waits in `queue` for the next poll, or goes to the `websocket`."""

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
    """The websocket that it is upgrading to."""
    posting = False
    """A POST is being read."""
    joined = False
    """It is in a namespace."""
    has_joined = False
    """It is in a namespace, or was."""
    is_polled = False
    """A poll waits for packets."""
    _writer: "asyncio.Task[None] | None" = None
    _token_bucket: TokenBucket | None = None

    def set_rate_limit(self, rate_limit: RateLimit) -> None:
        """Have `admits` enforce a rate limit from now on."""
        self._token_bucket = TokenBucket(rate_limit, time.monotonic())

    def admits(self) -> bool:
        """Return whether the client may send one more packet."""
        if self._token_bucket is None or self._token_bucket.consume(time.monotonic()) >= 0:
            return True
        log.info("%s sent far too many packets", self.sid)
        return False

    async def send(self, packet: Packet) -> None:
        """Send a packet."""
        if not self.closing:
            self.put(packet)

    def put(self, packet: Packet) -> None:
        """Send a packet, also when we are about to close."""
        self.queue.put_nowait(packet)
        self._flush()

    def _flush(self) -> None:
        if self.is_polled:
            return  # the poll sends all packets, and then flushes
        while self.websocket is not None and not self.queue.empty():
            self._write(self.queue.get_nowait())

    def _write(self, packet: Packet) -> None:
        try:
            if self.websocket is not None:
                data = packet.data if packet.binary else packet.encode()
                self.websocket.write_message(data, binary=packet.binary)
        except (WebSocketClosedError, StreamClosedError):
            pass  # its `on_close` follows
        finally:
            self.queue.task_done()

    async def poll(self) -> list[Packet]:
        """Wait for packets and return all of them; raises ValueError where a poll waits already."""
        if self.upgrading:
            return [Packet(NOOP)]
        if self.is_polled or self.closed:
            raise ValueError("a poll too many")
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
        return packets

    def probe(self, message: str | bytes) -> None:
        """Handle a message of the websocket that the session is upgrading to; raises ValueError."""
        websocket = self.probing
        assert websocket is not None  # noqa: S101 - its own messages bring us here
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
            raise ValueError("no packet of an upgrade")

    def stop_probing(self) -> None:
        """Break off the upgrade and stay with polling."""
        self.server.upgrades.discard(self)
        websocket, self.probing = self.probing, None
        self.upgrading = False
        if websocket is not None:
            websocket.close()

    def start_writer(self) -> None:
        """Send what waits by the websocket, and from now on also what others put into the queue."""
        self._flush()
        if self._writer is None and not self.closing:
            self._writer = asyncio.create_task(self._write_queue())

    async def _write_queue(self) -> None:
        while True:
            self._write(await self.queue.get())

    async def receive(self, packet: Packet) -> None:
        """Handle a packet of the client."""
        if packet.packet_type == MESSAGE:
            await self.server.trigger("message", self.sid, packet.data)
        elif packet.packet_type == PONG:
            self.server.pong(self)
        elif packet.packet_type == CLOSE:
            await self.close(abort=True, reason=self.server.reason.CLIENT_DISCONNECT)

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """Close the session; without `abort`, tell the client first."""
        if self.closing:
            return
        self.closing = True
        client_left = reason == self.server.reason.CLIENT_DISCONNECT
        self.server.release(self)
        await self.server.trigger("disconnect", self.sid, reason or self.server.reason.SERVER_DISCONNECT)
        if self.closed:
            return
        if self.websocket is not None:
            if not abort:
                self.put(Packet(CLOSE))
            self.end()
        elif not abort or client_left:
            # Removed now, it would be unknown to a poll that is just arriving, which then could not be answered.
            self.server.closing_sessions.add(self)
            self.queue.put_nowait(Packet(NOOP if client_left else CLOSE))
        else:
            if self.is_polled:
                self.queue.put_nowait(Packet(CLOSE))
            self.end()

    def end(self) -> None:
        """Remove the session from the server and close its websocket."""
        if self.closed:
            return
        self.closed = True
        self.server.remove(self)
        self.stop_probing()
        if self._writer is not None:
            self._writer.cancel()
        if self.websocket is not None:
            self.websocket.close()
            self.websocket = None  # it refers to the session: neither should have to wait for the garbage collector


class EngineServer(engineio.AsyncServer):  # type: ignore[misc]
    """An Engine.IO server with sessions of class `Session`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.stopping = False
        self.rate_limit: RateLimit | None = None
        """How many packets a client may send; None for no limit."""
        self.addresses: Counter[str] = Counter()
        """Sessions by the client's address."""
        self.rejections: Counter[str] = Counter()
        """Requests that were rejected and clients that were closed, by one of `requests.REASONS`."""
        self.websockets: set[Websocket] = set()
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself does not hold on to them
        self._pings: Deadlines[Session] = Deadlines(self.ping_interval, self._ping)
        self._pongs: Deadlines[Session] = Deadlines(self.ping_timeout, self._close_unresponsive)
        self.closing_sessions: Deadlines[Session] = Deadlines(CLOSE_TIMEOUT_S, lambda session, _: session.end())
        self.upgrades: Deadlines[Session] = Deadlines(UPGRADE_TIMEOUT_S, lambda session, _: session.stop_probing())

    def find(self, sid: str) -> Session | None:
        """Return the session with this id, unless it has not answered a ping in time."""
        session: Session | None = self.sockets.get(sid)
        if session is not None and self._pongs.is_expired(session):
            self._pongs.discard(session)
            self._close_unresponsive(session, 0)
            return None
        return session

    async def open(self, handler: Any) -> Session | None:
        """Open a session; None where the connect handler rejects it."""
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
        """Return the first packet of a session."""
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
        """Handle the answer to a ping."""
        if not session.closing:
            self._pongs.discard(session)
            self._pings.add(session)

    def _close_unresponsive(self, session: Session, _: float) -> None:
        is_polling = session.websocket is None  # then nobody is there to be told
        self.run_in_background(session.close(abort=is_polling, reason=self.reason.PING_TIMEOUT))

    def run_in_background(self, work: Awaitable[None]) -> None:
        """Run `work` in a task of its own."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def trigger(self, event: str, *arguments: Any) -> Any:
        """Return the result of the handler of `connect`, `message` or `disconnect`; False where it fails."""
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
        """Stop the timers of a session, and count it no more for its address."""
        self._pings.discard(session)
        self._pongs.discard(session)
        self.addresses[session.address] -= 1
        if not self.addresses[session.address]:
            del self.addresses[session.address]

    def remove(self, session: Session) -> None:
        """Remove a session."""
        self.closing_sessions.discard(session)
        self.sockets.pop(session.sid, None)

    async def disconnect(self, sid: str | None = None) -> None:
        """Close the session of a client, or of all."""
        for session in list(self.sockets.values()) if sid is None else [self.sockets.get(sid)]:
            if session is not None:
                await session.close(reason=self.reason.SERVER_DISCONNECT)

    async def shutdown(self) -> None:
        """Stop all timers."""
        for deadlines in (self._pings, self._pongs, self.closing_sessions, self.upgrades):
            deadlines.stop()
        await super().shutdown()
