"""The main loop of the judge: evaluates readings and writes the changes of alarms. One process at a time is the judge.

The judge can lose its memory at any time. It therefore regularly saves a snapshot: all sensor states, and the position
in the table of readings up to which it has evaluated the readings. After a takeover, the new judge continues from the
last snapshot. It evaluates the readings after that position again and gets the same changes. Changes that are already
in the database are not written twice.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from alarm_service.clock_watch import ClockWatch
from alarm_service.journal_follower import JournalFollower
from alarm_service.judge_input import JudgeInbox, JudgeInput, ReadingBatch
from alarm_service.judge_snapshots import SNAPSHOT_S, save_snapshot
from alarm_service.judge_store import JudgeStore
from alarm_service.judge_takeover import JudgeTakeover
from alarm_service.judge_term import JudgeTerm
from alarm_service.on_alarms import UnrecordedAlarms
from alarm_service.recording import Recording
from alarm_service.rules_in_force import RulesInForce
from alarms import outages
from alarms.model import Episode
from ask.answers import Alarm
from ask.readings import Key, Reading
from common.clock import Clock
from common.periodic import run_periodically
from errors import NotRecorded, Unavailable
from live.source import Position
from record.episode_rows import JudgedChange, identity
from record.episodes import unrecorded_alarm

log = logging.getLogger(__name__)

WORK = "judge"
"""Name of the judge's work for `Recording.attempt`."""
WRITE_BATCH = 500
"""Maximum number of changes of alarms in one transaction.

After a long time in which the database could not be written, a single transaction would exceed its time limit.
"""
POLL_S = 1.0
"""Time between two reads of the users' actions, in seconds.

The judge also writes the last values of open alarms at this interval.
"""
LAG_S = 1.0
"""The judge evaluates delays and no-data limits only up to the time that is this number of seconds before now.

Readings after that time may still be on their way to the database.
"""

RESERVED_S = 5.0
"""If another process has had the judge's lease for this time, it evaluates the alarm rules. Before, the lease may be
reserved for a process that has ended."""


