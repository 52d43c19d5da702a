"""A hardened, fast transport for Socket.IO servers on Tornado. It is independent of the rest of Storewatch.

`AsyncServer` and `get_tornado_handler` are drop-in replacements for those of python-socketio.
"""

from transport.certificates import Certificate
from transport.closing import close_all
from transport.handler import MAX_DRAINED_BYTES
from transport.http_server import ConnectionDelegate, set_send_timeout
from transport.rate_limit import RateLimit
from transport.requests import REASONS
from transport.server import AsyncServer, forget_handshake, get_tornado_handler, remote_address
from transport.socketio_packets import UNREADABLE, EventName, ForgivingJson, HardenedPacket, Json, TextPacket

__all__ = [
    "MAX_DRAINED_BYTES",
    "REASONS",
    "UNREADABLE",
    "AsyncServer",
    "Certificate",
    "ConnectionDelegate",
    "EventName",
    "ForgivingJson",
    "HardenedPacket",
    "Json",
    "RateLimit",
    "TextPacket",
    "close_all",
    "forget_handshake",
    "get_tornado_handler",
    "remote_address",
    "set_send_timeout",
]
