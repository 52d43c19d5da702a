"""Watches the site's own alarms: writes each change of one into the journal, in one process at a time."""

import logging
from collections.abc import Mapping
from datetime import timedelta

import msgspec
import sqlalchemy as sa

from alarm_service import site_alarm_changes
from alarm_service.journal_follower import JournalFollower
from ask import Ask
from ask.answers import Alarm, Id
from common.periodic import run_periodically
from db.database import Database
from live import leases
from record import journal, lease
from record.journal import Step

log = logging.getLogger(__name__)

Steps = Mapping[Id, Step]

LEASE = "alarm journal"
LATE = timedelta(days=1)
"""How long after the fact a change may be committed and still be noticed."""
MOST_BETWEEN_S = 1.0
"""Between two polls, however long the interval: so soon is a lease acquired that has run out."""


class SiteAlarms:
    """Polls the alarms every `interval_s` while this process, `holder`, has the lease; writes to `state`."""

    def __init__(self, ask: Ask, state: Database, followed: JournalFollower, holder: str, interval_s: float) -> None:
        self._ask = ask
        self._state = state
        self._journal = followed
        self._holder = holder
        self._interval_s = interval_s
        self._last_steps: Steps | None = None
        """The last step of each alarm, from one poll with the lease to the next; None: to be read from the journal."""
        self._term = -1
        """The lease's term in which `_last_steps` was read."""

    async def run(self) -> None:
        """Poll until cancelled; then let another process go on at once."""
        interval_s = min(self._interval_s, MOST_BETWEEN_S)
        try:
            await run_periodically(self.poll, interval_s, log=log, purpose="keep the alarm journal")
        finally:
            await leases.release(self._state, LEASE, self._holder)

    async def poll(self) -> None:
        """Write down what has changed, if this process has the lease; raises `Unavailable`."""
        # If this poll fails half way, the last steps are read again.
        last_steps, self._last_steps = self._last_steps, None
        held = await self._state.run(self._hold)
        if held is None:
            return
        if held.term != self._term:
            last_steps = None
        alarms = await self._ask.recent_alarms(held.done - LATE)
        written = await self._state.run(lambda connection: self._write(connection, held, last_steps, alarms))
        if written is None:
            return
        self._term = held.term
        last_steps, steps = written
        listed = {alarm.alarm_id for alarm in alarms}
        self._last_steps = {
            alarm_id: step for alarm_id, step in last_steps.items() if alarm_id in listed or step.alarm.is_open
        }
        if steps:
            await self._journal.push_new()

    # These run in a worker thread, which may go on after its caller was cancelled: they change no attribute.

    def _hold(self, connection: sa.Connection) -> lease.HeldLease | None:
        with connection.begin():
            return lease.acquire(connection, LEASE, self._holder)

    def _write(
        self, connection: sa.Connection, before: lease.HeldLease, last_steps: Steps | None, alarms: list[Alarm]
    ) -> tuple[Steps, list[Step]] | None:
        """Return all last steps, and those written; None if another process had the lease since `before`."""
        with connection.begin():
            held = lease.acquire(connection, LEASE, self._holder)
            if held is None or held.term != before.term:
                return None
            if last_steps is None:
                last_steps = {
                    alarm_id: step
                    for alarm_id, step in journal.open_steps(connection).items()
                    if step.alarm.transition is msgspec.UNSET  # the others are our own alarms, not the site's
                }
            # The alarms were read after `before.now`: what changed in between is left to the next poll.
            steps = site_alarm_changes.next_steps(last_steps, alarms, before.begun, before.now)
            # The journal may know an alarm that seems new, however long ago it was over.
            new = [step.alarm.alarm_id for step in steps if step.number == 1]
            if new:
                last_steps = {**last_steps, **journal.last_steps(connection, new)}
                steps = site_alarm_changes.next_steps(last_steps, alarms, before.begun, before.now)
            journal.add(connection, steps, before.now)
            lease.set_done(connection, LEASE, before.now)
            return {**last_steps, **{step.alarm.alarm_id: step for step in steps}}, steps
