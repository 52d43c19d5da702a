"""Socket.IO packets and their JSON. Decoding a packet also checks it against the protocol."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import msgspec
from socketio.packet import ACK, BINARY_ACK, BINARY_EVENT, CONNECT, DISCONNECT, EVENT, Packet

MAX_ATTACHMENTS = 64
"""Maximum number of attachments of one event. Their total size is limited to the maximum message size."""


class EventName(str):
    """The name of an event sent by a client. python-socketio's own events have plain `str` names."""

    __slots__ = ()


class Unreadable(msgspec.Struct, frozen=True):
    """Stands for a payload that is JSON but cannot be decoded.

    Such a payload is nested too deeply, or it contains a number that is too large or half of a surrogate pair.
    """


UNREADABLE: Final = Unreadable()

_EVENT_NAME = re.compile(r'\[\s*("(?:[^"\\]|\\.)*")')


def _reject_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


class Json:
    """The JSON codec of all packets. It is fast and supports dates.

    It encodes NaN as null. Python's `json` module would write `NaN`, which is not valid JSON, and one NaN would break
    every page.
    """

    @staticmethod
    def dumps(data: object, **_: object) -> str:
        """Return `data` as JSON."""
        return msgspec.json.encode(data).decode()

    @staticmethod
    def loads(text: str) -> Any:
        """Decode JSON. Raise ValueError if it is invalid, and RecursionError if it is nested too deeply."""
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return json.loads(text, parse_constant=_reject_constant)


class ForgivingJson(Json):
    """A JSON codec that tolerates payloads that cannot be decoded. For such a payload it returns `UNREADABLE`."""

    @staticmethod
    def loads(text: str) -> Any:
        """Decode JSON. If the payload of an event cannot be decoded, return the event's name and `UNREADABLE`.

        Raise ValueError if the text is not JSON, or if it cannot be decoded and is not an event.
        """
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            name = _EVENT_NAME.match(text)
            if name is None or not _is_json(text):
                raise ValueError("malformed payload") from None
            return [json.loads(name[1]).encode(errors="replace").decode(), UNREADABLE]


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_reject_constant)
    except RecursionError:
        return True  # valid up to the nesting limit
    except ValueError:
        return False
    return True


class HardenedPacket(Packet):  # type: ignore[misc]
    """A Socket.IO packet. Its method `decode` raises ValueError if the protocol does not allow the packet."""

    json = Json
    packet_type: int

    def decode(self, encoded_packet: Any) -> int:
        """Decode the text into this packet. Return the number of attachments.

        An event's name becomes an `EventName`.
        """
        if not isinstance(encoded_packet, str):
            raise ValueError("a binary message that belongs to no event")
        attachments: int = super().decode(encoded_packet) or 0
        kind = self.packet_type
        if kind in (BINARY_EVENT, BINARY_ACK):
            if not re.match(r".\d+-", encoded_packet) or attachments > MAX_ATTACHMENTS:
                raise ValueError(f"the number of attachments is missing or above {MAX_ATTACHMENTS}")
            if attachments == 0:
                self.packet_type = EVENT if kind == BINARY_EVENT else ACK
        elif attachments:
            raise ValueError("attachments in a packet type that has none")
        _CHECKS.get(kind, _reject_packet)(self)
        return attachments


def _check_event(packet: Packet) -> None:
    data = packet.data
    if not isinstance(data, list) or not data or type(data[0]) not in (str, int):
        raise ValueError("an event without a valid name")
    data[0] = EventName(data[0])


def _check_acknowledgement(packet: Packet) -> None:
    if not isinstance(packet.data, list) or packet.id is None:
        raise ValueError("an acknowledgement without an id or without arguments")


def _check_connect(packet: Packet) -> None:
    if packet.data is not None and not isinstance(packet.data, dict):
        raise ValueError("a CONNECT payload that is not an object")


def _check_disconnect(packet: Packet) -> None:
    if packet.data is not None:
        raise ValueError("a DISCONNECT packet with a payload")


def _reject_packet(packet: Packet) -> None:
    raise ValueError(f"packet type {packet.packet_type}, which a client may not send")


_CHECKS: Mapping[int, Callable[[Packet], None]] = {
    CONNECT: _check_connect,
    DISCONNECT: _check_disconnect,
    EVENT: _check_event,
    BINARY_EVENT: _check_event,
    ACK: _check_acknowledgement,
    BINARY_ACK: _check_acknowledgement,
}


class TextPacket(HardenedPacket):
    """A Socket.IO packet for a server that does not use binary data."""

    json = ForgivingJson
    # Searching every message for binary data took 38 of the 63 us that it took to encode the message.
    uses_binary_events = False

    @classmethod
    def reconstruct_binary(cls, data: Any, attachments: list[bytes]) -> Any:
        """Return `data` with its attachment placeholders unchanged.

        The library's method replaces placeholders in a recursive search, which could overflow the stack.
        """
        return data
