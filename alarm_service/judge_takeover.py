"""How a process takes over judging: from the last snapshot, or else from the open alarms and the newest readings."""

from collections.abc import Awaitable, Callable, Sequence

from alarm_service.judge_input import JudgeInbox, JudgeInput
from alarm_service.judge_snapshots import SnapshotHead, load_snapshot
from alarm_service.judge_store import AcquiredLease, JudgeStore
from alarm_service.judge_term import JudgeTerm
from alarm_service.rules_in_force import RulesInForce
from alarm_service.sensor_states import SensorStates
from ask.readings import Reading
from common.clock import Clock
from live.source import Position, Source


class JudgeTakeover:
    """Takes over; `persist` writes a term's changes, and closes the inbox if the lease was lost."""

    def __init__(
        self,
        judge_input: JudgeInput,
        inbox: JudgeInbox,
        store: JudgeStore,
        in_force: RulesInForce,
        clock: Clock,
        persist: Callable[[JudgeTerm], Awaitable[None]],
    ) -> None:
        self._input = judge_input
        self._inbox = inbox
        self._store = store
        self._in_force = in_force
        self._clock = clock
        self._persist = persist

    async def take_over(self, acquired: AcquiredLease, start: Position) -> JudgeTerm | None:
        """Judge everything that came before now; without a snapshot, from `start` on. None if the lease was lost.

        Raises `Unavailable`. The inbox is open afterwards, and may be after an error.
        """
        judge_term = JudgeTerm(acquired.term, self._new_states(), acquired.cursor, self._input.live.position())
        head = await self._load_snapshot(judge_term, acquired)
        judge_term.apply(await self._store.sync(judge_term))
        if head is None:
            await self._adopt(judge_term)
        # Asked for before any other reading: one that came in between would be judged before earlier ones.
        newest = await self._input.ask.newest() if head is None else []
        await self._judge(judge_term, head.unknown if head else [])
        await self._catch_up(judge_term, start if head is None else head.position)
        # Most sensors have sent nothing since `start`.
        await self._judge(judge_term, [reading for reading in newest if not judge_term.states.has_reading(reading.key)])
        await self._persist(judge_term)
        if not self._inbox.is_open:
            return None
        await self._adopt(judge_term)
        return judge_term

    def _new_states(self) -> SensorStates:
        states = SensorStates(self._in_force.configured, defaults=self._in_force.defaults)
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
        """Add the alarms that are open in the database and would otherwise never end."""
        opened, late = await self._store.open_episodes()
        judge_term.adopt(opened, late)

    async def _catch_up(self, judge_term: JudgeTerm, position: Position) -> None:
        """Judge the readings that have come since then."""
        source = self._input.new_source()
        await source.resume_at(position)
        await self._judge_all(judge_term, source)
        # Readings that the poller hands out from now on wait. Those that it handed out before can be read here.
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
