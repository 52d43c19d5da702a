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


class AlarmWatch:
    """Looks at the alarms every `interval_s` while this process, `holder`, has the lease; `state` is written to."""

    def __init__(self, ask: Ask, state: Database, followed: Journal, holder: str, interval_s: float) -> None:
        self._ask = ask
        self._state = state
        self._journal = followed
        self._holder = holder
        self._interval_s = interval_s
        self._known: Mapping[Id, Step] | None = None
        """The last step of each alarm, while we hold the lease."""

    async def run(self) -> None:
        """Look until cancelled; then let another process go on at once."""
        try:
            while True:
                try:
                    await self.look()
                except Unavailable:
                    self._known = None
                except Exception:
                    self._known = None
                    log.exception("cannot keep the alarm journal")
                await asyncio.sleep(min(self._interval_s, lease.LASTS.total_seconds() / 4))
        finally:
            await self._release()

    async def look(self) -> None:
        """Write down what has changed, if it is ours to do; raises `Unavailable`."""
        held = await self._state.run(self._hold)
        if held is None:
            return
        alarms = await self._ask.recent_alarms(held.done - LATE)
        # The look began before it was answered: what changed meanwhile is for the next.
        steps = transitions.steps(self._known or {}, alarms, held.begun, held.now)
        if await self._state.run(lambda connection: self._write(connection, steps, held.now)) and steps:
            await self._journal.read()

    def _hold(self, connection: sa.Connection) -> lease.Held | None:
        with connection.begin():
            held = lease.hold(connection, LEASE, self._holder)
            if held is None:
                self._known = None
            elif self._known is None:
                self._known = journal.last_steps(connection, held.done - 2 * LATE)
            return held

    def _write(self, connection: sa.Connection, steps: list[Step], seen: datetime) -> bool:
        """Write, if the lease is still ours: we may have been asleep since we looked."""
        with connection.begin():
            if lease.hold(connection, LEASE, self._holder) is None:
                self._known = None
                return False
            journal.add(connection, steps, seen)
            lease.done(connection, LEASE, seen)
        self._known = {**(self._known or {}), **{step.alarm.alarm_id: step for step in steps}}
        return True

    async def _release(self) -> None:
        def release(connection: sa.Connection) -> None:
            with connection.begin():
                lease.release(connection, LEASE, self._holder)

        try:
            await self._state.run(release)
        except Unavailable:
            log.debug("the lease runs out by itself")
