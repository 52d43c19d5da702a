"""The alarm journal, followed: what is new in it is pushed, and what a browser missed is found again."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile

from ask import journal
from ask.answers import EVERYWHERE, Id
from ask.journal import Transition
from db.database import Database
from errors import Unavailable
from logger import errors_logged

log = logging.getLogger("live")

MOST = 1_000
"""Transitions in one answer; where there are more, the next question follows at once."""
REMEMBERED = 10_000
"""Transitions kept in memory, for the browsers that come back after a restart all at once."""
MOST_MISSED = 10_000
"""Transitions that a browser is told again; one that missed more is told to begin anew."""


class JournalFollower:
    """Follows the journal in `state`, every `interval_s`; `push` is awaited with what is new, in order.

    `own` is awaited before, to learn whose the storehouses are; it raises `Unavailable`.
    """

    def __init__(
        self,
        state: Database,
        interval_s: float,
        push: Callable[[Sequence[Transition]], Awaitable[None]],
        own: Callable[[], Awaitable[None]],
    ) -> None:
        self.cursor = 0
        """The id of the last transition pushed."""
        self._state = state
        self._interval_s = interval_s
        self._push = push
        self._own = own
        self._floor = 0
        """The last transition that is not remembered."""
        self._remembered: deque[Transition] = deque(maxlen=REMEMBERED)
        self._reading = asyncio.Lock()

    async def begin(self) -> None:
        """Count all that is there as pushed."""
        self.cursor = self._floor = await self._state.run(journal.last)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            with errors_logged(log, "follow the alarm journal"):
                await self.read()
            await asyncio.sleep(self._interval_s)

    async def read(self) -> None:
        """Push what is new now; raises `Unavailable`."""
        async with self._reading:
            more = True
            while more:
                found = await self._state.run(lambda connection: journal.after(connection, self.cursor, MOST))
                tellable = await self._tellable(found) if found else found
                more = len(tellable) == MOST
                if tellable:
                    self._remember(tellable)
                    await self._push(tellable)

    async def _tellable(self, found: Sequence[Transition]) -> Sequence[Transition]:
        """All of them; while nobody can say whose a storehouse is, those that are about all and come first."""
        try:
            await self._own()
        except Unavailable:
            return list(takewhile(lambda one: one.alarm.store_house_id == EVERYWHERE, found))
        return found

    def _remember(self, found: Sequence[Transition]) -> None:
        self._remembered.extend(found)
        self.cursor = found[-1].transition_id
        if len(self._remembered) == REMEMBERED:
            self._floor = self._remembered[0].transition_id - 1

    async def reach(self, store_house_id: Id, cursor: int) -> list[Transition] | None:
        """Return the storehouse's transitions after `cursor` that are not remembered; None if the cursor is not known.

        `complete` adds those that are. Raises `Unavailable`.
        """
        if cursor > self.cursor:
            await self.read()  # another process was ahead of us
        if cursor > self.cursor or cursor < 0:
            return None
        if cursor >= self._floor:
            return []
        found = await self._state.run(
            lambda connection: (
                journal.after(connection, cursor, MOST_MISSED + 1, store_house_id)
                if journal.exists(connection, cursor)
                else None
            )
        )
        return None if found is None or len(found) > MOST_MISSED else found

    def complete(self, reached: Sequence[Transition], store_house_id: Id, cursor: int) -> list[Transition]:
        """Return what a browser with this cursor missed, all that has been pushed and nothing that has not.

        `reached` is what `reach` returned. Who is told this is to watch from here on, with nothing awaited in between.
        """
        told = [one for one in reached if one.transition_id <= self.cursor]
        last = told[-1].transition_id if told else cursor
        remembered = (one for one in self._remembered if one.transition_id > last)
        return told + [one for one in remembered if one.alarm.store_house_id in (store_house_id, EVERYWHERE)]
