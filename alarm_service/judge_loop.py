"""The running judge: hands readings to the judge and writes down what it says, in one process at a time.

What is in memory can be thrown away at any time. From time to time the states of all sensors are written down together
with how far the readings had been read; whoever takes over reads on from there. The judge says again then what it had
said already, which is not written again, and goes on as if nothing had happened.
"""

import asyncio
import logging
import math
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

import ask.episodes
import ask.journal
import ask.maintenance
import ask.rules
from alarm_service.journal_follower import JournalFollower
from alarm_service.sensor_states import SensorStates
from alarm_service.site_alarms import LEASE
from alarms import outages, rules
from alarms.model import CLOSED, NO_DATA, REFRESHED, Change, Episode
from ask import Ask
from ask.answers import EVERYWHERE, Alarm, Id, Maintenance
from ask.readings import Reading
from ask.sensors import Sensor
from common.clock import Clock
from db.database import Database
from errors import Unavailable
from live.newest import Newest
from live.source import Position, Source
from record import episodes, lease, snapshots
from record.episodes import Closed, Identity, JudgedChange, Written, identity, moment

log = logging.getLogger("live")

LOOK_S = 1.0
"""Between two looks at what people have done, and between two refreshments of an open episode."""
LAG_S = 1.0
"""What is measured takes a moment to be written: time passes for the judge so much later."""
LATE_S = 180.0
"""So old a change is late where the sensor's silence is not watched."""
PORTION = 500
"""Sensors or readings between two breaths of the event loop."""
MOST_WAITING = 500_000
"""Readings that may wait while nothing can be written; then they are read again from the last snapshot."""
SNAPSHOT_S = 10.0
SNAPSHOT_SHARE = 20
"""A snapshot may take this part of the time between two."""
MAINTENANCE_KEPT = timedelta(days=8)
"""For how long what is over still silences what comes late."""

Tell = Callable[[sa.Connection, Sequence[Alarm]], None]
"""Called in the transaction of a change, in a worker thread, with each alarm as it was after each step.

One more time it comes with an alarm, without a step, when its readings came `late` and are up to date now.
"""


class SnapshotHead(msgspec.Struct, frozen=True):
    """What a snapshot says besides the states."""

    parts: int
    position: Position
    cursor: int
    """The last transition of the journal that the states know of."""
    unknown: Sequence[Reading] = ()
    """Those of sensors that were not known yet: they lie before the position, and in no state."""


class Portion(NamedTuple):
    """Readings, and how far the poller had come with them."""

    readings: Sequence[Reading]
    position: Position


@dataclass
class JudgeTerm:
    """What the process that judges knows, for as long as it has the lease."""

    term: int
    states: SensorStates
    cursor: int
    position: Position
    versions: tuple[int, int] = (-1, -1)
    """Of the rules, and of the maintenance; those of none are 0."""
    maintenance: Sequence[Maintenance] = ()
    said: list[Change] = field(default_factory=list)
    """What is not written yet."""
    refreshed: dict[Identity, Change] = field(default_factory=dict)
    """The last values of open episodes, which can wait."""
    causes: dict[Id, Episode] = field(default_factory=dict)
    """The last alarm of each storehouse that fell silent as a whole."""
    late: dict[Identity, Episode] = field(default_factory=dict)
    """Those that are open and came late."""
    looked: float = 0.0
    """When the database was last looked at, and below when a snapshot is due; on the monotonic clock."""
    snapshot_due: float = 0.0


class SyncResult(NamedTuple):
    """What a look at the database has brought."""

    written: Written
    closed: list[Closed]
    cursor: int
    versions: tuple[int, int]
    rules: Sequence[rules.Rule] | None
    maintenance: Sequence[Maintenance] | None


