"""Engine.IO's sessions, and the server that keeps them."""

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

log = logging.getLogger("transport")

GOODBYE_S = 2.0
"""How long a session that is over waits for the poll that is on its way."""
UPGRADE_S = 10.0
"""How long the change from polling to a websocket may take."""


class Websocket(Protocol):
    """What a session needs of one."""

    def write_message(self, message: str | bytes, binary: bool = False) -> Any:
        """Send a message."""

    def close(self) -> None:
        """Close it."""


class Session(BaseSocket):  # type: ignore[misc]
    """An Engine.IO session: what is sent waits in `queue` for the next poll, or goes to the `websocket`."""

    server: "Engine"
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
    """The websocket that it is changing to."""
    posting = False
    """A POST is being read."""
    joined = False
    """It is in a namespace."""
    has_joined = False
    """It is in a namespace, or was."""
    is_polled = False
    """A poll waits for what there is to send."""
    _pump: "asyncio.Task[None] | None" = None
    _token_bucket: TokenBucket | None = None

    def limit(self, rate_limit: RateLimit) -> None:
        """Have `admits` follow a pace from now on."""
        self._token_bucket = TokenBucket(rate_limit, time.monotonic())

    def admits(self) -> bool:
        """Return whether the client may send one more packet."""
        if self._token_bucket is None or self._token_bucket.take(time.monotonic()) >= 0:
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
            return  # it takes them all, and then flushes
        while self.websocket is not None and not self.queue.empty():
            self._write(self.queue.get_nowait())

    def _write(self, packet: Packet) -> None:
        try:
            if self.websocket is not None:
                data = packet.data if packet.binary else packet.encode()
                self.websocket.write_message(data, binary=packet.binary)
        except (WebSocketClosedError, StreamClosedError):
            pass  # its `on_close` is on the way
        finally:
            self.queue.task_done()

    async def poll(self) -> list[Packet]:
        """Wait until there is something to send, and take it all; raises ValueError where a poll waits already."""
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
                self.begin_websocket()
        if self.closing and packets[-1].packet_type in (CLOSE, NOOP):
            self.end()
        return packets

    def probe(self, message: str | bytes) -> None:
        """Take a message of the websocket that we are changing to; raises ValueError."""
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
                self.begin_websocket()
        else:
            raise ValueError("no packet of an upgrade")

    def stop_probing(self) -> None:
        """Stay with polling."""
        self.server.upgrades.discard(self)
        websocket, self.probing = self.probing, None
        self.upgrading = False
        if websocket is not None:
            websocket.close()

    def begin_websocket(self) -> None:
        """Have all that waits, and all that others put into the queue, sent by the websocket."""
        self._flush()
        if self._pump is None and not self.closing:
            self._pump = asyncio.create_task(self._write_on())

    async def _write_on(self) -> None:
        while True:
            self._write(await self.queue.get())

    async def receive(self, packet: Packet) -> None:
        """Take a packet of the client."""
        if packet.packet_type == MESSAGE:
            await self.server.trigger("message", self.sid, packet.data)
        elif packet.packet_type == PONG:
            self.server.pong(self)
        elif packet.packet_type == CLOSE:
            await self.close(abort=True, reason=self.server.reason.CLIENT_DISCONNECT)

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """End the session; without `abort`, the client is told first."""
        if self.closing:
            return
        self.closing = True
        left = reason == self.server.reason.CLIENT_DISCONNECT
        self.server.settle(self)
        await self.server.trigger("disconnect", self.sid, reason or self.server.reason.SERVER_DISCONNECT)
        if self.closed:
            return
        if self.websocket is not None:
            if not abort:
                self.put(Packet(CLOSE))
            self.end()
        elif not abort or left:
            # Gone now, it would be unknown to the poll that is just on its way, and the goodbye with it.
            self.server.goodbyes.add(self)
            self.queue.put_nowait(Packet(NOOP if left else CLOSE))
        else:
            if self.is_polled:
                self.queue.put_nowait(Packet(CLOSE))
            self.end()

    def end(self) -> None:
        """Let go of it."""
        if self.closed:
            return
        self.closed = True
        self.server.forget(self)
        self.stop_probing()
        if self._pump is not None:
            self._pump.cancel()
        if self.websocket is not None:
            self.websocket.close()
            self.websocket = None  # which keeps the session: neither should have to wait for the garbage collector


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """An Engine.IO server with sessions of ours."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.stopping = False
        self.rate_limit: RateLimit | None = None
        """How many packets a client may send; None: as many as it likes."""
        self.addresses: Counter[str] = Counter()
        """Sessions by the client's address."""
        self.refusals: Counter[str] = Counter()
        """Requests and clients that were refused or closed, by one of `requests.REASONS`."""
        self.websockets: set[Websocket] = set()
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself does not hold on to them
        self._pings: Deadlines[Session] = Deadlines(self.ping_interval, self._ping)
        self._pongs: Deadlines[Session] = Deadlines(self.ping_timeout, self._lose)
        self.goodbyes: Deadlines[Session] = Deadlines(GOODBYE_S, lambda session, _: session.end())
        self.upgrades: Deadlines[Session] = Deadlines(UPGRADE_S, lambda session, _: session.stop_probing())

    def find(self, sid: str) -> Session | None:
        """Return the session that a client names."""
        session: Session | None = self.sockets.get(sid)
        if session is not None and self._pongs.is_late(session):
            self._pongs.discard(session)
            self._lose(session, 0)
            return None
        return session

    async def open(self, handler: Any) -> Session | None:
        """Begin a session; None where it is refused."""
        session = Session(self, self.generate_id())
        session.address = handler.request.remote_ip or ""
        if self.rate_limit is not None:
            session.limit(self.rate_limit)
        self.sockets[session.sid] = session
        self.addresses[session.address] += 1
        accepted = await self.trigger("connect", session.sid, Environ(handler))
        if session.closing:
            return None
        if accepted is not None and accepted is not True:
            self.settle(session)
            self.forget(session)
            return None
        session.connected = True
        self._pings.add(session)
        return session

    def greeting(self, session: Session) -> Packet:
        """Return the packet that a session begins with."""
        by_polling = session.websocket is None and self.allow_upgrades and "websocket" in self.transports
        told = {
            "sid": session.sid,
            "upgrades": ["websocket"] if by_polling else [],
            "pingTimeout": round(self.ping_timeout * 1000),
            "pingInterval": round((self.ping_interval + self.ping_interval_grace_period) * 1000),
            "maxPayload": self.max_http_buffer_size,
        }
        return Packet(OPEN, msgspec.json.encode(told).decode())

    def _ping(self, session: Session, due: float) -> None:
        self._pongs.add(session, due)
        session.put(Packet(PING))

    def pong(self, session: Session) -> None:
        """Take the answer to a ping."""
        if not session.closing:
            self._pongs.discard(session)
            self._pings.add(session)

    def _lose(self, session: Session, _: float) -> None:
        gone = session.websocket is None  # and its polls with it
        self.start(session.close(abort=gone, reason=self.reason.PING_TIMEOUT))

    def start(self, work: Awaitable[None]) -> None:
        """Do something in the background."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def trigger(self, event: str, *arguments: Any) -> Any:
        """Return what the handler of `connect`, `message` or `disconnect` does; False where it fails."""
        handler = self.handlers.get(event)
        if handler is None:
            return None
        try:
            result = handler(*arguments)
            return await result if inspect.isawaitable(result) else result
        except Exception:
            log.exception("the %s handler failed", event)
            return False

    def settle(self, session: Session) -> None:
        """Expect nothing more of a session."""
        self._pings.discard(session)
        self._pongs.discard(session)
        self.addresses[session.address] -= 1
        if not self.addresses[session.address]:
            del self.addresses[session.address]

    def forget(self, session: Session) -> None:
        """Forget a session."""
        self.goodbyes.discard(session)
        self.sockets.pop(session.sid, None)

    async def disconnect(self, sid: str | None = None) -> None:
        """Close the session of a client, or of all."""
        for session in list(self.sockets.values()) if sid is None else [self.sockets.get(sid)]:
            if session is not None:
                await session.close(reason=self.reason.SERVER_DISCONNECT)

    async def shutdown(self) -> None:
        """Stop all timers."""
        for deadlines in (self._pings, self._pongs, self.goodbyes, self.upgrades):
            deadlines.stop()
        await super().shutdown()
