"""The running judge: judges readings and writes what changes, in one process at a time.

What is in memory can be thrown away at any time. The states of all sensors are written down regularly, together with
how far the readings had been read; the process that takes over reads on from there. It comes to the same changes again,
which are not written twice, and goes on as if nothing had happened.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

import sqlalchemy as sa

from alarm_service.journal_follower import JournalFollower
from alarm_service.judge_input import JudgeInbox, JudgeInput, ReadingBatch
from alarm_service.judge_snapshots import save_snapshot
from alarm_service.judge_store import JudgeStore
from alarm_service.judge_takeover import JudgeTakeover
from alarm_service.judge_term import JudgeTerm
from alarm_service.rules_in_force import RulesInForce
from ask.readings import Reading
from common.clock import Clock
from common.periodic import run_periodically
from errors import Unavailable
from live.source import Position

log = logging.getLogger(__name__)

POLL_S = 1.0
"""Between two polls of what people have done, and between two writes of an open episode's last value."""
LAG_S = 1.0
"""Readings take a moment to be written: time passes for the judge this much later."""


class JudgeLoop:
    """Judges while the `store` has the lease for this process."""

    def __init__(
        self,
        judge_input: JudgeInput,
        store: JudgeStore,
        journal: JournalFollower,
        in_force: RulesInForce,
        clock: Clock,
    ) -> None:
        self._input = judge_input
        self._store = store
        self._journal = journal
        self._clock = clock
        self._inbox = JudgeInbox()
        self._takeover = JudgeTakeover(judge_input, self._inbox, store, in_force, clock, self._persist)
        self._judge_term: JudgeTerm | None = None
        self._start = Position()
        """The poller's position when this process started: readings are judged from here on."""
        self._tried = -POLL_S
        """When this process last tried to acquire the lease, on the monotonic clock."""
        self._lost_since: float | None = None
        """Since when the readings' database has not answered; None while it does."""
        self._woken = asyncio.Event()

    @property
    def is_judging(self) -> bool:
        """Whether this process judges."""
        return self._judge_term is not None

    @property
    def last_contact(self) -> float:
        """When the database last told which process judges, by `time.monotonic`."""
        return self._store.last_contact

    async def enqueue(self, readings: Sequence[Reading]) -> None:
        """Add new readings; they are judged when the tick is over."""
        if self._inbox.is_open:
            self._inbox.add_readings(readings, self._input.live.position())
            if self._inbox.is_full:
                self._leave()

    def ticked(self, answered: bool) -> None:
        """Judge what has come; `answered`: the database did, and all committed readings have been handed out."""
        now = self._clock().timestamp()
        if not answered:
            self._lost_since = self._lost_since or now
        elif self._lost_since is not None:
            self._lost_since = None
            if self._judge_term is not None:
                self._judge_term.states.restart_no_data(now)  # a sensor that could not be read was not without data
        if answered:
            self._inbox.add_time(now - LAG_S)
        self._woken.set()

    async def run(self) -> None:
        """Judge until cancelled."""
        self._start = self._input.live.position()
        await run_periodically(self._poll_or_leave, POLL_S, log=log, purpose="judge", wake=self._woken, wait_first=True)

    async def poll(self) -> None:
        """Judge what has come and write the changes, if this process has the lease; raises `Unavailable`."""
        if self._judge_term is None and time.monotonic() - self._tried >= POLL_S:
            self._tried = time.monotonic()
            try:
                await self._take_over()
            except Unavailable:
                await self._raise_database_outage()
                raise
        judge_term = self._judge_term
        if judge_term is None:
            return
        is_due = time.monotonic() - judge_term.synced_at >= POLL_S
        if not judge_term.unwritten:  # else it could not be written, and nothing more is judged until it is
            await self._judge_inbox(judge_term)
            if is_due:
                judge_term.judge_outages(self._lost_since, self._clock().timestamp())
        if judge_term.unwritten or is_due:
            judge_term.states.set_sensors(self._input.sensors())
            await judge_term.judge_readings(judge_term.states.pop_recognised(), self._clock().timestamp())
            await self._persist(judge_term)
        if self._judge_term is judge_term and not judge_term.unwritten:
            await self._save_snapshot_if_due(judge_term)

    async def _poll_or_leave(self) -> None:
        try:
            await self.poll()
        except Unavailable:
            raise  # the changes are written later
        except sa.exc.IntegrityError:
            log.info("another process has written what we were about to: acquiring the lease anew")
            self._leave()
        except Exception:
            self._leave()
            raise

    async def _take_over(self) -> None:
        acquired = await self._store.acquire()
        if acquired is None:
            return
        try:
            judge_term = await self._takeover.take_over(acquired, self._start)
        except BaseException:
            self._leave()
            raise
        if judge_term is not None:
            self._judge_term = judge_term
            log.info("judging %d sensors", len(judge_term.states))

    def _leave(self) -> None:
        """Stop judging; the next poll tries to take over again."""
        self._judge_term = None
        self._inbox.close()

    async def _raise_database_outage(self) -> None:
        """Raise an alarm for a readings' database that was lost before any process took over."""
        if self._lost_since is not None and await self._store.write_database_outage(lambda: self._lost_since):
            await self._journal.push_new()

    async def _save_snapshot_if_due(self, judge_term: JudgeTerm) -> None:
        if time.monotonic() >= judge_term.snapshot_due and not await save_snapshot(self._store, judge_term):
            self._leave()

    async def _judge_inbox(self, judge_term: JudgeTerm) -> None:
        entries = self._inbox.drain()
        for entry in entries:
            if isinstance(entry, ReadingBatch):
                await judge_term.judge_readings(entry.readings, self._clock().timestamp())
                judge_term.position = entry.position
        times = [entry for entry in entries if not isinstance(entry, ReadingBatch)]
        if times:
            await judge_term.judge_time(times[-1])

    async def _persist(self, judge_term: JudgeTerm) -> None:
        """Write a term's changes and apply what people have done; leave if another process has the lease."""
        now = self._clock()
        changes = list(judge_term.unwritten)
        is_due = time.monotonic() - judge_term.synced_at >= POLL_S
        if is_due:
            changes += [*judge_term.refreshed.values(), *judge_term.up_to_date_changes(now)]
        judged = [judge_term.judged_change(change, now) for change in changes]
        result = await self._store.write(judge_term, judged)
        if result is None:
            log.info("another process judges")
            self._leave()
            return
        judge_term.unwritten.clear()
        if is_due:
            judge_term.refreshed.clear()
            judge_term.synced_at = time.monotonic()
        judge_term.remember_late(judged)
        judge_term.apply(result)
        if result.written.alarms:
            await self._journal.push_new()
