"""The alarm watch: writes each change among the database's alarms into the journal, in one process at a time."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta

import msgspec
import sqlalchemy as sa

from alarm_service import site_alarm_changes
from alarm_service.journal_follower import JournalFollower
from ask import Ask
from ask.answers import Alarm, Id
from db.database import Database
from live import leases
from logger import errors_logged
from record import journal, lease
from record.journal import Step

log = logging.getLogger("live")

Steps = Mapping[Id, Step]

LEASE = "alarm journal"
LATE = timedelta(days=1)
"""How long after the fact a change may be committed and still be noticed."""
MOST_BETWEEN_S = 1.0
"""Between two looks, however long the interval: so soon is a lease taken over that has run out."""


class SiteAlarms:
    """Looks at the alarms every `interval_s` while this process, `holder`, has the lease; `state` is written to."""

    def __init__(self, ask: Ask, state: Database, followed: JournalFollower, holder: str, interval_s: float) -> None:
        self._ask = ask
        self._state = state
        self._journal = followed
        self._holder = holder
        self._interval_s = interval_s
        self._known: Steps | None = None
        """The last step of each alarm, from one look at which we had the lease to the next."""
        self._term = -1
        """In which `_known` was found out."""

    async def run(self) -> None:
        """Look until cancelled; then let another process go on at once."""
        try:
            while True:
                with errors_logged(log, "keep the alarm journal"):
                    await self.look()
                await asyncio.sleep(min(self._interval_s, MOST_BETWEEN_S))
        finally:
            await self._release()

    async def look(self) -> None:
        """Write down what has changed, if it is ours to do; raises `Unavailable`."""
        # Where this look fails half way, what is known is found out again.
        known, self._known = self._known, None
        held = await self._state.run(self._hold)
        if held is None:
            return
        if held.term != self._term:
            known = None
        alarms = await self._ask.recent_alarms(held.done - LATE)
        written = await self._state.run(lambda connection: self._write(connection, held, known, alarms))
        if written is None:
            return
        self._term = held.term
        known, steps = written
        found = {alarm.alarm_id for alarm in alarms}
        self._known = {
            alarm_id: step
            for alarm_id, step in known.items()
            if alarm_id in found or site_alarm_changes.is_open(step.alarm)
        }
        if steps:
            await self._journal.read()

    # These run in a worker thread, which may go on when nobody waits for it any more: they keep nothing.

    def _hold(self, connection: sa.Connection) -> lease.Held | None:
        with connection.begin():
            return lease.hold(connection, LEASE, self._holder)

    def _write(
        self, connection: sa.Connection, look: lease.Held, known: Steps | None, alarms: list[Alarm]
    ) -> tuple[Steps, list[Step]] | None:
        """Return all last steps that are known, and those written; None if we have been asleep since we looked."""
        with connection.begin():
            held = lease.hold(connection, LEASE, self._holder)
            if held is None or held.term != look.term:
                return None
            if known is None:
                known = {
                    alarm_id: step
                    for alarm_id, step in journal.open_steps(connection).items()
                    if step.alarm.transition is msgspec.UNSET  # the others are not the site's, but our own
                }
            # The look began before it was answered: what changed meanwhile is for the next.
            steps = site_alarm_changes.steps(known, alarms, look.begun, look.now)
            # What seems to begin may be known to the journal, however long ago it was over.
            beginning = [step.alarm.alarm_id for step in steps if step.number == 1]
            if beginning:
                known = {**known, **journal.last_steps(connection, beginning)}
                steps = site_alarm_changes.steps(known, alarms, look.begun, look.now)
            journal.add(connection, steps, look.now)
            lease.done(connection, LEASE, look.now)
            return {**known, **{step.alarm.alarm_id: step for step in steps}}, steps

    async def _release(self) -> None:
        await leases.release(self._state, LEASE, self._holder)
