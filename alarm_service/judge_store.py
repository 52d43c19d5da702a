"""The judge's access to the database: acquires the lease, writes changes of alarms, and reads the users' actions."""

import logging
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial, reduce
from typing import NamedTuple

import sqlalchemy as sa

import ask.episodes
import ask.journal
import ask.maintenance
import ask.rules
from alarm_service.judge_term import JudgeTerm, SyncResult, is_muted
from alarm_service.on_alarms import OnAlarms
from alarm_service.rules_in_force import RulesInForce
from alarm_service.site_alarms import LEASE
from alarms import outages
from alarms.model import CLOSED, NO_DATA, Episode
from alarms.rules import Rule
from ask.answers import EVERYWHERE, Alarm, Id
from common.clock import Clock
from db.database import Database
from record import episodes, lease, snapshots
from record.episode_rows import Identity, JudgedChange
from record.episodes import WriteResult, WrittenEpisode
from record.set_aside import SetAside, write_separately

log = logging.getLogger(__name__)

MAINTENANCE_KEPT = timedelta(days=8)
"""The judge still reads maintenance that ended less than this time ago.

Readings that arrive late may have times within the maintenance.
"""
MOST_TRANSITIONS = 1_000
"""Maximum number of transitions in the alarm journal that one query returns."""


class AcquiredLease(NamedTuple):
    """The judge's lease, acquired by this process, and the data that the previous judge left in the database."""

    term: int
    """A number that increases whenever another process gets the lease."""
    cursor: int
    """Id of the last transition in the alarm journal."""
    snapshot: tuple[str, bytes] | None
    """Key and head of the last snapshot of the judge; None if there is no snapshot."""


