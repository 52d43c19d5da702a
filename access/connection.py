"""A live connection, and a request received over it."""

import asyncio
from dataclasses import dataclass
from typing import Any

import socketio

from access.caller import Caller
from ask.answers import Storehouse
from errors import Unavailable
from globals import Clients
from transport.rate_limit import TokenBucket

BATCH = 500
"""Number of connections to look up before other tasks of the event loop may run. One lookup takes 1 us."""
KEY = "connection"
"""The key under which python-socketio's user session stores the `Connection`."""


@dataclass(slots=True, eq=False)
class Connection:
    """A live connection of a client, with the client's user, address and rate limit."""

    caller: Caller
    """The client's user and address. Replaced when the user's role or visibility changes."""
    token_bucket: TokenBucket
    """The token bucket that limits the rate of the client's events."""
    in_flight: int = 0
    """Number of events of this connection that have not been answered yet."""
    ended: bool = False
    """Whether the client or the server has ended the connection.

    The server answers no events of an ended connection.
    """
    _turn: asyncio.Lock | None = None  # created on first use, because most connections never need it

    @property
    def turn(self) -> asyncio.Lock:
        """A lock that a handler holds while it changes what this connection watches (a storehouse or the overview).

        The lock keeps the `register` events of the connection in order.
        """
        if self._turn is None:
            self._turn = asyncio.Lock()
        return self._turn


@dataclass(frozen=True, slots=True)
class Request:
    """A decoded event, as a handler gets it.

    `caller` is the user and address of the connection when the event arrived. `question` is the decoded payload of the
    event. If the event is about a storehouse, the visibility check looks up the storehouse and sets `named_storehouse`.
    """

    connection: Connection
    caller: Caller
    question: Any
    named_storehouse: Storehouse | None = None

    @property
    def storehouse(self) -> Storehouse:
        """The storehouse that the payload of the event names."""
        assert self.named_storehouse is not None  # noqa: S101 - the event table says that the event names a storehouse
        return self.named_storehouse

    def check_caller(self) -> None:
        """Raise `Unavailable` if the connection has ended.

        Also raise `Unavailable` if the user's permissions have changed since the event arrived.
        """
        if self.connection.ended or self.connection.caller is not self.caller:
            raise Unavailable("your permissions have changed meanwhile; try again", reason="permissions_changed")


class Connections:
    """All accepted connections. Each connection is stored in python-socketio's user session.

    `clients` is `globals.clients`, which maps each connection to the storehouse that the connection watches.
    """

    def __init__(self, sio: socketio.AsyncServer, clients: Clients) -> None:
        self._sio = sio
        self._clients = clients

    async def add(self, connection: Connection) -> None:
        """Store a new connection, which watches nothing yet."""
        await self._sio.save_session(connection.caller.sid, {KEY: connection})
        self._clients[connection.caller.sid] = None

    async def get(self, sid: str) -> Connection | None:
        """Return a connection, or None if the connection has ended.

        No other coroutine runs during this call, because python-socketio looks up the session without suspending.
        """
        try:
            session = await self._sio.get_session(sid)
        except KeyError:
            return None
        connection: Connection | None = session.get(KEY)
        return connection

    async def caller(self, sid: str) -> Caller | None:
        """Return the user and address of a connection (a `Caller`), or None if the connection has ended."""
        connection = await self.get(sid)
        return None if connection is None else connection.caller

    async def all(self) -> list[Connection]:
        """Return all live connections. Let other tasks of the event loop run after each `BATCH` connections."""
        connections = []
        for number, sid in enumerate(list(self._clients), 1):
            connection = await self.get(sid)
            if connection is not None:
                connections.append(connection)
            if number % BATCH == 0:
                await asyncio.sleep(0)
        return connections

    async def remove(self, sid: str) -> None:
        """Remove a Socket.IO connection and mark it as ended. Its network connection may still be open."""
        self._clients.pop(sid, None)
        connection = await self.get(sid)
        if connection is not None:
            connection.ended = True
            await self._sio.save_session(sid, {})

    async def send(self, sid: str, event: str, data: Any) -> None:
        """Emit an event to one connection of this process."""
        # Emit the data in a tuple, because python-socketio emits a bare None as no argument at all.
        await self._sio.emit(event, (data,), to=sid, ignore_queue=True)
