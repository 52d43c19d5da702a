"""Engine.IO's packets: one in each message of a websocket, several in the body of a request."""

import base64
from collections.abc import Sequence

from engineio.packet import MESSAGE, Packet


def decode_packet(message: str | bytes) -> Packet:
    """Return the Engine.IO packet in a websocket's message; raises ValueError."""
    # Not by the library's own decoder, which takes any text for JSON.
    if isinstance(message, bytes):
        return Packet(MESSAGE, message)
    if message[:1] not in ("1", "3", "4", "6"):
        raise ValueError("no packet that a client may send")
    return Packet(int(message[0]), message[1:])


def decode_payload(body: bytes | bytearray) -> list[Packet]:
    """Return the packets in the body of a POST; raises ValueError."""
    return [
        Packet(MESSAGE, base64.b64decode(part[1:], validate=True)) if part[:1] == "b" else decode_packet(part)
        for part in body.decode().split("\x1e")
    ]


def encode_payload(packets: Sequence[Packet]) -> bytes:
    """Return the body of a response that holds these packets."""
    # A packet keeps what it was encoded to first, and the same may go to a websocket too: binary is encoded here.
    return "\x1e".join(
        f"b{base64.b64encode(packet.data).decode()}" if packet.binary else packet.encode() for packet in packets
    ).encode()
