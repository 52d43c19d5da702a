"""Reads the alarm journal: pushes new transitions, and finds the transitions that a client missed."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile

from ask import journal
from ask.answers import EVERYWHERE, Id
from ask.journal import Transition
from common.periodic import run_periodically
from db.database import Database
from errors import Unavailable

log = logging.getLogger(__name__)

MOST = 1_000
"""Maximum number of transitions that one query returns. If there are more, the next query follows immediately."""
REMEMBERED = 10_000
"""Maximum number of transitions kept in memory. Many clients may reconnect and need them at the same time."""
MOST_MISSED = 10_000
"""Maximum number of missed transitions sent to a client. A client that missed more must load the current state."""


class JournalFollower:
    """Polls the journal in the database `state` every `interval_s` seconds, and awaits `push` with new transitions.

    The transitions are in the order of the journal. Before each push, the follower awaits `refresh_owners`, which
    updates the owners of the storehouses and may raise `Unavailable`.
    """

    def __init__(
        self,
        state: Database,
        interval_s: float,
        push: Callable[[Sequence[Transition]], Awaitable[None]],
        refresh_owners: Callable[[], Awaitable[None]],
    ) -> None:
        self.cursor = 0
        """Id of the last transition that this process has pushed."""
        self._state = state
        self._interval_s = interval_s
        self._push = push
        self._refresh_owners = refresh_owners
        self._floor = 0
        """Highest id of a transition that is not in memory. All transitions pushed after it are in memory."""
        self._remembered: deque[Transition] = deque(maxlen=REMEMBERED)
        self._pushing = asyncio.Lock()

    async def start(self) -> None:
        """Count all transitions that are in the journal now as pushed."""
        self.cursor = self._floor = await self._state.run(journal.last)

    async def run(self) -> None:
        """Poll the journal until cancelled."""
        await run_periodically(self.push_new, self._interval_s, log=log, purpose="push new alarm transitions")

    async def push_new(self) -> None:
        """Push the new transitions in the journal. Raise `Unavailable` if the database does not answer."""
        async with self._pushing:
            more = True
            while more:
                transitions = await self._state.run(lambda connection: journal.after(connection, self.cursor, MOST))
                pushable = await self._pushable(transitions) if transitions else transitions
                more = len(pushable) == MOST
                if pushable:
                    self._remember(pushable)
                    await self._push(pushable)

    async def _pushable(self, transitions: Sequence[Transition]) -> Sequence[Transition]:
        """Return the transitions that may be pushed now: all of them, if the owners of the storehouses are known.

        While the owners are unknown, return only the transitions before the first transition about a single storehouse.
        """
        try:
            await self._refresh_owners()
        except Unavailable:
            return list(takewhile(lambda transition: transition.alarm.store_house_id == EVERYWHERE, transitions))
        return transitions

    def _remember(self, transitions: Sequence[Transition]) -> None:
        self._remembered.extend(transitions)
        self.cursor = transitions[-1].transition_id
        if len(self._remembered) == REMEMBERED:
            self._floor = self._remembered[0].transition_id - 1

    async def missed_before(self, store_house_id: Id, cursor: int) -> list[Transition] | None:
        """Return the storehouse's transitions after `cursor` that are no longer in memory.

        `missed_transitions` adds the transitions that are in memory. Return None if the cursor is unknown, or if there
        are more than `MOST_MISSED` transitions. Raise `Unavailable` if the database does not answer.
        """
        if cursor > self.cursor:
            await self.push_new()  # the client got its cursor from another process that had read further
        if cursor > self.cursor or cursor < 0:
            return None
        if cursor >= self._floor:
            return []
        transitions = await self._state.run(
            lambda connection: (
                journal.after(connection, cursor, MOST_MISSED + 1, store_house_id)
                if journal.exists(connection, cursor)
                else None
            )
        )
        return None if transitions is None or len(transitions) > MOST_MISSED else transitions

    def missed_transitions(self, before: Sequence[Transition], store_house_id: Id, cursor: int) -> list[Transition]:
        """Return all pushed transitions that a client with this cursor has missed.

        `before` is the result of `missed_before`. After this call, the caller must subscribe the client without an
        `await` in between. Otherwise the client could miss further transitions.
        """
        pushed = [transition for transition in before if transition.transition_id <= self.cursor]
        last = pushed[-1].transition_id if pushed else cursor
        remembered = (transition for transition in self._remembered if transition.transition_id > last)
        here = (store_house_id, EVERYWHERE)
        return pushed + [transition for transition in remembered if transition.alarm.store_house_id in here]