class JudgeStore:
    """Reads and writes the database `state` for the judge of this process. `holder` is the name of this process.

    `on_alarms` is called with the alarms that were written, in the same transaction. Every coroutine raises
    `Unavailable` if the database does not answer.
    """

    def __init__(
        self,
        state: Database,
        holder: str,
        clock: Clock,
        in_force: RulesInForce,
        on_alarms: OnAlarms,
        set_aside: SetAside,
    ) -> None:
        self._state = state
        self._holder = holder
        self._clock = clock
        self._in_force = in_force
        self._on_alarms = on_alarms
        self.set_aside = set_aside

    async def acquire(self) -> AcquiredLease | None:
        """Acquire the judge's lease. Return None if another process has the lease."""
        return await self._state.run(self._acquire)

    async def sync(self, judge_term: JudgeTerm) -> SyncResult:
        """Return the users' actions that have not been applied to `judge_term` yet. Write nothing.

        Users' actions are closed alarms, new rules and new maintenance.
        """
        return await self._state.run(lambda connection: self._sync(connection, judge_term))

    async def write(self, judge_term: JudgeTerm, changes: Sequence[JudgedChange]) -> SyncResult | None:
        """Write changes of alarms.

        Return the written changes, and the users' actions that have not been applied to `judge_term` yet. Return None
        if another process has the judge's lease. Set aside each change that the database rejects.
        """
        return await self._state.run(lambda connection: self._write(connection, judge_term, changes))

    async def write_database_outage(self, lost_since: Callable[[], float | None], after_s: float) -> list[Alarm]:
        """Raise the outage alarm of the sensor database if it is due. Return the alarms that were written.

        `lost_since` is called in the transaction. It returns the time at which the sensor database stopped answering,
        or None if this database answers again. The alarm is due `after_s` seconds later.
        """
        return await self._state.run(lambda connection: self._write_database_outage(connection, lost_since, after_s))

    async def written_episodes(self, identities: Sequence[Identity]) -> dict[Identity, WrittenEpisode]:
        """Return those of the given episodes that are in the database, except those that users closed by hand."""
        return await self._state.run(partial(episodes.written_episodes, identities=identities))

    async def open_episodes(self) -> tuple[list[Episode], list[Episode]]:
        """Return two lists: all open alarm episodes, and only the late ones.

        An episode is late if its last change was already old when it was written.
        """
        return await self._state.run(_open_episodes)

    async def snapshot_part(self, snapshot_key: str, number: int) -> bytes:
        """Return a part of a snapshot. Raise `zlib.error` if the part is missing or damaged."""
        part = await self._state.run(partial(snapshots.part, snapshot_key=snapshot_key, number=number))
        return zlib.decompress(part or b"")

    async def add_snapshot_part(self, snapshot_key: str, number: int, content: bytes) -> None:
        """Write a part of a snapshot."""
        add = partial(_add_snapshot_part, snapshot_key=snapshot_key, number=number, content=content)
        await self._state.run(add)

    async def finish_snapshot(self, judge_term: JudgeTerm, snapshot_key: str, head: bytes) -> bool:
        """Complete a snapshot and delete all other snapshots. Return False if another process has the judge's lease."""
        return await self._state.run(
            lambda connection: self._finish_snapshot(connection, judge_term, snapshot_key, head)
        )

    # The methods below run in a worker thread and may continue after their caller is cancelled. Therefore they must not
    # change attributes.

    def _acquire(self, connection: sa.Connection) -> AcquiredLease | None:
        with connection.begin():
            held = lease.acquire(connection, LEASE, self._holder)
            if held is None:
                return None
            return AcquiredLease(held.term, ask.journal.last(connection), snapshots.last(connection))

    def _hold(self, connection: sa.Connection, judge_term: JudgeTerm) -> lease.HeldLease | None:
        """Acquire the judge's lease and lock it until the transaction ends.

        Return None if another process has the lease, or has had it since `judge_term` began.
        """
        held = lease.acquire(connection, LEASE, self._holder)
        return None if held is None or held.term != judge_term.lease_term else held

    def _write(
        self, connection: sa.Connection, judge_term: JudgeTerm, changes: Sequence[JudgedChange]
    ) -> SyncResult | None:
        with connection.begin():
            held = self._hold(connection, judge_term)
            if held is None:
                return None
            # Write outage alarms first, so that the sensors' alarms name their cause from their first step on.
            outage_changes = [judged for judged in changes if judged.change.episode.key is None]
            first = self._write_changes(connection, outage_changes, held.now)
            causes = episodes.assign_causes(connection)
            rest = [_with_cause(judged, causes) for judged in changes if judged.change.episode.key is not None]
            written = self._write_changes(connection, rest, held.now).after(first)
            if judge_term.maintenance:
                episodes.update_muted(connection, partial(is_muted, judge_term.maintenance, held.now))
            return self._sync(connection, judge_term)._replace(written=written)

    def _write_changes(self, connection: sa.Connection, changes: Sequence[JudgedChange], now: datetime) -> WriteResult:
        def write(part: Sequence[JudgedChange]) -> WriteResult:
            written = episodes.write(connection, part, now)
            if written.alarms or written.current:
                self._on_alarms(connection, [*written.alarms, *written.current])
            return written

        def set_aside(judged: JudgedChange, error: Exception) -> None:
            self.set_aside.add("alarm", subject_of_alarm(judged.change.episode), error)

        nothing = WriteResult([], [], [], [])
        return reduce(
            lambda first, second: second.after(first), write_separately(connection, changes, write, set_aside), nothing
        )

    def _write_database_outage(
        self, connection: sa.Connection, lost_since: Callable[[], float | None], after_s: float
    ) -> list[Alarm]:
        with connection.begin():
            held = lease.acquire(connection, LEASE, self._holder)
            if held is None:
                return []
            subject = (EVERYWHERE, NO_DATA)
            opened = episodes.open_episodes(connection)
            last_outage = next((each for each in opened if (each.store_house_id, each.kind) == subject), None)
            since = lost_since()
            now = self._clock().timestamp()
            changes = [] if since is None else outages.database_outage(last_outage, since, now, after_s)
            judged = [JudgedChange(change, None, None) for change in changes]
            return self._write_changes(connection, judged, held.now).alarms

    def _sync(self, connection: sa.Connection, judge_term: JudgeTerm) -> SyncResult:
        cursor = ask.journal.last(connection)
        closed = [
            number
            for alarm in _transitions(connection, judge_term.cursor, cursor)
            if alarm.transition == CLOSED and (number := ask.episodes.episode_id(alarm.alarm_id)) is not None
        ]
        versions = ask.rules.version(connection), ask.maintenance.version(connection)
        return SyncResult(
            WriteResult([], [], [], []),
            episodes.closed_by_hand(connection, closed) if closed else [],
            cursor,
            versions,
            self._rules(connection) if versions[0] != judge_term.versions[0] else None,
            ask.maintenance.after(connection, self._clock() - MAINTENANCE_KEPT)
            if versions[1] != judge_term.versions[1]
            else None,
        )

    def _rules(self, connection: sa.Connection) -> Sequence[Rule]:
        try:
            return self._in_force.read(connection)
        except ValueError:
            log.exception("the saved alarm rules are invalid: using the rules of the settings; save valid rules")
            return self._in_force.configured

    def _finish_snapshot(
        self, connection: sa.Connection, judge_term: JudgeTerm, snapshot_key: str, head: bytes
    ) -> bool:
        with connection.begin():
            if self._hold(connection, judge_term) is None:
                return False
            snapshots.finish(connection, snapshot_key, head)
            return True


def subject_of_alarm(episode: Episode) -> str:
    """Return a text for the log: the sensor or the storehouse of an alarm, and the kind of the alarm."""
    return f"{ask.episodes.subject_key(episode.store_house_id, episode.key)} ({episode.kind})"


def _open_episodes(connection: sa.Connection) -> tuple[list[Episode], list[Episode]]:
    with connection.begin():
        return episodes.open_episodes(connection), episodes.open_episodes(connection, late=True)


def _add_snapshot_part(connection: sa.Connection, snapshot_key: str, number: int, content: bytes) -> None:
    with connection.begin():
        snapshots.add(connection, snapshot_key, number, zlib.compress(content, 1))


def _transitions(connection: sa.Connection, cursor: int, last: int) -> Iterable[Alarm]:
    """Yield the alarm of each transition in the journal whose id is above `cursor` and at most `last`."""
    while cursor < last:
        transitions = ask.journal.after(connection, cursor, MOST_TRANSITIONS)
        if not transitions:
            return
        yield from (transition.alarm for transition in transitions)
        cursor = transitions[-1].transition_id


def _with_cause(judged: JudgedChange, causes: Mapping[Id, int]) -> JudgedChange:
    """Return the change. If it is about a no-data alarm, add the outage alarm that is its cause.

    The cause is the outage alarm of the sensor database. If there is none, the cause is the outage alarm of the
    sensor's storehouse.
    """
    episode = judged.change.episode
    if not causes or episode.kind != NO_DATA:
        return judged
    return judged._replace(cause=causes.get(EVERYWHERE, causes.get(episode.store_house_id)))
