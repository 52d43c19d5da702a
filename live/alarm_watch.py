"""The alarm watch: writes each change among the database's alarms into the journal, in one process at a time."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from ask import Ask
from ask.answers import Id
from database import Database
from errors import Unavailable
from live import transitions
from live.journal import Journal
from record import journal, lease
from record.journal import Step

log = logging.getLogger("live")

LEASE = "alarm journal"
LATE = timedelta(days=1)
"""How long after the fact a change may be committed and still be noticed."""
MOST_BETWEEN_S = 1.0
"""Between two looks, however long the interval: so soon is a lease taken over that has run out."""


class AlarmWatch:
    """Looks at the alarms every `interval_s` while this process, `holder`, has the lease; `state` is written to."""

    def __init__(self, ask: Ask, state: Database, followed: Journal, holder: str, interval_s: float) -> None:
        self._ask = ask
        self._state = state
        self._journal = followed
        self._holder = holder
        self._interval_s = interval_s
        self._known: Mapping[Id, Step] | None = None
        """The last step of each alarm, from one look at which we had the lease to the next."""

    async def run(self) -> None:
        """Look until cancelled; then let another process go on at once."""
        try:
            while True:
                try:
                    await self.look()
                except Unavailable:
                    log.debug("the alarm journal cannot be written")
                except Exception:
                    log.exception("cannot keep the alarm journal")
                await asyncio.sleep(min(self._interval_s, MOST_BETWEEN_S))
        finally:
            await self._release()

    async def look(self) -> None:
        """Write down what has changed, if it is ours to do; raises `Unavailable`."""
        # Where this look fails half way, what is known is found out again.
        known, self._known = self._known, None
        found = await self._state.run(lambda connection: self._hold(connection, known))
        if found is None:
            return
        held, known = found
        alarms = await self._ask.recent_alarms(held.done - LATE)
        # The look began before it was answered: what changed meanwhile is for the next.
        steps = transitions.steps(known, alarms, held.begun, held.now)
        if await self._state.run(lambda connection: self._write(connection, steps, held.now)):
            self._known = {**known, **{step.alarm.alarm_id: step for step in steps}}
            if steps:
                await self._journal.read()

    # These run in a worker thread, which may go on when nobody waits for it any more: they keep nothing.

    def _hold(
        self, connection: sa.Connection, known: Mapping[Id, Step] | None
    ) -> tuple[lease.Held, Mapping[Id, Step]] | None:
        with connection.begin():
            held = lease.hold(connection, LEASE, self._holder)
            if held is None:
                return None
            if known is None or held.taken:
                known = journal.last_steps(connection, held.done - 2 * LATE)
            return held, known

    def _write(self, connection: sa.Connection, steps: list[Step], seen: datetime) -> bool:
        """Write, if the lease has been ours all along: we may have been asleep since we looked."""
        with connection.begin():
            held = lease.hold(connection, LEASE, self._holder)
            if held is None or held.taken:
                return False
            journal.add(connection, steps, seen)
            lease.done(connection, LEASE, seen)
        return True

    async def _release(self) -> None:
        def release(connection: sa.Connection) -> None:
            with connection.begin():
                lease.release(connection, LEASE, self._holder)

        try:
            await self._state.run(release)
        except Unavailable:
            log.debug("the lease runs out by itself")
