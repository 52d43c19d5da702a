"""Ends all connections of a server that stops, so that every client reconnects after the restart."""

import asyncio
import time
from typing import Any

import socketio

from transport.sessions import GOING_AWAY, EngineServer

HANDSHAKE_S = 0.5
"""Part of the time limit that is reserved for the closing handshakes of the websockets, in seconds."""
CHECK_INTERVAL_S = 0.02


async def close_all(server: socketio.AsyncServer, timeout_s: float) -> None:
    """Stop accepting clients, end the transport of each client, and wait until the clients are gone.

    Wait at most `timeout_s` seconds. A client gets the answers to its events first, unless they take too long. Neither
    an Engine.IO close packet nor a Socket.IO disconnect packet is sent: clients that receive one do not reconnect.
    """
    engine: Any = server.eio
    engine.stopping = True
    end = time.monotonic() + timeout_s
    if not isinstance(engine, EngineServer):
        await _end_library_sessions(engine)
        return
    await asyncio.sleep(0)  # events that have just arrived start to be handled, and count as unanswered
    while True:
        too_late = time.monotonic() >= end - HANDSHAKE_S
        for session in list(engine.sockets.values()):
            if session.is_idle or too_late:
                await session.end_transport(engine.reason.SERVER_DISCONNECT, GOING_AWAY)
        if not (engine.sockets or engine.websockets) or time.monotonic() >= end:
            return
        await asyncio.sleep(CHECK_INTERVAL_S)


async def _end_library_sessions(engine: Any) -> None:
    """End the sessions of the library's own server, which is used with unsupported versions of the library."""
    for session in list(engine.sockets.values()):
        await session.close(wait=False, abort=True, reason=engine.reason.SERVER_DISCONNECT)
        await session.queue.put(None)  # ends the websocket's writer, or the waiting poll
