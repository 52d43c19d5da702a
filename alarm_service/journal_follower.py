"""The alarm journal, followed: pushes new transitions, and finds those that a browser missed."""

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
"""Transitions in one answer; where there are more, the next question follows at once."""
REMEMBERED = 10_000
"""Transitions kept in memory, for the browsers that come back after a restart all at once."""
MOST_MISSED = 10_000
"""Transitions that a browser is sent again; one that missed more is told to start from the current state."""


class JournalFollower:
    """Follows the journal in `state`, every `interval_s`; `push` is awaited with the new transitions, in order.

    `refresh_owners` is awaited before each push, to learn who owns the storehouses; it raises `Unavailable`.
    """

    def __init__(
        self,
        state: Database,
        interval_s: float,
        push: Callable[[Sequence[Transition]], Awaitable[None]],
        refresh_owners: Callable[[], Awaitable[None]],
    ) -> None:
        self.cursor = 0
        """The id of the last transition pushed."""
        self._state = state
        self._interval_s = interval_s
        self._push = push
        self._refresh_owners = refresh_owners
        self._floor = 0
        """The last transition that is not remembered."""
        self._remembered: deque[Transition] = deque(maxlen=REMEMBERED)
        self._pushing = asyncio.Lock()

    async def start(self) -> None:
        """Count every transition in the journal as pushed."""
        self.cursor = self._floor = await self._state.run(journal.last)

    async def run(self) -> None:
        """Follow until cancelled."""
        await run_periodically(self.push_new, self._interval_s, log=log, purpose="follow the alarm journal")

    async def push_new(self) -> None:
        """Push the transitions that are new; raises `Unavailable`."""
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
        """All of them; while the owners of the storehouses are unknown, only the leading ones about all storehouses."""
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
        """Return the storehouse's transitions after `cursor` that are too old to be remembered; None: cursor unknown.

        `missed_transitions` adds the remembered ones. Raises `Unavailable`.
        """
        if cursor > self.cursor:
            await self.push_new()  # another process was ahead of us
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
        """Return what a browser with this cursor missed: all that has been pushed and nothing that has not.

        `before` is the answer of `missed_before`. The browser must be subscribed from here on, with nothing awaited in
        between.
        """
        pushed = [transition for transition in before if transition.transition_id <= self.cursor]
        last = pushed[-1].transition_id if pushed else cursor
        remembered = (transition for transition in self._remembered if transition.transition_id > last)
        here = (store_house_id, EVERYWHERE)
        return pushed + [transition for transition in remembered if transition.alarm.store_house_id in here]
