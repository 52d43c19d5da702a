"""What a client sends over its websocket: the frames of RFC 6455, 5, and the messages that they make.

Tornado's own reading makes three futures for each frame, and a task for each message.
"""

import struct
from collections.abc import Iterator

from tornado.util import _websocket_mask as unmask

CONTINUATION, TEXT, BINARY, CLOSE = 0x0, 0x1, 0x2, 0x8
PIECE = CONTINUATION, b""
"""What stands for a frame after which a message goes on."""
CONTROL = 0x8
"""Set in the kinds that are no part of a message: close, ping, pong."""
FINAL, RESERVED, KIND = 0x80, 0x70, 0x0F
MASKED, SIZE = 0x80, 0x7F
SMALL = 125
"""The most bytes of a control frame; a larger size has a field of its own, of 2 or 8 bytes."""


class Broken(Exception):
    """The protocol does not allow this."""


class TooLarge(Broken):
    """A message is larger than it may be."""


class Frames:
    """The frames of one client, whose messages may have `limit` bytes."""

    __slots__ = ("_begun", "_kind", "_limit", "_rest")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._begun: bytearray | None = None
        """What has come of a message in several frames, which is of this `_kind`."""
        self._kind = CONTINUATION

    def read(self, data: bytes) -> Iterator[tuple[int, str | bytes]]:
        """Give kind and content of each message and control frame that `data` completes; raises `Broken`.

        For a frame that completes none there is `PIECE`: it takes time too.
        """
        whole: bytes | bytearray = data
        if self._rest:
            self._rest += data
            whole = self._rest
        end = 0
        while (frame := self._frame(whole, end)) is not None:
            head, content, end = frame
            yield self._message(head, content)
        if whole is self._rest:
            del self._rest[:end]
        else:
            self._rest += whole[end:]

    def _frame(self, data: bytes | bytearray, start: int) -> tuple[int, bytes, int] | None:
        """Return a frame's first byte, its content, and where it ends; None where it is not all there."""
        if len(data) < start + 2:
            return None
        head, size = data[start], data[start + 1]
        if head & RESERVED or not size & MASKED:
            raise Broken("a frame of an extension, or one that is not masked")
        size &= SIZE
        start += 2
        if head & CONTROL and (size > SMALL or not head & FINAL):
            raise Broken("a control frame too large, or in pieces")
        if size > SMALL:
            form = "!H" if size == SMALL + 1 else "!Q"
            wide = struct.calcsize(form)
            if len(data) < start + wide:
                return None
            (size,) = struct.unpack_from(form, data, start)
            start += wide
        if not head & CONTROL and size + len(self._begun or b"") > self._limit:
            raise TooLarge("a message too large")
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
        if (kind == CONTINUATION) != (self._begun is not None):
            raise Broken("a message within another, or the end of none")
        if self._begun is not None:
            self._begun += content
        elif not head & FINAL:
            self._kind, self._begun = kind, bytearray(content)
        if not head & FINAL:
            return PIECE
        if self._begun is not None:
            kind, content, self._begun = self._kind, bytes(self._begun), None
        return kind, _text(content) if kind == TEXT else content


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Broken("text that is not UTF-8") from None
