"""Decodes the websocket frames of a client (RFC 6455, section 5) into messages.

This module replaces Tornado's frame reader, which creates three futures per frame and a task per message.
"""

import struct
from collections.abc import Iterator

from tornado.util import _websocket_mask as unmask

CONTINUATION, TEXT, BINARY, CLOSE = 0x0, 0x1, 0x2, 0x8
PIECE = CONTINUATION, b""
"""Value that `FrameReader.read` yields for a frame that does not complete a message."""
CONTROL = 0x8
"""Opcode bit that marks a control frame (close, ping or pong)."""
FINAL, RESERVED, KIND = 0x80, 0x70, 0x0F
MASKED, SIZE = 0x80, 0x7F
SMALL = 125
"""Maximum payload size of a control frame, and of a frame without an extended length field, in bytes."""


class ProtocolError(Exception):
    """The client violated the WebSocket protocol."""


class MessageTooLarge(ProtocolError):
    """A message is larger than the limit."""


class FrameReader:
    """Reads the frames of one client. It rejects messages larger than `limit` bytes."""

    __slots__ = ("_fragments", "_kind", "_limit", "_unread")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unread = bytearray()
        self._fragments: bytearray | None = None
        """The part received so far of a message that is split into several frames.

        None while no split message is being received.
        """
        self._kind = CONTINUATION

    def read(self, data: bytes) -> Iterator[tuple[int, str | bytes]]:
        """Add the received bytes `data`. Yield the opcode and content of each message or control frame now complete.

        Yield `PIECE` for a frame that does not complete a message, so that the caller can count the work of each frame.
        Raise `ProtocolError` if the client violates the protocol.
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
        """Return the first byte, the unmasked content and the end position of the frame at `start`.

        Return None if the frame is incomplete.
        """
        if len(data) < start + 2:
            return None
        head, size = data[start], data[start + 1]
        if head & RESERVED or not size & MASKED:
            raise ProtocolError("a frame with reserved bits set, or without a mask")
        size &= SIZE
        start += 2
        if head & CONTROL and (size > SMALL or not head & FINAL):
            raise ProtocolError(f"a control frame larger than {SMALL} bytes, or fragmented")
        if size > SMALL:
            form = "!H" if size == SMALL + 1 else "!Q"
            wide = struct.calcsize(form)
            if len(data) < start + wide:
                return None
            (size,) = struct.unpack_from(form, data, start)
            start += wide
        if not head & CONTROL and size + len(self._fragments or b"") > self._limit:
            raise MessageTooLarge(f"a message larger than {self._limit} bytes")
        body = start + 4
        end = body + size
        if len(data) < end:
            return None
        return head, unmask(bytes(data[start:body]), bytes(data[body:end])), end

    def _message(self, head: int, content: bytes) -> tuple[int, str | bytes]:
        """Return the opcode and content of the message that a frame completes, or `PIECE` if the message is incomplete.

        A control frame is always a complete message.
        """
        kind = head & KIND
        if kind & CONTROL:
            if kind == CLOSE:
                _text(content[2:])
            return kind, content
        if (kind == CONTINUATION) != (self._fragments is not None):
            raise ProtocolError("a new message inside a fragmented one, or a continuation without a first frame")
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
        raise ProtocolError("text that is not valid UTF-8") from None
