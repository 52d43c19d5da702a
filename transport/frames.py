"""The frames that a client sends over its websocket (RFC 6455, 5), and the messages they make up.

Tornado's own reading makes three futures for each frame, and a task for each message.
"""

import struct
from collections.abc import Iterator

from tornado.util import _websocket_mask as unmask

CONTINUATION, TEXT, BINARY, CLOSE = 0x0, 0x1, 0x2, 0x8
PIECE = CONTINUATION, b""
"""Stands for a frame after which its message goes on."""
CONTROL = 0x8
"""Set in the kinds that are no part of a message: close, ping, pong."""
FINAL, RESERVED, KIND = 0x80, 0x70, 0x0F
MASKED, SIZE = 0x80, 0x7F
SMALL = 125
"""The most bytes of a control frame; a larger size has a field of its own, of 2 or 8 bytes."""


class ProtocolError(Exception):
    """The WebSocket protocol does not allow this."""


class MessageTooLarge(ProtocolError):
    """A message is larger than the limit."""


class FrameReader:
    """Reads the frames of one client, whose messages may have `limit` bytes."""

    __slots__ = ("_fragments", "_kind", "_limit", "_unread")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unread = bytearray()
        self._fragments: bytearray | None = None
        """The first part of a message in several frames, whose kind is `_kind`."""
        self._kind = CONTINUATION

    def read(self, data: bytes) -> Iterator[tuple[int, str | bytes]]:
        """Yield kind and content of each message and control frame that `data` completes; raises `ProtocolError`.

        For a frame that completes none it yields `PIECE`, because each frame takes time.
        """
        whole: bytes | bytearray = data
        if self._unread:
            self._unread += data
            whole = self._unread
        end = 0
        while (frame := self._next_frame(whole, end)) is not None:
            head, content, end = frame
            yield self._message(head, content)
        if whole is self._unread:
            del self._unread[:end]
        else:
            self._unread += whole[end:]

    def _next_frame(self, data: bytes | bytearray, start: int) -> tuple[int, bytes, int] | None:
        """Return a frame's first byte, its content, and where it ends; None where it is not all there."""
        if len(data) < start + 2:
            return None
        head, size = data[start], data[start + 1]
        if head & RESERVED or not size & MASKED:
            raise ProtocolError("a frame of an extension, or one that is not masked")
        size &= SIZE
        start += 2
        if head & CONTROL and (size > SMALL or not head & FINAL):
            raise ProtocolError("a control frame too large, or in pieces")
        if size > SMALL:
            form = "!H" if size == SMALL + 1 else "!Q"
            wide = struct.calcsize(form)
            if len(data) < start + wide:
                return None
            (size,) = struct.unpack_from(form, data, start)
            start += wide
        if not head & CONTROL and size + len(self._fragments or b"") > self._limit:
            raise MessageTooLarge("a message too large")
        body = start + 4
        end = body + size
        if len(data) < end:
            return None
        return head, unmask(bytes(data[start:body]), bytes(data[body:end])), end

    def _message(self, head: int, content: bytes) -> tuple[int, str | bytes]:
        """Return the message or control frame that this frame completes; else `PIECE`."""
        kind = head & KIND
        if kind & CONTROL:
            if kind == CLOSE:
                _text(content[2:])
            return kind, content
        if (kind == CONTINUATION) != (self._fragments is not None):
            raise ProtocolError("a message within another, or the end of none")
        if self._fragments is not None:
            self._fragments += content
        elif not head & FINAL:
            self._kind, self._fragments = kind, bytearray(content)
        if not head & FINAL:
            return PIECE
        if self._fragments is not None:
            kind, content, self._fragments = self._kind, bytes(self._fragments), None
        return kind, _text(content) if kind == TEXT else content


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ProtocolError("text that is not UTF-8") from None
