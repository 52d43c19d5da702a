"""Encodes and decodes Engine.IO packets.

A websocket message contains one packet. The body of a poll response or of a POST request can contain several packets.
"""

import base64
from collections.abc import Sequence

from engineio.packet import MESSAGE, Packet


def decode_packet(message: str | bytes) -> Packet:
    """Return the Engine.IO packet in a websocket message. Raise ValueError if a client may not send this packet."""
    # The library's own decoder treats any text as JSON.
    if isinstance(message, bytes):
        return Packet(MESSAGE, message)
    if message[:1] not in ("1", "3", "4", "6"):
        raise ValueError("not an Engine.IO packet that a client may send")
    return Packet(int(message[0]), message[1:])


def decode_payload(body: bytes | bytearray) -> list[Packet]:
    """Return the Engine.IO packets in the body of a POST request. Raise ValueError if the body is malformed."""
    return [
        Packet(MESSAGE, base64.b64decode(part[1:], validate=True)) if part[:1] == "b" else decode_packet(part)
        for part in body.decode().split("\x1e")
    ]


def encode_payload(packets: Sequence[Packet]) -> bytes:
    """Return the body of a polling response with these Engine.IO packets."""
    # Encode binary data here, not with `encode`: a packet caches its first encoding, and may also go to a websocket.
    return "\x1e".join(
        f"b{base64.b64encode(packet.data).decode()}" if packet.binary else packet.encode() for packet in packets
    ).encode()
