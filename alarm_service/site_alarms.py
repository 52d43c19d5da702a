"""Polls the site's own alarms and writes their changes to the alarm journal, in one process at a time."""

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
"""Name of the lease for writing alarms.

The process that holds the lease polls the site's own alarms, or evaluates Storewatch's alarm rules.
"""
LATE = timedelta(days=1)
"""Maximum time between a change of an alarm at the site and the commit of this change.

Changes that are committed later may not be found.
"""
MOST_BETWEEN_S = 1.0
"""Maximum time between two polls, in seconds. It is short so that an expired lease is soon acquired."""


class SiteAlarms:
    """Polls the site's alarms while this process has the lease, and writes their changes to the database `state`.

    The time between two polls is `interval_s`, in seconds, but at most `MOST_BETWEEN_S`. `holder` is the name of this
    process.
    """

    def __init__(self, ask: Ask, state: Database, followed: JournalFollower, holder: str, interval_s: float) -> None:
        self._ask = ask
        self._state = state
        self._journal = followed
        self._holder = holder
        self._interval_s = interval_s
        self._last_steps: Steps | None = None
        """The newest step (entry in the alarm journal) of each alarm, as of the last poll.

        It is None if the steps must be read from the journal.
        """
        self._term = -1
        """The term of the lease when `_last_steps` was set.

        A term is a number that increases when another process gets the lease.
        """

    async def run(self) -> None:
        """Poll until cancelled. Then release the lease, so that another process can take over immediately."""
        interval_s = min(self._interval_s, MOST_BETWEEN_S)
        try:
            await run_periodically(self.poll, interval_s, log=log, purpose="record the site's alarms")
        finally:
            await leases.release(self._state, LEASE, self._holder)

    async def poll(self) -> None:
        """Write the changes of the site's alarms to the journal, if this process has the lease.

        Raise `Unavailable` if a database does not answer.
        """
        # If this poll fails, the next poll reads the last steps again.
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

    # The methods below run in a worker thread and may continue after their caller is cancelled. Therefore they must not
    # change attributes.

    def _hold(self, connection: sa.Connection) -> lease.HeldLease | None:
        with connection.begin():
            return lease.acquire(connection, LEASE, self._holder)

    def _write(
        self, connection: sa.Connection, before: lease.HeldLease, last_steps: Steps | None, alarms: list[Alarm]
    ) -> tuple[Steps, list[Step]] | None:
        """Write the new steps to the alarm journal. A step is a new state of an alarm.

        Return two things: the last step of each alarm, and the list of the new steps. Return None if another process
        has had the lease since this process acquired it (`before`).
        """
        with connection.begin():
            held = lease.acquire(connection, LEASE, self._holder)
            if held is None or held.term != before.term:
                return None
            if last_steps is None:
                last_steps = {
                    alarm_id: step
                    for alarm_id, step in journal.open_steps(connection).items()
                    if step.alarm.transition is msgspec.UNSET  # Storewatch's own alarms have a transition
                }
            # The alarms were read after `before.now`. The next poll handles changes that happened in between.
            steps = site_alarm_changes.next_steps(last_steps, alarms, before.begun, before.now)
            # An alarm that seems new may already be in the journal, even if it ended long ago.
            new = [step.alarm.alarm_id for step in steps if step.number == 1]
            if new:
                last_steps = {**last_steps, **journal.last_steps(connection, new)}
                steps = site_alarm_changes.next_steps(last_steps, alarms, before.begun, before.now)
            journal.add(connection, steps, before.now)
            lease.set_done(connection, LEASE, before.now)
            return {**last_steps, **{step.alarm.alarm_id: step for step in steps}}, steps
