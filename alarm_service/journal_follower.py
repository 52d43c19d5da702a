"""Reads the alarm journal: pushes new transitions, and finds the transitions that a client missed.

A transition is a change of an alarm's state. The alarm journal is the table of all transitions.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile

from ask import journal
from ask.answers import EVERYWHERE, Id
from ask.journal import Transition
from common.periodic import run_periodically
from common.shared_run import SharedRun
from db.database import Database
from errors import Unavailable

log = logging.getLogger(__name__)

MOST = 1_000
"""Maximum number of alarm transitions that one query returns. If there are more, the next query follows at once."""
REMEMBERED = 10_000
"""Maximum number of alarm transitions kept in memory.

Many clients may reconnect at the same time and need these transitions.
"""
MOST_MISSED = 10_000
"""Maximum number of missed alarm transitions sent to a client.

A client that missed more transitions must load the current state.
"""


class JournalFollower:
    """Polls the alarm journal in the database `state` every `interval_s` seconds, and pushes new transitions.

    To push, the follower awaits `push` with the new transitions, in the order of the journal. Before each push, it
    awaits `refresh_owners`, which updates the owners of the storehouses and may raise `Unavailable`. `questions` is
    another connection pool of the same database, for the queries that clients cause.
    """

    def __init__(
        self,
        state: Database,
        questions: Database,
        interval_s: float,
        push: Callable[[Sequence[Transition]], Awaitable[None]],
        refresh_owners: Callable[[], Awaitable[None]],
    ) -> None:
        self.cursor = 0
        """Id of the last alarm transition that this process has pushed."""
        self._is_started = False
        self._state = state
        self._questions = questions
        self._interval_s = interval_s
        self._push = push
        self._refresh_owners = refresh_owners
        self._floor = 0
        """Memory contains every pushed transition with an id above this number."""
        self._remembered: deque[Transition] = deque(maxlen=REMEMBERED)
        self._push_new = SharedRun(self._push_all)

    async def start(self) -> None:
        """Treat all transitions that are now in the alarm journal as already pushed."""
        self.cursor = self._floor = await self._state.run(journal.last)
        self._is_started = True

    async def run(self) -> None:
        """Poll the alarm journal until cancelled."""
        await run_periodically(self.push_new, self._interval_s, log=log, purpose="push new alarm transitions")

    async def push_new(self) -> None:
        """Push the new transitions in the alarm journal.

        Raise `Unavailable` if the database does not answer, or if `start` has not been completed.
        """
        if not self._is_started:
            raise Unavailable("the server has not read the alarm journal since its start")
        await self._push_new()

    async def _push_all(self) -> None:
        more = True
        while more:
            transitions = await self._state.run(lambda connection: journal.after(connection, self.cursor, MOST))
            pushable = await self._pushable(transitions) if transitions else transitions
            more = len(pushable) == MOST
            if pushable:
                self._remember(pushable)
                await self._push(pushable)

    async def _pushable(self, transitions: Sequence[Transition]) -> Sequence[Transition]:
        """Return those of `transitions` (changes of alarm states) that may be pushed now.

        Return all of them if the owners (organisations) of the storehouses can be read. Otherwise, return only those
        before the first transition that is about a single storehouse.
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
        """Query the transitions of a storehouse that a client missed, if some of them are no longer in memory.

        `cursor` is the id of the last transition that the client has received. Return an empty list if all
        transitions after this id are in memory. Return None if the cursor is unknown, or if the query finds more than
        `MOST_MISSED` transitions. Every cursor is unknown before `start`. Raise `Unavailable` if the database does not
        answer.
        """
        if not self._is_started:
            return None
        if cursor > self.cursor:
            await self.push_new()  # the client got its cursor from another process that had read further
        if cursor > self.cursor or cursor < 0:
            return None
        if cursor >= self._floor:
            return []
        transitions = await self._questions.run(
            lambda connection: (
                journal.after(connection, cursor, MOST_MISSED + 1, store_house_id)
                if journal.exists(connection, cursor)
                else None
            )
        )
        return None if transitions is None or len(transitions) > MOST_MISSED else transitions

    def missed_transitions(self, before: Sequence[Transition], store_house_id: Id, cursor: int) -> list[Transition]:
        """Return all pushed transitions that a client has missed.

        `cursor` is the id of the last transition that the client has received. `before` is the result of
        `missed_before`. After this call, the caller must subscribe the client without an `await` in between. Otherwise
        the client could miss transitions that are pushed in the meantime.
        """
        pushed = [transition for transition in before if transition.transition_id <= self.cursor]
        last = pushed[-1].transition_id if pushed else cursor
        remembered = (transition for transition in self._remembered if transition.transition_id > last)
        here = (store_house_id, EVERYWHERE)
        return pushed + [transition for transition in remembered if transition.alarm.store_house_id in here]