class JudgeLoop:
    """Judges while this process, `holder`, has the lease. `live` is what the poller reads from, `another` one like it.

    `begun` are the rules until people save others, `tell` is called with what is written.
    """

    def __init__(
        self,
        asking: Ask,
        newest: Newest,
        live: Source,
        another: Callable[[], Source],
        state: Database,
        followed: JournalFollower,
        holder: str,
        clock: Clock,
        begun: Sequence[rules.Rule],
        *,
        defaults: bool,
        tell: Tell,
    ) -> None:
        self._ask = asking
        self._newest = newest
        self._live = live
        self._another = another
        self._state = state
        self._journal = followed
        self._holder = holder
        self._clock = clock
        self._begun = begun
        self._defaults = defaults
        self._tell = tell
        self.looked = time.monotonic()
        """When the database last said who judges, by `time.monotonic`; at first, now."""
        self._sensors: list[Sensor] = []
        self._judge_term: JudgeTerm | None = None
        self._inbox: list[Portion | float] | None = None
        """What has come and is not judged yet, times among it; None while others judge."""
        self._waiting = 0
        self._first = Position()
        """How far the readings had come when we began: from here on they are judged."""
        self._tried = -LOOK_S
        self._lost_since: float | None = None
        """Since when the readings' database has not answered; None while it does."""
        self._woken = asyncio.Event()

    @property
    def is_ours(self) -> bool:
        """Whether this process judges."""
        return self._judge_term is not None

    async def take(self, readings: Sequence[Reading]) -> None:
        """Take over new readings; they are judged when the tick is over."""
        if self._inbox is None:
            return
        self._inbox.append(Portion(readings, self._live.position()))
        self._waiting += len(readings)
        if self._waiting > MOST_WAITING:
            self._leave()

    def ticked(self, answered: bool) -> None:
        """Judge what has come; `answered`: the database did, and all that is committed has been handed out."""
        now = self._clock().timestamp()
        if not answered:
            self._lost_since = self._lost_since or now
        elif self._lost_since is not None:
            self._lost_since = None
            if self._judge_term is not None:
                self._judge_term.states.forgive(now)  # who could not be heard was not silent
        if answered and self._inbox is not None:
            self._inbox.append(now - LAG_S)
        self._woken.set()

    async def run(self) -> None:
        """Judge until cancelled."""
        self._first = self._live.position()
        while True:
            with suppress(TimeoutError):
                # Not wait_for: that of Python 3.11 loses a cancellation which meets the event.
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()
            self._woken.clear()
            try:
                await self.look()
            except Unavailable:
                log.debug("what the judge says cannot be written")
            except sa.exc.IntegrityError:
                log.info("another process has written what we were about to: finding out anew")
                self._leave()
            except Exception:
                log.exception("cannot judge")
                self._leave()

    async def look(self) -> None:
        """Judge what has come and write it down, if it is ours to do; raises `Unavailable`."""
        if self._judge_term is None and time.monotonic() - self._tried >= LOOK_S:
            self._tried = time.monotonic()
            try:
                await self._enter()
            except Unavailable:
                await self._tell_of_loss()
                raise
        judge_term = self._judge_term
        if judge_term is None:
            return
        is_due = time.monotonic() - judge_term.looked >= LOOK_S
        if not judge_term.said:  # else it could not be written, and nothing more is judged until it is
            await self._judge(judge_term)
            if is_due:
                self._find_causes(judge_term)
        if judge_term.said or is_due:
            self._learn(judge_term.states)
            await self._fold(judge_term, judge_term.states.recognised())
            await self._keep(judge_term)
        if self._judge_term is judge_term and not judge_term.said and time.monotonic() >= judge_term.snapshot_due:
            await self._snapshot(judge_term)

    # Taking over

    async def _enter(self) -> None:
        found = await self._state.run(self._hold)
        self.looked = time.monotonic()
        if found is None:
            return
        term, cursor, last = found
        judge_term = JudgeTerm(term, self._new_states(), cursor, self._live.position())
        head = await self._load(judge_term, *last) if last else None
        try:
            await self._learn_rules(judge_term)
            if head is None:
                await self._adopt(judge_term)
            # Asked before all else is read: what comes after that would be judged before what came earlier.
            newest = await self._ask.newest() if head is None else []
            await self._fold(judge_term, head.unknown if head else [])
            await self._catch_up(judge_term, self._first if head is None else head.position)
            # Of most sensors nothing has come since we began.
            await self._fold(judge_term, [one for one in newest if not judge_term.states.has_heard(one.key)])
            await self._keep(judge_term)
            if self._inbox is None:  # the lease was lost meanwhile
                return
            await self._adopt(judge_term)
        except BaseException:
            self._leave()
            raise
        self._judge_term = judge_term
        log.info("judging %d sensors", len(judge_term.states))

    def _new_states(self) -> SensorStates:
        states = SensorStates(self._begun, defaults=self._defaults)
        self._sensors = []
        self._learn(states)
        return states

    def _learn(self, states: SensorStates) -> None:
        """Take over which sensors there are."""
        places = self._newest.storehouses()
        sensors = [sensor for place in places for sensor in self._newest.sensors(place.store_house_id)]
        if sensors != self._sensors:
            states.learn(sensors)
            self._sensors = sensors

    def _leave(self) -> None:
        self._judge_term, self._inbox, self._waiting = None, None, 0

    async def _load(self, judge_term: JudgeTerm, snapshot_key: str, head: bytes) -> SnapshotHead | None:
        """Take over a snapshot; None where it cannot be read, as after a change of its form."""
        try:
            found = msgspec.json.decode(head, type=SnapshotHead)
            for number in range(1, found.parts + 1):
                part = await self._state.run(partial(snapshots.part, snapshot_key=snapshot_key, number=number))
                judge_term.states.decode(zlib.decompress(part or b""))
                await asyncio.sleep(0)
        except (msgspec.DecodeError, zlib.error):
            log.warning("the judge's last snapshot cannot be read: beginning anew with what is open")
            judge_term.states = self._new_states()
            return None
        judge_term.cursor = found.cursor
        return found

    async def _tell_of_loss(self) -> None:
        """Have an alarm for a readings' database that has been lost since before anybody took over."""
        if self._lost_since is not None and await self._state.run(self._write_loss):
            await self._journal.read()

    async def _learn_rules(self, judge_term: JudgeTerm) -> None:
        self._take_over(judge_term, await self._state.run(lambda connection: self._look(connection, judge_term)))

    async def _catch_up(self, judge_term: JudgeTerm, position: Position) -> None:
        """Judge what has come since then."""
        source = self._another()
        await source.resume(position)
        await self._read(judge_term, source)
        # What the poller hands out from now on waits. What it handed out before is there to be read.
        self._inbox = []
        judge_term.position = self._live.position()
        await self._read(judge_term, source)

    async def _adopt(self, judge_term: JudgeTerm) -> None:
        """Take over what is open in the database and would otherwise never end."""
        opened, late = await self._state.run(_open)
        for episode in opened:
            judge_term.states.adopt(episode)
            if episode.key is None and episode.kind == NO_DATA:
                judge_term.causes[episode.store_house_id] = episode
        judge_term.late = {identity(episode): episode for episode in late}

    async def _read(self, judge_term: JudgeTerm, source: Source) -> None:
        more = True
        while more:
            readings, more = await source.read()
            await self._fold(judge_term, readings)

    # Judging

    async def _judge(self, judge_term: JudgeTerm) -> None:
        inbox, self._inbox, self._waiting = self._inbox or [], [], 0
        for one in inbox:
            if isinstance(one, Portion):
                await self._fold(judge_term, one.readings)
                judge_term.position = one.position
        times = [one for one in inbox if not isinstance(one, Portion)]
        if times:
            keys = judge_term.states.keys()
            for start in range(0, len(keys), PORTION):
                self._hear(judge_term, judge_term.states.passed(keys[start : start + PORTION], times[-1]))
                await asyncio.sleep(0)

    async def _fold(self, judge_term: JudgeTerm, readings: Sequence[Reading]) -> None:
        now = self._clock().timestamp()
        for start in range(0, len(readings), PORTION):
            self._hear(judge_term, judge_term.states.take(readings[start : start + PORTION], now))
            await asyncio.sleep(0)

    def _hear(self, judge_term: JudgeTerm, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.what == REFRESHED:
                judge_term.refreshed[identity(change.episode)] = change
            else:
                judge_term.refreshed.pop(identity(change.episode), None)  # it is older
                judge_term.said.append(change)

    def _find_causes(self, judge_term: JudgeTerm) -> None:
        """Have one alarm for a storehouse that falls silent as a whole, and for the database."""
        now = self._clock().timestamp()
        everywhere = judge_term.causes.get(EVERYWHERE)
        changes = outages.lost(everywhere, self._lost_since, now)
        singles = judge_term.states.silent()
        for place in singles.keys() | (judge_term.causes.keys() - {EVERYWHERE}):
            watched = judge_term.states.watched(place)
            changes += outages.silent(place, watched, singles.get(place, []), judge_term.causes.get(place), now)
        for change in changes:
            judge_term.causes[change.episode.store_house_id] = change.episode
        self._hear(judge_term, changes)

    # Keeping

    async def _keep(self, judge_term: JudgeTerm) -> None:
        now = self._clock()
        changes = list(judge_term.said)
        is_due = time.monotonic() - judge_term.looked >= LOOK_S
        if is_due:
            changes += [*judge_term.refreshed.values(), *self._current(judge_term, now)]
        said = [self._said(judge_term, change, now) for change in changes]
        kept = await self._state.run(lambda connection: self._write(connection, judge_term, said))
        self.looked = time.monotonic()
        if kept is None:
            log.info("another process judges")
            self._leave()
            return
        judge_term.said.clear()
        if is_due:
            judge_term.refreshed.clear()
            judge_term.looked = time.monotonic()
        self._remember_late(judge_term, said)
        self._take_over(judge_term, kept)
        if kept.written.alarms:
            await self._journal.read()

    def _said(self, judge_term: JudgeTerm, change: Change, now: datetime) -> JudgedChange:
        episode = change.episode
        sensor = judge_term.states.sensor(episode.key) if episode.key else None
        return JudgedChange(
            change,
            sensor.sensor_name if sensor else None,
            sensor.metric if sensor else None,
            late=self._is_late(judge_term, change, now),
            silenced=_is_silenced(judge_term.maintenance, moment(change.time), episode),
        )

    def _is_late(self, judge_term: JudgeTerm, change: Change, now: datetime) -> bool:
        episode = change.episode
        if episode.key is None or (episode.kind == NO_DATA and episode.cleared is None):
            return False
        if change.what == REFRESHED:
            late = identity(episode) in judge_term.late
            return late and not judge_term.states.is_current(episode.key, now.timestamp())
        no_data_after_s = judge_term.states.no_data_after_s(episode.key)
        return change.time < now.timestamp() - (no_data_after_s if math.isfinite(no_data_after_s) else LATE_S)

    def _current(self, judge_term: JudgeTerm, now: datetime) -> list[Change]:
        """Have those looked at again that came late, and whose sensors are up to date now."""
        stamp = now.timestamp()
        # What is said of an episode now is newer than what is known of it here.
        said = {identity(change.episode) for change in judge_term.said} | judge_term.refreshed.keys()
        return [
            Change(REFRESHED, stamp, episode)
            for which, episode in judge_term.late.items()
            if which not in said and episode.key and judge_term.states.is_current(episode.key, stamp)
        ]

    def _remember_late(self, judge_term: JudgeTerm, said: Sequence[JudgedChange]) -> None:
        for one in said:
            episode = one.change.episode
            if one.late and episode.raised is not None and episode.cleared is None:
                judge_term.late[identity(episode)] = episode
            else:
                judge_term.late.pop(identity(episode), None)

    def _take_over(self, judge_term: JudgeTerm, kept: SyncResult) -> None:
        # First those of which more was said since than their closing knows of.
        for closed in (*kept.written.closed, *kept.closed):
            self._hear(judge_term, judge_term.states.close(closed))
        for episode in kept.written.other:
            judge_term.states.adopt(episode)
        judge_term.cursor, judge_term.versions = kept.cursor, kept.versions
        if kept.rules is not None:
            judge_term.states.rule(kept.rules)
        if kept.maintenance is not None:
            judge_term.maintenance = kept.maintenance

    # These run in a worker thread, which may go on when nobody waits for it any more: they keep nothing.

    def _hold(self, connection: sa.Connection) -> tuple[int, int, tuple[str, bytes] | None] | None:
        """Return the lease's term, the journal's end and the last snapshot; None if the lease is not ours."""
        with connection.begin():
            held = lease.hold(connection, LEASE, self._holder)
            if held is None:
                return None
            return held.term, ask.journal.last(connection), snapshots.last(connection)

    def _write(
        self, connection: sa.Connection, judge_term: JudgeTerm, said: Sequence[JudgedChange]
    ) -> SyncResult | None:
        """Write down what was said; None if the lease is not ours any more."""
        with connection.begin():
            held = lease.hold(connection, LEASE, self._holder)
            if held is None or held.term != judge_term.term:
                return None
            # The cause goes first, so that its parts know of it from their beginning.
            first = episodes.write(connection, [one for one in said if one.change.episode.key is None], held.now)
            causes = episodes.causes(connection)
            rest = [_part(one, causes) for one in said if one.change.episode.key is not None]
            written = episodes.write(connection, rest, held.now).after(first)
            if judge_term.maintenance:
                episodes.silence(connection, partial(_is_silenced, judge_term.maintenance, held.now))
            if written.alarms or written.current:
                self._tell(connection, [*written.alarms, *written.current])
            return self._look(connection, judge_term)._replace(written=written)

    def _write_loss(self, connection: sa.Connection) -> bool:
        """Write down that the readings' database is lost, if that is so and new."""
        with connection.begin():
            held = lease.hold(connection, LEASE, self._holder)
            if held is None:
                return False
            opened = episodes.open_episodes(connection)
            known = next((one for one in opened if (one.store_house_id, one.kind) == (EVERYWHERE, NO_DATA)), None)
            changes = outages.lost(known, self._lost_since, self._clock().timestamp()) if self._lost_since else []
            alarms = episodes.write(
                connection, [JudgedChange(change, None, None) for change in changes], held.now
            ).alarms
            if alarms:
                self._tell(connection, alarms)
            return bool(alarms)

    def _look(self, connection: sa.Connection, judge_term: JudgeTerm) -> SyncResult:
        """Find out what people have done since the last look."""
        cursor = ask.journal.last(connection)
        closed = [
            number
            for one in _since(connection, judge_term.cursor, cursor)
            if one.transition == CLOSED and (number := ask.episodes.episode_id(one.alarm_id)) is not None
        ]
        versions = ask.rules.version(connection), ask.maintenance.version(connection)
        return SyncResult(
            Written([], [], [], []),
            episodes.closed_by_hand(connection, closed) if closed else [],
            cursor,
            versions,
            self._rules(connection) if versions[0] != judge_term.versions[0] else None,
            ask.maintenance.after(connection, self._clock() - MAINTENANCE_KEPT)
            if versions[1] != judge_term.versions[1]
            else None,
        )

    def _rules(self, connection: sa.Connection) -> Sequence[rules.Rule]:
        saved = ask.rules.saved(connection)
        try:
            return self._begun if saved is None else rules.read(saved)
        except ValueError:
            log.exception("the saved rules cannot be used: judging by those of the settings")
            return self._begun

    # Snapshots

    async def _snapshot(self, judge_term: JudgeTerm) -> None:
        """Write down the states of all sensors, and how far the readings have been judged."""
        begun = time.monotonic()
        # Of no other: after finding out anew, the last one still stands there in the same term.
        snapshot_key = uuid.uuid4().hex
        keys = judge_term.states.keys()
        parts = [keys[start : start + PORTION] for start in range(0, len(keys), PORTION)]
        for number, part in enumerate(parts, 1):
            states = judge_term.states.encode(part)
            await self._state.run(partial(_add_part, snapshot_key=snapshot_key, number=number, states=states))
        head = msgspec.json.encode(
            SnapshotHead(len(parts), judge_term.position, judge_term.cursor, judge_term.states.unknown)
        )
        if not await self._state.run(lambda connection: self._finish(connection, judge_term, snapshot_key, head)):
            self._leave()
        took = time.monotonic() - begun
        judge_term.snapshot_due = time.monotonic() + max(SNAPSHOT_S, SNAPSHOT_SHARE * took)

    def _finish(self, connection: sa.Connection, judge_term: JudgeTerm, snapshot_key: str, head: bytes) -> bool:
        with connection.begin():
            held = lease.hold(connection, LEASE, self._holder)
            if held is None or held.term != judge_term.term:
                return False
            snapshots.finish(connection, snapshot_key, head)
            return True


def _add_part(connection: sa.Connection, snapshot_key: str, number: int, states: bytes) -> None:
    with connection.begin():
        snapshots.add(connection, snapshot_key, number, zlib.compress(states, 1))


def _open(connection: sa.Connection) -> tuple[list[Episode], list[Episode]]:
    with connection.begin():
        return episodes.open_episodes(connection), episodes.open_episodes(connection, late=True)


def _since(connection: sa.Connection, cursor: int, last: int) -> Iterable[Alarm]:
    while cursor < last:
        found = ask.journal.after(connection, cursor, 1_000)
        if not found:
            return
        yield from (one.alarm for one in found)
        cursor = found[-1].transition_id


def _part(one: JudgedChange, causes: Mapping[Id, int]) -> JudgedChange:
    """Let what is said of a silent sensor name the alarm of its storehouse, or of all."""
    episode = one.change.episode
    if not causes or episode.kind != NO_DATA:
        return one
    return one._replace(cause=causes.get(EVERYWHERE, causes.get(episode.store_house_id)))


def _is_silenced(maintenance: Iterable[Maintenance], time: datetime, episode: Episode) -> bool:
    return any(
        one.store_house_id == episode.store_house_id
        and one.start <= time < one.end
        and (one.sensor_id is None or (episode.key is not None and episode.key[0] == one.sensor_id))
        for one in maintenance
    )
