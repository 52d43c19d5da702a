"""A connection as long as it lasts, and a request that came over it."""

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
"""Connections that are looked up, 1 us each, before the event loop gets a turn."""
KEY = "connection"
"""The key in python-socketio's user session under which a connection is kept."""


@dataclass(slots=True, eq=False)
class Connection:
    """Who is connected, and how much they have asked."""

    caller: Caller
    """Replaced when their role or visibility changes."""
    token_bucket: TokenBucket
    """Events they may still send."""
    in_flight: int = 0
    """Events that wait for their answers."""
    ended: bool = False
    """Closed or sent away: nothing more is answered."""
    _turn: asyncio.Lock | None = None  # made when it is needed: most connections never wait for it

    @property
    def turn(self) -> asyncio.Lock:
        """Held while the connection changes what it watches: of two `register`, the one sent last counts."""
        if self._turn is None:
            self._turn = asyncio.Lock()
        return self._turn


@dataclass(frozen=True, slots=True)
class Request:
    """An event of a connection, decoded: what a handler gets.

    `caller` is who asked, as they were when the event came. For events about a storehouse the guard looks up the one
    that the question names.
    """

    connection: Connection
    caller: Caller
    question: Any
    named_storehouse: Storehouse | None = None

    @property
    def storehouse(self) -> Storehouse:
        """The storehouse that the question names."""
        assert self.named_storehouse is not None  # noqa: S101 - the event's row says that it is about one
        return self.named_storehouse

    def check_caller(self) -> None:
        """Raise `Unavailable` where the connection has ended, or the caller's permissions have changed since."""
        if self.connection.ended or self.connection.caller is not self.caller:
            raise Unavailable("what you may do or see has changed meanwhile; ask again")


class Connections:
    """All connections that were let in, each kept in python-socketio's own user session.

    `clients` is `globals.clients`: it lists the connections, and which storehouse each of them watches.
    """

    def __init__(self, sio: socketio.AsyncServer, clients: Clients) -> None:
        self._sio = sio
        self._clients = clients

    async def add(self, connection: Connection) -> None:
        """Keep a connection, which watches nothing yet, until it ends."""
        await self._sio.save_session(connection.caller.sid, {KEY: connection})
        self._clients[connection.caller.sid] = None

    async def get(self, sid: str) -> Connection | None:
        """Return a connection; None once it has ended or was sent away.

        python-socketio looks it up without suspending, so nothing else happens meanwhile.
        """
        try:
            session = await self._sio.get_session(sid)
        except KeyError:
            return None
        connection: Connection | None = session.get(KEY)
        return connection

    async def caller(self, sid: str) -> Caller | None:
        """Return who a connection belongs to; None once it has ended or was sent away."""
        connection = await self.get(sid)
        return None if connection is None else connection.caller

    async def all(self) -> list[Connection]:
        """Return the connections that there are, giving the event loop turns."""
        connections = []
        for number, sid in enumerate(list(self._clients), 1):
            connection = await self.get(sid)
            if connection is not None:
                connections.append(connection)
            if number % BATCH == 0:
                await asyncio.sleep(0)
        return connections

    async def remove(self, sid: str) -> None:
        """Forget a connection, which may not be closed yet."""
        self._clients.pop(sid, None)
        connection = await self.get(sid)
        if connection is not None:
            connection.ended = True
            await self._sio.save_session(sid, {})

    async def send(self, sid: str, event: str, data: Any) -> None:
        """Emit an event to one connection of this process."""
        # In a tuple, because a null alone would be emitted as no argument at all.
        await self._sio.emit(event, (data,), to=sid, ignore_queue=True)
