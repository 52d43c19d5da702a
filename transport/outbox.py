"""One websocket, written to directly: unsent messages wait here, and a newer one may replace an older one.

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
MAX_ANSWER_BYTES = 16_777_216
"""Answers that may wait for one browser: the largest twice, as an event and as an acknowledgement."""
UNSENT, STUCK = "unsent", "stuck"
"""Why a connection is closed: too much waits for it, or it has accepted nothing for too long."""


def frame(payload: bytes, kind: int = TEXT) -> bytes:
    """Return `payload` as one unmasked, final frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", kind, size) + payload
    if size < 65536:
        return struct.pack("!BBH", kind, 126, size) + payload
    return struct.pack("!BBQ", kind, 127, size) + payload


class SendQueue(asyncio.Queue[Any]):
    """The library's queue of one connection, with a count of the packets not yet handed to the transport.

    An empty queue does not mean that everything has been written: a packet that was removed may still be on its way.
    A packet with a `key` replaces an earlier one with the same key.
    """

    def __init__(self, on_coalesced: Callable[[], None]) -> None:
        self.pending = 0
        self.changed: Callable[[], None] = _nothing
        """Called when something becomes pending, and when nothing is pending any more."""
        self.on_coalesced = on_coalesced
        """Called when a message has replaced an unsent one."""
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
            self.on_coalesced()
        self._queue[key] = item
        self.pending += 1
        if self.pending == 1:
            self.changed()

    def _get(self) -> Any:
        return self._queue.pop(next(iter(self._queue)))

    def task_done(self) -> None:
        """Count a removed packet as handed to the transport."""
        super().task_done()
        self.pending -= 1
        if self.pending == 0:
            self.changed()


def _nothing() -> None:
    pass


class Sender(Protocol):
    """Something that bytes can be sent through, such as a socket."""

    def send(self, message: bytes, /) -> int:
        """Return how many bytes were accepted; raises OSError, and BlockingIOError if none can be accepted now."""


class Outbox:
    """Sends frames to one browser. `close_slow` is called with `UNSENT` and a log text above `limit` unsent bytes.

    Answers to the browser's own requests do not count towards the limit, up to `MAX_ANSWER_BYTES`.
    An outbox is in the set `busy` while bytes are unsent, and in `behind` while anything must be written before the
    next frame.
    """

    __slots__ = (
        "_answer_bytes",
        "_behind",
        "_busy",
        "_close_slow",
        "_closed",
        "_limit",
        "_stream",
        "_stream_bytes",
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
        close_slow: Callable[["Outbox", str, str], None],
    ) -> None:
        self.queue = queue
        # A TLS stream has a state of its own between us and the socket.
        self.socket: Sender = stream.socket if type(stream) is IOStream else self
        """Sends frames. Others may use it while the outbox is not `behind`, and report what was not accepted."""
        self.unsent = 0
        """Bytes that the kernel has not accepted."""
        self.stuck_since = 0.0
        """While there are any: when a frame last left, by `time.monotonic`."""
        self._stream = stream
        self._limit = limit
        self._answer_bytes = 0  # of answers, since nothing was unsent
        self._busy = busy
        self._behind = behind
        self._close_slow = close_slow
        self._closed = False
        self._stream_bytes = 0  # the part of `unsent` that the stream holds; the rest is in `_waiting`
        self._waiting: dict[Hashable, bytes] = {}
        queue.changed = self.update_behind
        self.yield_to_stream()

    def update_behind(self) -> None:
        """Enter or leave `behind`: may the next frame be sent at once?"""
        if self._closed:
            return
        if self.queue.pending or self._waiting or self._stream_bytes:
            self._behind.add(self)
        else:
            self._behind.discard(self)

    def put(self, message: bytes, key: Hashable = None) -> None:
        """Send a frame after all earlier ones; with a `key`, it replaces one with the same key that still waits."""
        if self._closed:
            return
        if self._waiting or self._stream_bytes:
            self._enqueue(message, key)
        else:
            self._send_now(message)

    def put_answer(self, message: bytes) -> None:
        """Send a frame that answers the browser's own request."""
        self._answer_bytes = min(self._answer_bytes + len(message), MAX_ANSWER_BYTES)
        self.put(message)
        if not self.unsent:
            self._answer_bytes = 0

    def handle_error(self, message: bytes, error: OSError) -> None:
        """React to `error`, which sending a frame through `socket` raised."""
        if isinstance(error, BlockingIOError):
            self.write_rest(message, 0)
        else:
            self.abort()

    def write_rest(self, message: bytes, sent: int) -> None:
        """Have the stream write the bytes of a frame after the first `sent`, which the kernel accepted."""
        self._stream_bytes = len(message) - sent
        self._count(self._stream_bytes)
        try:
            self._stream.write(memoryview(message)[sent:]).add_done_callback(self._on_written)
        except StreamClosedError:
            self.end()
        self.update_behind()

    def yield_to_stream(self) -> None:
        """Wait for what others have written to the stream: the handshake, or the answer to a ping."""
        if self._stream.writing() and not self._stream_bytes:
            self._stream_bytes = 1
            self._count(self._stream_bytes)
            self._stream.write(b"").add_done_callback(self._on_written)
        self.update_behind()

    def abort(self) -> None:
        """Close the connection at once, and drop unsent bytes."""
        self.end()
        self._stream.close()

    def end(self) -> None:
        """Send nothing more: the connection is closed, or about to be. The owner removes the outbox from `behind`."""
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

    def _send_now(self, message: bytes) -> None:
        try:
            sent = self.socket.send(message)
        except OSError as error:
            self.handle_error(message, error)
        else:
            if sent != len(message):
                self.write_rest(message, sent)

    def _enqueue(self, message: bytes, key: Hashable) -> None:
        if key is None:
            key = object()
        elif (older := self._waiting.pop(key, None)) is not None:
            self.unsent -= len(older)
            self.queue.on_coalesced()
        self._waiting[key] = message
        self._count(len(message))
        self.update_behind()
        if self.unsent > self._limit + self._answer_bytes:
            self._close_slow(self, UNSENT, f"{self.unsent} bytes are unsent")

    def _count(self, size: int) -> None:
        if self not in self._busy:
            self._busy.add(self)
            self.stuck_since = time.monotonic()
        self.unsent += size

    def _on_written(self, written: "asyncio.Future[None]") -> None:
        if written.cancelled() or written.exception() is not None or self._closed:
            return
        self.unsent -= self._stream_bytes
        self._stream_bytes = 0
        self.stuck_since = time.monotonic()
        while self._waiting and not self._stream_bytes:
            message = self._waiting.pop(next(iter(self._waiting)))
            self.unsent -= len(message)
            self._send_now(message)
        if not self.unsent:
            self._answer_bytes = 0
            self._busy.discard(self)
        self.update_behind()
