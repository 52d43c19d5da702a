"""One websocket, written to directly: what is unsent waits here, and a newer picture takes an older one's place.

The library queues each message, wakes a task for it, and hands it to a stream that never says how much is unsent: 84 us
of CPU a message where the system call takes 5, and memory without end for a browser that stops reading.
"""

import asyncio
import struct
import time
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from tornado.iostream import IOStream, StreamClosedError

TEXT, BINARY = 0x81, 0x82
MOST_ASKED = 16_777_216
"""Bytes of answers that may wait for one browser: the largest twice, as an event and as an acknowledgement."""
UNSENT, STUCK = "unsent", "stuck"
"""Why a connection is closed: too much waits for it, or it has taken nothing for too long."""


def frame(payload: bytes, kind: int = TEXT) -> bytes:
    """Return `payload` as one unmasked, final frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", kind, size) + payload
    if size < 65536:
        return struct.pack("!BBH", kind, 126, size) + payload
    return struct.pack("!BBQ", kind, 127, size) + payload


class SendQueue(asyncio.Queue[Any]):
    """The library's queue of one connection, with a count of what is not yet handed to the transport.

    An empty queue does not say that everything before has been written: what was taken out may still be on its way.
    Packets with a `key` replace the one before with the same.
    """

    def __init__(self, conflated: Callable[[], None]) -> None:
        self.pending = 0
        self.changed: Callable[[], None] = _nothing
        """Called when something is pending, and when nothing is any more."""
        self.conflated = conflated
        """Called when something has taken the place of what is not sent."""
        super().__init__()

    # asyncio.Queue says that these three may be overridden; qsize() and empty() look at `_queue`.

    def _init(self, maxsize: int) -> None:
        self._queue: dict[Hashable, Any] = {}

    def _put(self, item: Any) -> None:
        key = getattr(item, "key", None)
        if key is None:
            key = object()
        elif self._queue.pop(key, None) is not None:
            self.task_done()
            self.conflated()
        self._queue[key] = item
        self.pending += 1
        if self.pending == 1:
            self.changed()

    def _get(self) -> Any:
        return self._queue.pop(next(iter(self._queue)))

    def task_done(self) -> None:
        """Say that a packet which was taken out has been handed to the transport."""
        super().task_done()
        self.pending -= 1
        if self.pending == 0:
            self.changed()


def _nothing() -> None:
    pass


class Sender(Protocol):
    """Something that takes bytes, such as a socket."""

    def send(self, message: bytes, /) -> int:
        """Return how many bytes it took; raises OSError, BlockingIOError where it takes none now."""


class Outbox:
    """The way to one browser. `cut` is called with `UNSENT` and what to log once more than `limit` bytes are unsent.

    What the browser itself has asked for does not count towards the limit, but for what exceeds `MOST_ASKED`.
    It keeps itself among the `busy` while bytes are unsent, and among those `behind` while anything at all must leave
    before the next frame.
    """

    __slots__ = (
        "_asked",
        "_behind",
        "_busy",
        "_closed",
        "_cut",
        "_limit",
        "_rest",
        "_stream",
        "_waiting",
        "queue",
        "socket",
        "stuck_since",
        "unsent",
    )

    def __init__(
        self,
        queue: SendQueue,
        stream: IOStream,
        limit: int,
        busy: set["Outbox"],
        behind: set["Outbox"],
        cut: Callable[["Outbox", str, str], None],
    ) -> None:
        self.queue = queue
        # A TLS stream has a state of its own between us and the socket.
        self.socket: Sender = stream.socket if type(stream) is IOStream else self
        """What frames are sent through. Others may, while the wire is not `behind`, and tell it what was not taken."""
        self.unsent = 0
        """Bytes that the kernel has not taken."""
        self.stuck_since = 0.0
        """While there are any: when a frame last left, by `time.monotonic`."""
        self._stream = stream
        self._limit = limit
        self._asked = 0  # bytes that it has asked for since nothing was unsent
        self._busy = busy
        self._behind = behind
        self._cut = cut
        self._closed = False
        self._rest = 0  # of `unsent`, what the stream has; the remainder is in `_waiting`
        self._waiting: dict[Hashable, bytes] = {}
        queue.changed = self.settle
        self.yield_to_stream()

    def settle(self) -> None:
        """Find out whether the next frame may leave at once."""
        if self._closed:
            return
        if self.queue.pending or self._waiting or self._rest:
            self._behind.add(self)
        else:
            self._behind.discard(self)

    def put(self, message: bytes, key: Hashable = None) -> None:
        """Send a frame after all that was put before; with a `key`, instead of one with the same that still waits."""
        if self._closed:
            return
        if self._waiting or self._rest:
            self._wait(message, key)
        else:
            self._try(message)

    def answer(self, message: bytes) -> None:
        """Send a frame that the browser has asked for."""
        self._asked = min(self._asked + len(message), MOST_ASKED)
        self.put(message)
        if not self.unsent:
            self._asked = 0

    def fail(self, message: bytes, error: OSError) -> None:
        """Take note that sending a frame raised `error`."""
        if isinstance(error, BlockingIOError):
            self.leave(message, 0)
        else:
            self.cut()

    def leave(self, message: bytes, sent: int) -> None:
        """Let the stream write what of a frame the kernel did not take."""
        self._rest = len(message) - sent
        self._count(self._rest)
        try:
            self._stream.write(memoryview(message)[sent:]).add_done_callback(self._written)
        except StreamClosedError:
            self.end()
        self.settle()

    def yield_to_stream(self) -> None:
        """Let something go first that the stream was given by others: the handshake, the answer to a ping."""
        if self._stream.writing() and not self._rest:
            self._rest = 1
            self._count(self._rest)
            self._stream.write(b"").add_done_callback(self._written)
        self.settle()

    def cut(self) -> None:
        """Close the connection at once, unsent bytes or not."""
        self.end()
        self._stream.close()

    def end(self) -> None:
        """Send nothing more: the connection is closed, or about to be. It stays among those behind until let go of."""
        if self._closed:
            return
        self._closed = True
        # Else each would keep the other, and the stream's 64 KiB, until the garbage is collected.
        self.queue.changed = _nothing
        self._waiting.clear()
        self._busy.discard(self)
        self._behind.add(self)

    def send(self, message: bytes, /) -> int:
        """Send a frame by way of the stream."""
        self._stream.write(message)
        self.yield_to_stream()
        return len(message)

    def _try(self, message: bytes) -> None:
        try:
            sent = self.socket.send(message)
        except OSError as error:
            self.fail(message, error)
        else:
            if sent != len(message):
                self.leave(message, sent)

    def _wait(self, message: bytes, key: Hashable) -> None:
        if key is None:
            key = object()
        elif (older := self._waiting.pop(key, None)) is not None:
            self.unsent -= len(older)
            self.queue.conflated()
        self._waiting[key] = message
        self._count(len(message))
        self.settle()
        if self.unsent > self._limit + self._asked:
            self._cut(self, UNSENT, f"{self.unsent} bytes are unsent")

    def _count(self, size: int) -> None:
        if self not in self._busy:
            self._busy.add(self)
            self.stuck_since = time.monotonic()
        self.unsent += size

    def _written(self, written: "asyncio.Future[None]") -> None:
        if written.cancelled() or written.exception() is not None or self._closed:
            return
        self.unsent -= self._rest
        self._rest = 0
        self.stuck_since = time.monotonic()
        while self._waiting and not self._rest:
            message = self._waiting.pop(next(iter(self._waiting)))
            self.unsent -= len(message)
            self._try(message)
        if not self.unsent:
            self._asked = 0
            self._busy.discard(self)
        self.settle()