class JudgeLoop:
    """Runs the judge (evaluates alarm rules and writes alarms) while this process has the judge's lease.

    If alarms cannot be recorded, it continues to evaluate readings. `unrecorded` then notifies of the new alarms. It is
    None if the settings have no targets.
    """

    def __init__(
        self,
        judge_input: JudgeInput,
        store: JudgeStore,
        journal: JournalFollower,
        in_force: RulesInForce,
        clock: Clock,
        database_lead: Callable[[float], float | None],
        recording: Recording,
        unrecorded: UnrecordedAlarms | None,
    ) -> None:
        self.completed_at = time.monotonic()
        """Time of the last poll without an error, on the monotonic clock. Initially, the time when this was created.

        If another process is the judge, a poll only tries to acquire the judge's lease.
        """
        self._recording = recording
        self._unrecorded = unrecorded
        self._input = judge_input
        self._store = store
        self._journal = journal
        self._clock = clock
        self._clock_watch = ClockWatch(database_lead)
        self._inbox = JudgeInbox()
        self._takeover = JudgeTakeover(
            judge_input, self._inbox, store, in_force, clock, self._persist_if_possible, self._set_aside_sensor
        )
        self._judge_term: JudgeTerm | None = None
        self.start: Position | None = None
        """Position in the table of readings when this process started to read it, or None before that.

        If there is no snapshot, the evaluation starts at this position. While it is None, nothing is evaluated.
        """
        self._tried = -POLL_S
        """Time of the last attempt to acquire the judge's lease, on the monotonic clock."""
        self._lost_since: float | None = None
        """Time at which the sensor database stopped answering, or None while it answers."""
        self._answers_since: float | None = None
        """Time at which the last outage of the sensor database ended, or None if there has been no outage."""
        self.is_database_lost = False
        """Whether the sensor database does not answer the heartbeat."""
        self._refused_since: float | None = None
        """Time since which other processes have had the judge's lease, on the monotonic clock; None while this process
        has it."""
        self._announced_outage: Episode | None = None
        """The outage of the sensor database since the start, if targets were notified of it before it was recorded."""
        self._woken = asyncio.Event()

    @property
    def is_judging(self) -> bool:
        """Whether this process is the judge, the process that evaluates the alarm rules."""
        return self._judge_term is not None

    async def enqueue(self, readings: Sequence[Reading]) -> None:
        """Queue new readings. The judge evaluates them when the current tick (poll) of the poller ends."""
        self._clock_watch.add_readings(readings)
        if self._inbox.is_open:
            self._inbox.add_readings(readings, self._input.live.position())
            if self._inbox.is_full:
                log.error(
                    "too many readings wait for the judge; when the databases answer, a judge continues from the last "
                    "snapshot of the alarm states"
                )
                self._leave()

    def ticked(self, answered: bool) -> None:
        """Wake the judge when a tick (poll) of the poller has ended, so that it evaluates the queued readings.

        `answered` is true if the sensor database answered the poll. In this case, the poller has handed out all
        committed readings.
        """
        now = self._clock().timestamp()
        if not answered:
            self._lost_since = self._lost_since or now
        elif self._lost_since is not None:
            self._lost_since, self._answers_since = None, now
            if self._judge_term is not None:
                self._judge_term.states.restart_no_data(now)  # sensors may have reported during the outage
        if answered:
            self._inbox.add_time(now - LAG_S)
        self._woken.set()

    async def run(self) -> None:
        """Run the judge until cancelled."""
        await run_periodically(
            self._poll_or_leave, POLL_S, log=log, purpose="evaluate alarm rules", wake=self._woken, wait_first=True
        )

    async def poll(self) -> None:
        """Evaluate the queued readings and write the changes of alarms, if this process has the judge's lease.

        Raise `Unavailable` if a database does not answer.
        """
        if self._judge_term is None and time.monotonic() - self._tried >= POLL_S:
            await self._try_to_take_over()
        judge_term = self._judge_term
        if judge_term is None:
            return
        is_due = self._is_due(judge_term)
        if not judge_term.is_full:
            self._check_clock(judge_term, is_due=is_due)
            await self._judge_inbox(judge_term)
            if is_due:
                judge_term.judge_outages(self._lost_since, self._clock().timestamp())
            if judge_term.unwritten or is_due:
                judge_term.states.set_sensors(self._input.sensors())
                await judge_term.judge_readings(judge_term.states.pop_recognised(), self._clock().timestamp())
            if judge_term.is_full:
                log.error("too many changes of alarms are not recorded; the evaluation of the alarm rules pauses")
        if (judge_term.unwritten or is_due) and time.monotonic() >= judge_term.retry_at:
            await self._persist_or_announce(judge_term)
            self.completed_at = time.monotonic()
        if self._judge_term is judge_term and not judge_term.unwritten:
            if is_due and not judge_term.is_reconciled:
                await self._reconcile(judge_term)
            await self._save_snapshot_if_due(judge_term)

    async def _poll_or_leave(self) -> None:
        try:
            await self.poll()
        except Unavailable:
            raise  # the next poll writes the changes
        except Exception:
            self._leave()
            raise

    async def _try_to_take_over(self) -> None:
        self._tried = time.monotonic()
        try:
            await self._take_over()
        except Unavailable:
            await self._raise_database_outage()
            raise
        if self._judge_term is None:  # another process is the judge
            self.completed_at = time.monotonic()

    async def _take_over(self) -> None:
        acquired = await self._store.acquire()
        if acquired is None:
            # At first, the lease may be reserved for a holder that has ended, see `lease.acquire`.
            self._refused_since = self._refused_since or time.monotonic()
            if time.monotonic() - self._refused_since >= RESERVED_S:
                self._hand_over()
            return
        self._refused_since = None
        if self.start is None:
            raise Unavailable("the server has not read the sensor database since its start")
        try:
            judge_term = await self._takeover.take_over(acquired, self.start)
        except BaseException as error:
            self._leave()
            if isinstance(error, Unavailable):
                self._recording.forget(WORK)  # the takeover also needs the sensor database
            raise
        if judge_term is not None:
            if self._answers_since is not None:
                judge_term.states.restart_no_data(self._answers_since)
            self._judge_term = judge_term
            log.info("this process now evaluates the alarm rules (%d sensors)", len(judge_term.states))

    def _hand_over(self) -> None:
        """Stop recording and announcing alarms, because another process does so."""
        self._announced_outage = None
        if self._unrecorded is not None:
            self._unrecorded.clear_unrecorded()

    def _leave(self) -> None:
        """Stop being the judge. The next poll tries to become the judge again."""
        self._judge_term = None
        self._inbox.close()

    async def _raise_database_outage(self) -> None:
        """Raise the outage alarm if the sensor database does not answer.

        `poll` calls this method if a database did not answer during a takeover. A takeover needs the sensor database.
        Without this method, there might therefore be no process that raises the alarm.
        """
        if self._lost_since is None:
            return
        is_away_since_start = self.is_database_lost and self.start is None
        after_s = outages.START_OUTAGE_AFTER_S if is_away_since_start else outages.DATABASE_OUTAGE_AFTER_S
        try:
            written = await self._store.write_database_outage(lambda: self._lost_since, after_s)
        except Unavailable:
            if is_away_since_start:
                self._announce_outage(self._lost_since, after_s)
            raise
        if written:
            self._announced_outage = None
            self._settle(written, is_last=True)
            await self._journal.push_new()

    def _announce_outage(self, since: float, after_s: float) -> None:
        """Notify of the outage if neither database has answered since the start.

        Without the database `state`, the processes cannot agree on a judge, so each of them sends its own notice.
        """
        if self._unrecorded is None or self._announced_outage is not None:
            return
        for change in outages.database_outage(None, since, self._clock().timestamp(), after_s):
            self._announced_outage = change.episode
            alarm = unrecorded_alarm(JudgedChange(change, None, None), ())
            self._unrecorded.add_unrecorded([] if alarm is None else [alarm])

    async def _reconcile(self, judge_term: JudgeTerm) -> None:
        identities = [identity(episode) for episode in judge_term.states.last_episodes()]
        judge_term.reconcile(await self._store.written_episodes(identities), self._clock().timestamp())

    async def _save_snapshot_if_due(self, judge_term: JudgeTerm) -> None:
        if time.monotonic() < judge_term.snapshot_due:
            return
        try:
            if not await save_snapshot(self._store, judge_term):
                self._leave()
        except Unavailable:
            raise
        except Exception as error:
            # Alarms do not depend on the snapshot: without it, a takeover evaluates more readings.
            self._store.set_aside.add("snapshot", "the judge", error)
            judge_term.snapshot_due = time.monotonic() + SNAPSHOT_S

    def _set_aside_sensor(self, key: Key, error: Exception) -> None:
        self._store.set_aside.add("reading", key, error)

    def _check_clock(self, judge_term: JudgeTerm, *, is_due: bool) -> None:
        """Compare the server's clock with other clocks, and raise or clear the alarm about a wrong clock.

        While the clock is wrong, the server cannot use new readings, so no sensor counts as a sensor without
        data.
        """
        now = self._clock().timestamp()
        watch = self._clock_watch
        if is_due or watch.differs_from_database(now):
            watch.check(judge_term.states.sensor, now, is_open=judge_term.is_clock_alarm_open)
        if watch.error_s is not None and watch.has_recent_readings:
            judge_term.states.restart_no_data(now)
        if is_due and judge_term.judge_clock(watch.error_s, watch.wrong_for_s, now):
            log.error(
                "the clocks of the sensors or of the database are %+.0f s ahead of this server's clock; correct the "
                "wrong clock, for example with NTP",
                watch.error_s,
            )

    async def _judge_inbox(self, judge_term: JudgeTerm) -> None:
        entries = self._inbox.drain()
        for entry in entries:
            if isinstance(entry, ReadingBatch):
                await judge_term.judge_readings(entry.readings, self._clock().timestamp())
                judge_term.position = entry.position
        times = [entry for entry in entries if not isinstance(entry, ReadingBatch)]
        if times:
            await judge_term.judge_time(times[-1])

    def _is_due(self, judge_term: JudgeTerm) -> bool:
        """Return whether the last values of open alarms must be written, and the users' actions must be read."""
        now = time.monotonic()
        return now - judge_term.synced_at >= POLL_S and now >= judge_term.retry_at

    async def _persist_or_announce(self, judge_term: JudgeTerm) -> None:
        """Write the unwritten changes of alarms. If this fails, let `unrecorded` notify of them."""
        try:
            await self._persist(judge_term)
        except Unavailable:
            judge_term.retry_at = time.monotonic() + POLL_S
            if self._unrecorded is not None and self._judge_term is judge_term:
                self._unrecorded.add_unrecorded(judge_term.pop_unannounced())
            raise

    async def _persist(self, judge_term: JudgeTerm) -> None:
        """Write the unwritten changes of alarms in `judge_term`, and apply new actions of users to `judge_term`.

        Stop being the judge if another process has the lease.
        """
        if self._announced_outage is not None:
            judge_term.add_past_outage(self._announced_outage, self._clock().timestamp())
        while await self._persist_batch(judge_term):
            pass
        self._announced_outage = None

    async def _persist_if_possible(self, judge_term: JudgeTerm) -> None:
        """Do the same as `_persist`. If the database cannot be written, leave the changes to the next poll."""
        try:
            await self._persist(judge_term)
        except NotRecorded:
            log.debug("the changes found in the takeover are not recorded yet")

    async def _persist_batch(self, judge_term: JudgeTerm) -> bool:
        """Write the first unwritten changes. Return whether there are more."""
        now = self._clock()
        judged = judge_term.unwritten[:WRITE_BATCH]
        count = len(judged)
        is_last = count == len(judge_term.unwritten)
        is_due = is_last and self._is_due(judge_term)
        if is_due:
            refreshed = [*judge_term.refreshed.values(), *judge_term.up_to_date_changes(now)]
            judged += [judge_term.judged_change(change, now) for change in refreshed]
        with self._recording.attempt(WORK):
            result = await self._store.write(judge_term, judged)
        if result is None:
            log.info("another process now evaluates the alarm rules; this process stops")
            self._leave()
            self._hand_over()
            return False
        judge_term.remove_written(count)
        if is_due:
            judge_term.refreshed.clear()
            judge_term.synced_at = time.monotonic()
        judge_term.remember_late(judged)
        judge_term.apply(result, now.timestamp())
        self._settle(result.written.alarms, is_last=is_last)
        if result.written.alarms:
            await self._journal.push_new()
        return not is_last

    def _settle(self, alarms: Sequence[Alarm], *, is_last: bool) -> None:
        """Stop notifying of these alarms from memory, because they are recorded now."""
        if self._unrecorded is not None:
            self._unrecorded.settle(alarms)
            if is_last:
                self._unrecorded.clear_unrecorded()
