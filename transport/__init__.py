"""python-socketio on Tornado, hardened and fast, under any Socket.IO server; it knows nothing of warehouses.

`AsyncServer` and `get_tornado_handler` take the place of python-socketio's own, one for one.
"""

from transport.server import (
    MAX_DRAINED_BYTES,
    REASONS,
    UNREADABLE,
    AsyncServer,
    Certificate,
    ConnectionDelegate,
    EventName,
    ForgivingJson,
    HardenedPacket,
    Json,
    RateLimit,
    TextPacket,
    close_all,
    forget_handshake,
    get_tornado_handler,
    missing,
    remote_address,
    set_send_timeout,
)

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
    "missing",
    "remote_address",
    "set_send_timeout",
]
