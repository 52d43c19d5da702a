"""Socket.IO's packets and their JSON, checked against the protocol as they are decoded."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import msgspec
from socketio.packet import ACK, BINARY_ACK, BINARY_EVENT, CONNECT, DISCONNECT, EVENT, Packet

MAX_ATTACHMENTS = 64
"""Of one event. Together they may not be larger than a message may."""


class EventName(str):
    """The name of an event that a client sent. The library's own events are plain strings."""

    __slots__ = ()


class Unreadable(msgspec.Struct, frozen=True):
    """A payload that is JSON, yet cannot be held: nested too deeply, a number too large, half a character."""


UNREADABLE: Final = Unreadable()

_EVENT_NAME = re.compile(r'\[\s*("(?:[^"\\]|\\.)*")')


def _reject_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


class Json:
    """The JSON of all packets: fast, with dates, and NaN as null (with the standard module one NaN ends every page)."""

    @staticmethod
    def dumps(data: object, **_: object) -> str:
        """Return `data` as JSON."""
        return msgspec.json.encode(data).decode()

    @staticmethod
    def loads(text: str) -> Any:
        """Return what `text` holds; raises ValueError, and RecursionError where it is nested too deeply."""
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return json.loads(text, parse_constant=_reject_constant)


class ForgivingJson(Json):
    """Also decodes an event whose payload is JSON but cannot be held: its payload becomes `UNREADABLE`."""

    @staticmethod
    def loads(text: str) -> Any:
        """Return what `text` holds; of an event that cannot be held, its name and `UNREADABLE`."""
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
        return True  # as far as it was read
    except ValueError:
        return False
    return True


class HardenedPacket(Packet):  # type: ignore[misc]
    """A Socket.IO packet; decoding one that the protocol does not allow raises ValueError."""

    json = Json
    packet_type: int

    def decode(self, encoded_packet: Any) -> int:
        """Decode the packet, and mark the name of an event as sent by a client."""
        if not isinstance(encoded_packet, str):
            raise ValueError("binary, and no event that it belongs to")
        attachments: int = super().decode(encoded_packet) or 0
        kind = self.packet_type
        if kind in (BINARY_EVENT, BINARY_ACK):
            if not re.match(r".\d+-", encoded_packet) or attachments > MAX_ATTACHMENTS:
                raise ValueError("not as many attachments as there may be")
            if attachments == 0:
                self.packet_type = EVENT if kind == BINARY_EVENT else ACK
        elif attachments:
            raise ValueError("attachments of a packet that has none")
        _CHECKS.get(kind, _reject_packet)(self)
        return attachments


def _check_event(packet: Packet) -> None:
    data = packet.data
    if not isinstance(data, list) or not data or type(data[0]) not in (str, int):
        raise ValueError("an event without a name")
    data[0] = EventName(data[0])


def _check_acknowledgement(packet: Packet) -> None:
    if not isinstance(packet.data, list) or packet.id is None:
        raise ValueError("an acknowledgement of nothing")


def _check_connect(packet: Packet) -> None:
    if packet.data is not None and not isinstance(packet.data, dict):
        raise ValueError("a handshake that is no object")


def _check_disconnect(packet: Packet) -> None:
    if packet.data is not None:
        raise ValueError("a goodbye that says more")


def _reject_packet(packet: Packet) -> None:
    raise ValueError(f"no packet that a client may send: {packet.packet_type}")


_CHECKS: Mapping[int, Callable[[Packet], None]] = {
    CONNECT: _check_connect,
    DISCONNECT: _check_disconnect,
    EVENT: _check_event,
    BINARY_EVENT: _check_event,
    ACK: _check_acknowledgement,
    BINARY_ACK: _check_acknowledgement,
}


class TextPacket(HardenedPacket):
    """A Socket.IO packet of a server that neither sends nor expects binary data."""

    json = ForgivingJson
    # Looking for it in every message was 38 of the 63 us that encoding one took.
    uses_binary_events = False

    @classmethod
    def reconstruct_binary(cls, data: Any, attachments: list[bytes]) -> Any:
        """Leave the placeholders where they are: the library's walk is recursive."""
        return data
