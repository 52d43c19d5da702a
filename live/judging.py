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
from alarms import rules, silence
from alarms.model import CLOSED, NO_DATA, REFRESHED, Change, Episode
from ask import Ask
from ask.answers import EVERYWHERE, Alarm, Id, Maintenance
from ask.readings import Reading
from ask.sensors import Sensor
from database import Database
from errors import Unavailable
from instants import Clock
from live.alarm_watch import LEASE
from live.journal import Journal
from live.newest import Newest
from live.source import Position, Source
from live.states import States
from record import episodes, lease, snapshots
from record.episodes import Closed, Identity, Said, Written, identity, moment

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


class Head(msgspec.Struct, frozen=True):
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
class Office:
    """What the process that judges knows, for as long as it has the lease."""

    term: int
    states: States
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


class Kept(NamedTuple):
    """What a look at the database has brought."""

    written: Written
    closed: list[Closed]
    cursor: int
    versions: tuple[int, int]
    rules: Sequence[rules.Rule] | None
    maintenance: Sequence[Maintenance] | None


class Judging:
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
        followed: Journal,
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
        self._office: Office | None = None
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
        return self._office is not None

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
            if self._office is not None:
                self._office.states.forgive(now)  # who could not be heard was not silent
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
        if self._office is None and time.monotonic() - self._tried >= LOOK_S:
            self._tried = time.monotonic()
            try:
                await self._enter()
            except Unavailable:
                await self._tell_of_loss()
                raise
        office = self._office
        if office is None:
            return
        is_due = time.monotonic() - office.looked >= LOOK_S
        if not office.said:  # else it could not be written, and nothing more is judged until it is
            await self._judge(office)
            if is_due:
                self._find_causes(office)
        if office.said or is_due:
            self._learn(office.states)
            await self._fold(office, office.states.recognised())
            await self._keep(office)
        if self._office is office and not office.said and time.monotonic() >= office.snapshot_due:
            await self._snapshot(office)

    # Taking over

    async def _enter(self) -> None:
        found = await self._state.run(self._hold)
        self.looked = time.monotonic()
        if found is None:
            return
        term, cursor, last = found
        office = Office(term, self._new_states(), cursor, self._live.position())
        head = await self._load(office, *last) if last else None
        try:
            await self._learn_rules(office)
            if head is None:
                await self._adopt(office)
            # Asked before all else is read: what comes after that would be judged before what came earlier.
            newest = await self._ask.newest() if head is None else []
            await self._fold(office, head.unknown if head else [])
            await self._catch_up(office, self._first if head is None else head.position)
            # Of most sensors nothing has come since we began.
            await self._fold(office, [one for one in newest if not office.states.has_heard(one.key)])
            await self._keep(office)
            if self._inbox is None:  # the lease was lost meanwhile
                return
            await self._adopt(office)
        except BaseException:
            self._leave()
            raise
        self._office = office
        log.info("judging %d sensors", len(office.states))

    def _new_states(self) -> States:
        states = States(self._begun, defaults=self._defaults)
        self._sensors = []
        self._learn(states)
        return states

    def _learn(self, states: States) -> None:
        """Take over which sensors there are."""
        places = self._newest.storehouses()
        sensors = [sensor for place in places for sensor in self._newest.sensors(place.store_house_id)]
        if sensors != self._sensors:
            states.learn(sensors)
            self._sensors = sensors

    def _leave(self) -> None:
        self._office, self._inbox, self._waiting = None, None, 0

    async def _load(self, office: Office, snapshot_key: str, head: bytes) -> Head | None:
        """Take over a snapshot; None where it cannot be read, as after a change of its form."""
        try:
            found = msgspec.json.decode(head, type=Head)
            for number in range(1, found.parts + 1):
                part = await self._state.run(partial(snapshots.part, snapshot_key=snapshot_key, number=number))
                office.states.decode(zlib.decompress(part or b""))
                await asyncio.sleep(0)
        except (msgspec.DecodeError, zlib.error):
            log.warning("the judge's last snapshot cannot be read: beginning anew with what is open")
            office.states = self._new_states()
            return None
        office.cursor = found.cursor
        return found

    async def _tell_of_loss(self) -> None:
        """Have an alarm for a readings' database that has been lost since before anybody took over."""
        if self._lost_since is not None and await self._state.run(self._write_loss):
            await self._journal.read()

    async def _learn_rules(self, office: Office) -> None:
        self._take_over(office, await self._state.run(lambda connection: self._look(connection, office)))

    async def _catch_up(self, office: Office, position: Position) -> None:
        """Judge what has come since then."""
        source = self._another()
        await source.resume(position)
        await self._read(office, source)
        # What the poller hands out from now on waits. What it handed out before is there to be read.
        self._inbox = []
        office.position = self._live.position()
        await self._read(office, source)

    async def _adopt(self, office: Office) -> None:
        """Take over what is open in the database and would otherwise never end."""
        opened, late = await self._state.run(_open)
        for episode in opened:
            office.states.adopt(episode)
            if episode.key is None and episode.kind == NO_DATA:
                office.causes[episode.store_house_id] = episode
        office.late = {identity(episode): episode for episode in late}

    async def _read(self, office: Office, source: Source) -> None:
        more = True
        while more:
            readings, more = await source.read()
            await self._fold(office, readings)

    # Judging

    async def _judge(self, office: Office) -> None:
        inbox, self._inbox, self._waiting = self._inbox or [], [], 0
        for one in inbox:
            if isinstance(one, Portion):
                await self._fold(office, one.readings)
                office.position = one.position
        times = [one for one in inbox if not isinstance(one, Portion)]
        if times:
            keys = office.states.keys()
            for start in range(0, len(keys), PORTION):
                self._hear(office, office.states.passed(keys[start : start + PORTION], times[-1]))
                await asyncio.sleep(0)

    async def _fold(self, office: Office, readings: Sequence[Reading]) -> None:
        now = self._clock().timestamp()
        for start in range(0, len(readings), PORTION):
            self._hear(office, office.states.take(readings[start : start + PORTION], now))
            await asyncio.sleep(0)

    def _hear(self, office: Office, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.what == REFRESHED:
                office.refreshed[identity(change.episode)] = change
            else:
                office.refreshed.pop(identity(change.episode), None)  # it is older
                office.said.append(change)

    def _find_causes(self, office: Office) -> None:
        """Have one alarm for a storehouse that falls silent as a whole, and for the database."""
        now = self._clock().timestamp()
        everywhere = office.causes.get(EVERYWHERE)
        changes = silence.lost(everywhere, self._lost_since, now)
        singles = office.states.silent()
        for place in singles.keys() | (office.causes.keys() - {EVERYWHERE}):
            watched = office.states.watched(place)
            changes += silence.silent(place, watched, singles.get(place, []), office.causes.get(place), now)
        for change in changes:
            office.causes[change.episode.store_house_id] = change.episode
        self._hear(office, changes)

    # Keeping

    async def _keep(self, office: Office) -> None:
        now = self._clock()
        changes = list(office.said)
        is_due = time.monotonic() - office.looked >= LOOK_S
        if is_due:
            changes += [*office.refreshed.values(), *self._current(office, now)]
        said = [self._said(office, change, now) for change in changes]
        kept = await self._state.run(lambda connection: self._write(connection, office, said))
        self.looked = time.monotonic()
        if kept is None:
            log.info("another process judges")
            self._leave()
            return
        office.said.clear()
        if is_due:
            office.refreshed.clear()
            office.looked = time.monotonic()
        self._remember_late(office, said)
        self._take_over(office, kept)
        if kept.written.alarms:
            await self._journal.read()

    def _said(self, office: Office, change: Change, now: datetime) -> Said:
        episode = change.episode
        sensor = office.states.sensor(episode.key) if episode.key else None
        return Said(
            change,
            sensor.sensor_name if sensor else None,
            sensor.metric if sensor else None,
            late=self._is_late(office, change, now),
            silenced=_is_silenced(office.maintenance, moment(change.time), episode),
        )

    def _is_late(self, office: Office, change: Change, now: datetime) -> bool:
        episode = change.episode
        if episode.key is None or (episode.kind == NO_DATA and episode.cleared is None):
            return False
        if change.what == REFRESHED:
            late = identity(episode) in office.late
            return late and not office.states.is_current(episode.key, now.timestamp())
        silence_s = office.states.silence_s(episode.key)
        return change.time < now.timestamp() - (silence_s if math.isfinite(silence_s) else LATE_S)

    def _current(self, office: Office, now: datetime) -> list[Change]:
        """Have those looked at again that came late, and whose sensors are up to date now."""
        stamp = now.timestamp()
        # What is said of an episode now is newer than what is known of it here.
        said = {identity(change.episode) for change in office.said} | office.refreshed.keys()
        return [
            Change(REFRESHED, stamp, episode)
            for which, episode in office.late.items()
            if which not in said and episode.key and office.states.is_current(episode.key, stamp)
        ]

    def _remember_late(self, office: Office, said: Sequence[Said]) -> None:
        for one in said:
            episode = one.change.episode
            if one.late and episode.raised is not None and episode.cleared is None:
                office.late[identity(episode)] = episode
            else:
                office.late.pop(identity(episode), None)

    def _take_over(self, office: Office, kept: Kept) -> None:
        # First those of which more was said since than their closing knows of.
        for closed in (*kept.written.closed, *kept.closed):
            self._hear(office, office.states.close(closed))
        for episode in kept.written.other:
            office.states.adopt(episode)
        office.cursor, office.versions = kept.cursor, kept.versions
        if kept.rules is not None:
            office.states.rule(kept.rules)
        if kept.maintenance is not None:
            office.maintenance = kept.maintenance

    # These run in a worker thread, which may go on when nobody waits for it any more: they keep nothing.

    def _hold(self, connection: sa.Connection) -> tuple[int, int, tuple[str, bytes] | None] | None:
        """Return the lease's term, the journal's end and the last snapshot; None if the lease is not ours."""
        with connection.begin():
            held = lease.hold(connection, LEASE, self._holder)
            if held is None:
                return None
            return held.term, ask.journal.last(connection), snapshots.last(connection)

    def _write(self, connection: sa.Connection, office: Office, said: Sequence[Said]) -> Kept | None:
        """Write down what was said; None if the lease is not ours any more."""
        with connection.begin():
            held = lease.hold(connection, LEASE, self._holder)
            if held is None or held.term != office.term:
                return None
            # The cause goes first, so that its parts know of it from their beginning.
            first = episodes.write(connection, [one for one in said if one.change.episode.key is None], held.now)
            causes = episodes.causes(connection)
            rest = [_part(one, causes) for one in said if one.change.episode.key is not None]
            written = episodes.write(connection, rest, held.now).after(first)
            if office.maintenance:
                episodes.silence(connection, partial(_is_silenced, office.maintenance, held.now))
            if written.alarms or written.current:
                self._tell(connection, [*written.alarms, *written.current])
            return self._look(connection, office)._replace(written=written)

    def _write_loss(self, connection: sa.Connection) -> bool:
        """Write down that the readings' database is lost, if that is so and new."""
        with connection.begin():
            held = lease.hold(connection, LEASE, self._holder)
            if held is None:
                return False
            opened = episodes.open_episodes(connection)
            known = next((one for one in opened if (one.store_house_id, one.kind) == (EVERYWHERE, NO_DATA)), None)
            changes = silence.lost(known, self._lost_since, self._clock().timestamp()) if self._lost_since else []
            alarms = episodes.write(connection, [Said(change, None, None) for change in changes], held.now).alarms
            if alarms:
                self._tell(connection, alarms)
            return bool(alarms)

    def _look(self, connection: sa.Connection, office: Office) -> Kept:
        """Find out what people have done since the last look."""
        cursor = ask.journal.last(connection)
        closed = [
            number
            for one in _since(connection, office.cursor, cursor)
            if one.transition == CLOSED and (number := ask.episodes.episode_id(one.alarm_id)) is not None
        ]
        versions = ask.rules.version(connection), ask.maintenance.version(connection)
        return Kept(
            Written([], [], [], []),
            episodes.closed_by_hand(connection, closed) if closed else [],
            cursor,
            versions,
            self._rules(connection) if versions[0] != office.versions[0] else None,
            ask.maintenance.after(connection, self._clock() - MAINTENANCE_KEPT)
            if versions[1] != office.versions[1]
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

    async def _snapshot(self, office: Office) -> None:
        """Write down the states of all sensors, and how far the readings have been judged."""
        begun = time.monotonic()
        # Of no other: after finding out anew, the last one still stands there in the same term.
        snapshot_key = uuid.uuid4().hex
        keys = office.states.keys()
        parts = [keys[start : start + PORTION] for start in range(0, len(keys), PORTION)]
        for number, part in enumerate(parts, 1):
            states = office.states.encode(part)
            await self._state.run(partial(_add_part, snapshot_key=snapshot_key, number=number, states=states))
        head = msgspec.json.encode(Head(len(parts), office.position, office.cursor, office.states.unknown))
        if not await self._state.run(lambda connection: self._finish(connection, office, snapshot_key, head)):
            self._leave()
        took = time.monotonic() - begun
        office.snapshot_due = time.monotonic() + max(SNAPSHOT_S, SNAPSHOT_SHARE * took)

    def _finish(self, connection: sa.Connection, office: Office, snapshot_key: str, head: bytes) -> bool:
        with connection.begin():
            held = lease.hold(connection, LEASE, self._holder)
            if held is None or held.term != office.term:
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


def _part(one: Said, causes: Mapping[Id, int]) -> Said:
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
