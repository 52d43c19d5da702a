"""The lane for long questions: few run at once, and users share the places fairly.

A chart of a year or a preview occupies a database and a core for seconds. Without the lane, one user who asks for many
of them would delay the pushes and alarms of all other users.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TypeVar

from access.caller import Caller
from common.fair_queue import FairQueue, QueueFull, QueueLimits, Ticket
from errors import RateLimited, Unavailable

T = TypeVar("T")
Tell = Callable[[str, str, int], Awaitable[None]]
"""A function that tells a client the position of its question. The arguments are sid, event and position."""

PLACES = 3
"""Maximum number of long questions that run at once in this process. The pool `charts` has as many connections."""
MAX_WAITING = 8
"""Maximum number of waiting questions of one user."""
LIMITS = QueueLimits(PLACES, places_per_user=2, waiting_per_user=MAX_WAITING, places_per_kind={"previewAlarms": 1})
"""One user cannot take all places. The process that computes previews computes one at a time."""
TELL_S = 1.0
"""A client is told the position of a question after this time in the queue, and at most once in this time."""


class Lane:
    """Runs long questions, each in its turn, and tells waiting clients their position.

    While access is open, all connections from one address count as one user.
    """

    def __init__(self, tell: Tell, limits: QueueLimits = LIMITS, tell_s: float = TELL_S) -> None:
        self._tell = tell
        self._tell_s = tell_s
        self._queue = FairQueue(limits)
        self._turns: dict[Ticket, asyncio.Future[None]] = {}
        """A future for each question. It is done when the question may run, and has an error if it was dropped."""
        self._by_connection: dict[str, set[Ticket]] = defaultdict(set)

    async def run(self, caller: Caller, event: str, work: Callable[[], Awaitable[T]]) -> T:
        """Wait for a place, and return the result of `work`.

        Raise `RateLimited` if too many questions of the user wait already. Raise `Unavailable` if the connection ends
        or its permissions change while the question waits.
        """
        try:
            ticket = self._queue.enter(caller.user.name or caller.address, event)
        except QueueFull:
            raise RateLimited(
                f"{MAX_WAITING} of your charts and previews are waiting already; try again later",
                reason="too_many_waiting",
                most=MAX_WAITING,
            ) from None
        self._turns[ticket] = asyncio.get_running_loop().create_future()
        self._by_connection[caller.sid].add(ticket)
        try:
            self._start()
            await self._wait(ticket, caller.sid)
            return await work()
        finally:
            del self._turns[ticket]
            self._forget(caller.sid, ticket)
            self._queue.leave(ticket)
            self._start()

    def drop(self, sid: str) -> None:
        """Drop all waiting questions of a connection that has ended or whose permissions have changed."""
        for ticket in self._by_connection.get(sid, ()):
            if not self._turns[ticket].done():
                error = Unavailable("your permissions have changed meanwhile; try again", reason="permissions_changed")
                self._turns[ticket].set_exception(error)
                self._turns[ticket].exception()  # asyncio logs an exception that nobody has read

    def _start(self) -> None:
        while (ticket := self._queue.start_next()) is not None:
            if not self._turns[ticket].done():
                self._turns[ticket].set_result(None)

    async def _wait(self, ticket: Ticket, sid: str) -> None:
        told: int | None = None
        turn = self._turns[ticket]
        while not turn.done():
            await asyncio.wait([turn], timeout=self._tell_s)
            position = self._queue.positions().get(ticket)
            if not turn.done() and position not in (None, told):
                told = position
                await self._tell(sid, ticket.kind, position)
        turn.result()

    def _forget(self, sid: str, ticket: Ticket) -> None:
        self._by_connection[sid].discard(ticket)
        if not self._by_connection[sid]:
            del self._by_connection[sid]
