"""Takeover: this process becomes the judge, the process that evaluates the alarm rules.

The new judge continues from the last snapshot. If there is no snapshot, it starts from the open alarms and the newest
readings.
"""

from collections.abc import Awaitable, Callable, Sequence

from alarm_service.judge_input import JudgeInbox, JudgeInput
from alarm_service.judge_snapshots import SnapshotHead, load_snapshot
from alarm_service.judge_store import AcquiredLease, JudgeStore
from alarm_service.judge_term import JudgeTerm
from alarm_service.rules_in_force import RulesInForce
from alarm_service.sensor_states import SensorStates
from ask.readings import Key, Reading
from common.clock import Clock
from live.source import Position, Source


class JudgeTakeover:
    """Makes this process the judge, the process that evaluates the alarm rules.

    `persist` writes to the database the changes of alarms that a `JudgeTerm` (the memory of the judge) contains. If
    another process has the lease, `persist` closes the inbox (the queue of new readings). `set_aside` is called with
    each sensor whose reading cannot be evaluated.
    """

    def __init__(
        self,
        judge_input: JudgeInput,
        inbox: JudgeInbox,
        store: JudgeStore,
        in_force: RulesInForce,
        clock: Clock,
        persist: Callable[[JudgeTerm], Awaitable[None]],
        set_aside: Callable[[Key, Exception], None],
    ) -> None:
        self._input = judge_input
        self._inbox = inbox
        self._store = store
        self._in_force = in_force
        self._clock = clock
        self._persist = persist
        self._set_aside = set_aside

    async def take_over(self, acquired: AcquiredLease, start: Position) -> JudgeTerm | None:
        """Evaluate all readings since the last snapshot, or since the position `start` if there is no snapshot.

        Return the memory of the new judge. Return None if another process has acquired the lease in the meantime. Raise
        `Unavailable` if a database does not answer. The inbox (the queue of new readings) is open after success, and
        may be open after an error.
        """
        judge_term = JudgeTerm(acquired.term, self._new_states(), acquired.cursor, self._input.live.position())
        head = await self._load_snapshot(judge_term, acquired)
        judge_term.apply(await self._store.sync(judge_term), self._clock().timestamp())
        if head is None:
            await self._adopt(judge_term)
        # Query the newest readings first. If they were queried after the catch-up, one of them could be evaluated
        # before earlier readings of its sensor.
        newest = await self._input.ask.newest() if head is None else []
        await self._judge(judge_term, head.unknown if head else [])
        await self._catch_up(judge_term, start if head is None else head.position)
        # Most sensors have sent nothing since `start`, so their newest reading was not read in `_catch_up`.
        await self._judge(judge_term, [reading for reading in newest if not judge_term.states.has_reading(reading.key)])
        await self._persist(judge_term)
        if not self._inbox.is_open:
            return None
        await self._adopt(judge_term)
        return judge_term

    def _new_states(self) -> SensorStates:
        states = SensorStates(self._in_force.configured, defaults=self._in_force.defaults, set_aside=self._set_aside)
        states.set_sensors(self._input.sensors())
        return states

    async def _load_snapshot(self, judge_term: JudgeTerm, acquired: AcquiredLease) -> SnapshotHead | None:
        if acquired.snapshot is None:
            return None
        head = await load_snapshot(self._store, *acquired.snapshot, judge_term.states)
        if head is None:
            judge_term.states = self._new_states()
        else:
            judge_term.cursor = head.cursor
        return head

    async def _adopt(self, judge_term: JudgeTerm) -> None:
        """Add the open alarms from the database to the sensor states. Otherwise these alarms would never end."""
        opened, late = await self._store.open_episodes()
        judge_term.adopt(opened, late)

    async def _catch_up(self, judge_term: JudgeTerm, position: Position) -> None:
        """Evaluate the readings after `position`, and open the inbox, which queues new readings.

        `position` is a position in the table of readings.
        """
        source = self._input.new_source()
        await source.resume_at(position)
        await self._judge_all(judge_term, source)
        # From now on the poller's readings are queued. The second call reads what the poller handed out before.
        self._inbox.open()
        judge_term.position = self._input.live.position()
        await self._judge_all(judge_term, source)

    async def _judge_all(self, judge_term: JudgeTerm, source: Source) -> None:
        more = True
        while more:
            readings, more = await source.read_new()
            await self._judge(judge_term, readings)

    async def _judge(self, judge_term: JudgeTerm, readings: Sequence[Reading]) -> None:
        await judge_term.judge_readings(readings, self._clock().timestamp())
