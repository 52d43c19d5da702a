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


def frame(payload: bytes, kind: int = TEXT) -> bytes:
    """Return `payload` as one unmasked, final frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", kind, size) + payload
    if size < 65536:
        return struct.pack("!BBH", kind, 126, size) + payload
    return struct.pack("!BBQ", kind, 127, size) + payload


class Protocol13(Protocol):
    """Tornado's websocket protocol, as far as we need it."""

    server_terminated: bool


class Outbox(asyncio.Queue[Any]):
    """The library's queue of one connection, with a count of what is not yet handed to the transport.

    An empty queue does not say that everything before has been written: what was taken out may still be on its way.
    Packets with a `key` replace the one before with the same.
    """

    def __init__(self) -> None:
        self.pending = 0
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
        self._queue[key] = item
        self.pending += 1

    def _get(self) -> Any:
        return self._queue.pop(next(iter(self._queue)))

    def task_done(self) -> None:
        """Say that a packet which was taken out has been handed to the transport."""
        super().task_done()
        self.pending -= 1


class Wire:
    """The way to one browser. `cut` is called with the reason once more than `limit` bytes are unsent."""

    __slots__ = (
        "_busy",
        "_cut",
        "_limit",
        "_protocol",
        "_rest",
        "_send",
        "_stream",
        "_waiting",
        "queue",
        "stuck_since",
        "unsent",
    )

    def __init__(
        self,
        queue: Outbox,
        stream: IOStream,
        protocol: Protocol13,
        limit: int,
        busy: set["Wire"],
        cut: Callable[["Wire", str], None],
    ) -> None:
        self.queue = queue
        self.unsent = 0
        """Bytes that the kernel has not taken."""
        self.stuck_since = 0.0
        """While there are any: when a frame last left, by `time.monotonic`."""
        self._stream = stream
        self._protocol = protocol
        # A TLS stream has a state of its own between us and the socket.
        self._send = stream.socket.send if type(stream) is IOStream else None
        self._limit = limit
        self._busy = busy
        self._cut = cut
        self._rest = 0  # of `unsent`, what the stream has; the remainder is in `_waiting`
        self._waiting: dict[Hashable, bytes] = {}

    def put(self, frame: bytes, key: Hashable = None) -> None:
        """Send a frame after all that was put before; with a `key`, instead of one with the same that still waits."""
        if self._protocol.server_terminated:
            return
        if self._waiting or self._stream.writing():
            self._wait(frame, key)
        else:
            self._write(frame)

    def close(self) -> None:
        """Close at once, unsent bytes or not."""
        self._stream.close()

    def forget(self) -> None:
        """Let go of what was waiting: the connection is closed."""
        self._waiting.clear()
        self._busy.discard(self)

    def _write(self, frame: bytes) -> None:
        sent = 0
        if self._send is not None:
            try:
                sent = self._send(frame)
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
            if sent == len(frame):
                return
        self._hand_over(frame, sent)

    def _hand_over(self, frame: bytes, sent: int) -> None:
        """Let the stream write what of `frame` the kernel did not take."""
        try:
            written = self._stream.write(memoryview(frame)[sent:])
        except StreamClosedError:
            return
        if written.done():
            return
        self._rest = len(frame) - sent
        self._count(self._rest)
        written.add_done_callback(self._written)

    def _wait(self, frame: bytes, key: Hashable) -> None:
        if key is None:
            key = object()
        else:
            self.unsent -= len(self._waiting.pop(key, b""))
        self._waiting[key] = frame
        self._count(len(frame))
        if self._rest == 0:
            # The stream is busy with something that did not come by us: the handshake, a close.
            self._stream.write(b"").add_done_callback(self._written)
        if self.unsent > self._limit:
            self._cut(self, f"{self.unsent} bytes unsent")

    def _count(self, size: int) -> None:
        if self not in self._busy:
            self._busy.add(self)
            self.stuck_since = time.monotonic()
        self.unsent += size

    def _written(self, written: "asyncio.Future[None]") -> None:
        if written.cancelled() or written.exception() is not None:
            return
        self.unsent -= self._rest
        self._rest = 0
        self.stuck_since = time.monotonic()
        while self._waiting and not self._stream.writing():
            next_frame = self._waiting.pop(next(iter(self._waiting)))
            self.unsent -= len(next_frame)
            self._write(next_frame)
        if not self.unsent:
            self._busy.discard(self)
