"""Polls the site's own alarms and writes their changes to the alarm journal, in one process at a time."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial

import msgspec
import sqlalchemy as sa

from alarm_service import site_alarm_changes
from alarm_service.journal_follower import JournalFollower
from alarm_service.recording import Recording
from ask import Ask
from ask.answers import Id
from common.periodic import run_periodically
from db.database import Database
from errors import Unavailable
from live import leases
from record import journal, lease
from record.journal import Step
from record.set_aside import SetAside, write_separately

log = logging.getLogger(__name__)

Steps = Mapping[Id, Step]

LEASE = "alarm journal"
"""Name of the lease for writing alarms.

The process that holds the lease polls the site's own alarms, or evaluates Storewatch's alarm rules.
"""
WORK = "site alarms"
"""Name of this work for `Recording.attempt`."""
LATE = timedelta(days=1)
"""Maximum time between a change of an alarm at the site and the commit of this change.

Changes that are committed later may not be found.
"""
BATCH = 1_000
"""Maximum number of steps (entries for the alarm journal) in one transaction."""
MOST_BETWEEN_S = 1.0
"""Maximum time between two polls, in seconds. It is short so that an expired lease is soon acquired."""


class SiteAlarms:
    """Polls the site's alarms while this process has the lease, and writes their changes to the database `state`.

    The time between two polls is `interval_s`, in seconds, but at most `MOST_BETWEEN_S`. `holder` is the name of this
    process.
    """

    def __init__(
        self,
        ask: Ask,
        state: Database,
        followed: JournalFollower,
        holder: str,
        interval_s: float,
        set_aside: SetAside,
        recording: Recording,
    ) -> None:
        self.completed_at = time.monotonic()
        """Time of the last poll without an error, on the monotonic clock. Initially, the time when this was created."""
        self._set_aside = set_aside
        self._recording = recording
        self._ask = ask
        self._state = state
        self._journal = followed
        self._holder = holder
        self._interval_s = interval_s
        self._poll_s = 0.0
        """Duration of the last poll without an error."""
        self._last_steps: Steps | None = None
        """The newest step (entry in the alarm journal) of each alarm, as of the last poll.

        It is None if the steps must be read from the journal.
        """
        self._term = -1
        """The term of the lease when `_last_steps` was set.

        A term is a number that increases when another process gets the lease.
        """

    @property
    def is_enabled(self) -> bool:
        """Whether the site has alarms of its own. False while this is not known."""
        return self._ask.has_site_alarms

    async def run(self) -> None:
        """Poll until cancelled. Then release the lease, so that another process can take over immediately."""
        try:
            await run_periodically(self.poll, self._pause_s, log=log, purpose="record the site's alarms")
        finally:
            await leases.release(self._state, LEASE, self._holder)

    def _pause_s(self) -> float:
        # If the site has very many alarms, a poll takes seconds of CPU time, and the other parts need the CPU too.
        return max(min(self._interval_s, MOST_BETWEEN_S), self._poll_s)

    async def poll(self) -> None:
        """Write the changes of the site's alarms to the journal, if this process has the lease.

        Raise `Unavailable` if a database does not answer.
        """
        # If this poll fails, the next poll reads the last steps again.
        last_steps, self._last_steps = self._last_steps, None
        started = time.monotonic()
        held = await self._state.run(self._hold)
        if held is None:
            self._recording.forget(WORK)
        else:
            await self._record(held, None if held.term != self._term else last_steps)
        self.completed_at = time.monotonic()
        self._poll_s = self.completed_at - started

    async def _record(self, held: lease.HeldLease, last_steps: Steps | None) -> None:
        """Write the changes of the site's alarms to the journal, in batches.

        `last_steps` are the newest steps as of the last poll, or None if they must be read from the journal.
        """
        if last_steps is None:
            last_steps = await self._state.run(_open_steps)
        try:
            alarms = await self._ask.recent_alarms(held.done - LATE)
        except Unavailable:
            self._recording.forget(WORK)  # nothing is known about the database `state`
            raise
        steps = await asyncio.to_thread(site_alarm_changes.next_steps, last_steps, alarms, held.begun, held.now)
        for start in range(0, max(len(steps), 1), BATCH):
            batch = steps[start : start + BATCH]
            is_last = start + BATCH >= len(steps)
            with self._recording.attempt(WORK):
                written = await self._state.run(partial(self._write, before=held, steps=batch, is_last=is_last))
            if written is None:
                return
            last_steps = {**last_steps, **written}
            if batch:
                await self._journal.push_new()
        self._term = held.term
        listed = {alarm.alarm_id for alarm in alarms}
        self._last_steps = {
            alarm_id: step for alarm_id, step in last_steps.items() if alarm_id in listed or step.alarm.is_open
        }

    # The methods below run in a worker thread and may continue after their caller is cancelled. Therefore they must not
    # change attributes.

    def _hold(self, connection: sa.Connection) -> lease.HeldLease | None:
        with connection.begin():
            return lease.acquire(connection, LEASE, self._holder)

    def _write(
        self, connection: sa.Connection, before: lease.HeldLease, steps: Sequence[Step], is_last: bool
    ) -> Steps | None:
        """Write new steps to the alarm journal. A step is a new state of an alarm.

        Return the last step of each of these alarms, which is also the step if it was set aside. Return None if another
        process has had the lease since this process acquired it (`before`).
        """

        def set_aside(step: Step, error: Exception) -> None:
            self._set_aside.add("site_alarm", step.alarm.alarm_id, error)

        with connection.begin():
            held = lease.acquire(connection, LEASE, self._holder)
            if held is None or held.term != before.term:
                return None
            # An alarm that seems new may already be in the journal, even if it ended long ago.
            new = [step.alarm for step in steps if step.number == 1]
            stored = journal.last_steps(connection, [alarm.alarm_id for alarm in new])
            recorded = [alarm for alarm in new if alarm.alarm_id in stored]
            # The alarms were read after `before.now`. The next poll handles changes that happened in between.
            changed = site_alarm_changes.next_steps(stored, recorded, before.begun, before.now)
            steps = [*(step for step in steps if step.alarm.alarm_id not in stored), *changed]
            write_separately(connection, steps, partial(journal.add, connection, now=before.now), set_aside)
            if is_last:
                lease.set_done(connection, LEASE, before.now)
            return {**stored, **{step.alarm.alarm_id: step for step in steps}}


def _open_steps(connection: sa.Connection) -> Steps:
    """Return the last step of each open alarm of the site."""
    return {
        alarm_id: step
        for alarm_id, step in journal.open_steps(connection).items()
        if step.alarm.transition is msgspec.UNSET  # Storewatch's own alarms have a transition
    }
