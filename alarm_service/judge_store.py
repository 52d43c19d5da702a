"""What the judge does in the state database: acquires the lease, writes changes, reads what people have done."""

import logging
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
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
from record.episode_rows import JudgedChange
from record.episodes import WriteResult

log = logging.getLogger(__name__)

MAINTENANCE_KEPT = timedelta(days=8)
"""For how long maintenance that is over still mutes alarms whose readings come late."""
MOST_TRANSITIONS = 1_000
"""Transitions of the journal in one question."""


class AcquiredLease(NamedTuple):
    """The lease of the judge, and what the last judge left behind."""

    term: int
    cursor: int
    """The last transition of the journal."""
    snapshot: tuple[str, bytes] | None
    """The key and the head of the last snapshot."""


class JudgeStore:
    """Reads and writes `state` for the judge of this process, `holder`.

    `on_alarms` is called with the alarms that are written. Every coroutine raises `Unavailable`.
    """

    def __init__(self, state: Database, holder: str, clock: Clock, in_force: RulesInForce, on_alarms: OnAlarms) -> None:
        self.last_contact = time.monotonic()
        """When the database last told which process judges, by `time.monotonic`; at first, now."""
        self._state = state
        self._holder = holder
        self._clock = clock
        self._in_force = in_force
        self._on_alarms = on_alarms

    async def acquire(self) -> AcquiredLease | None:
        """Acquire the lease; None if another process has it."""
        acquired = await self._state.run(self._acquire)
        self.last_contact = time.monotonic()
        return acquired

    async def sync(self, judge_term: JudgeTerm) -> SyncResult:
        """Return what people have done since the last call, writing nothing."""
        return await self._state.run(lambda connection: self._sync(connection, judge_term))

    async def write(self, judge_term: JudgeTerm, changes: Sequence[JudgedChange]) -> SyncResult | None:
        """Write changes, and return what people have done meanwhile; None if another process has the lease.

        Raises SQLAlchemy's IntegrityError if another process has just written the same.
        """
        result = await self._state.run(lambda connection: self._write(connection, judge_term, changes))
        self.last_contact = time.monotonic()
        return result

    async def write_database_outage(self, lost_since: Callable[[], float | None]) -> bool:
        """Write that the readings' database has not answered since then; return whether that is a new alarm.

        `lost_since` is asked in the transaction, and returns None if the database answers again by then.
        """
        return await self._state.run(lambda connection: self._write_database_outage(connection, lost_since))

    async def open_episodes(self) -> tuple[list[Episode], list[Episode]]:
        """Return the open episodes, and again those of them whose readings came late."""
        return await self._state.run(_open_episodes)

    async def snapshot_part(self, snapshot_key: str, number: int) -> bytes:
        """Return a part of a snapshot, empty if it is missing; raises zlib's error if it is damaged."""
        part = await self._state.run(partial(snapshots.part, snapshot_key=snapshot_key, number=number))
        return zlib.decompress(part or b"")

    async def add_snapshot_part(self, snapshot_key: str, number: int, content: bytes) -> None:
        """Write a part of a snapshot."""
        add = partial(_add_snapshot_part, snapshot_key=snapshot_key, number=number, content=content)
        await self._state.run(add)

    async def finish_snapshot(self, judge_term: JudgeTerm, snapshot_key: str, head: bytes) -> bool:
        """Let this snapshot replace all others; False if another process has the lease."""
        return await self._state.run(
            lambda connection: self._finish_snapshot(connection, judge_term, snapshot_key, head)
        )

    # These run in a worker thread, which may go on after its caller was cancelled: they change no attribute.

    def _acquire(self, connection: sa.Connection) -> AcquiredLease | None:
        with connection.begin():
            held = lease.acquire(connection, LEASE, self._holder)
            if held is None:
                return None
            return AcquiredLease(held.term, ask.journal.last(connection), snapshots.last(connection))

    def _hold(self, connection: sa.Connection, judge_term: JudgeTerm) -> lease.HeldLease | None:
        """Lock the lease until the transaction ends; None if another process has, or had, it since the term began."""
        held = lease.acquire(connection, LEASE, self._holder)
        return None if held is None or held.term != judge_term.lease_term else held

    def _write(
        self, connection: sa.Connection, judge_term: JudgeTerm, changes: Sequence[JudgedChange]
    ) -> SyncResult | None:
        with connection.begin():
            held = self._hold(connection, judge_term)
            if held is None:
                return None
            # The alarm of the cause is written first, so that its parts name it from their first step on.
            outage_changes = [judged for judged in changes if judged.change.episode.key is None]
            first = episodes.write(connection, outage_changes, held.now)
            causes = episodes.assign_causes(connection)
            rest = [_with_cause(judged, causes) for judged in changes if judged.change.episode.key is not None]
            written = episodes.write(connection, rest, held.now).after(first)
            if judge_term.maintenance:
                episodes.update_muted(connection, partial(is_muted, judge_term.maintenance, held.now))
            if written.alarms or written.current:
                self._on_alarms(connection, [*written.alarms, *written.current])
            return self._sync(connection, judge_term)._replace(written=written)

    def _write_database_outage(self, connection: sa.Connection, lost_since: Callable[[], float | None]) -> bool:
        with connection.begin():
            held = lease.acquire(connection, LEASE, self._holder)
            if held is None:
                return False
            subject = (EVERYWHERE, NO_DATA)
            opened = episodes.open_episodes(connection)
            last_outage = next((each for each in opened if (each.store_house_id, each.kind) == subject), None)
            since = lost_since()
            changes = [] if since is None else outages.database_outage(last_outage, since, self._clock().timestamp())
            judged = [JudgedChange(change, None, None) for change in changes]
            alarms = episodes.write(connection, judged, held.now).alarms
            if alarms:
                self._on_alarms(connection, alarms)
            return bool(alarms)

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
            log.exception("the saved rules cannot be used: judging by those of the settings")
            return self._in_force.configured

    def _finish_snapshot(
        self, connection: sa.Connection, judge_term: JudgeTerm, snapshot_key: str, head: bytes
    ) -> bool:
        with connection.begin():
            if self._hold(connection, judge_term) is None:
                return False
            snapshots.finish(connection, snapshot_key, head)
            return True


def _open_episodes(connection: sa.Connection) -> tuple[list[Episode], list[Episode]]:
    with connection.begin():
        return episodes.open_episodes(connection), episodes.open_episodes(connection, late=True)


def _add_snapshot_part(connection: sa.Connection, snapshot_key: str, number: int, content: bytes) -> None:
    with connection.begin():
        snapshots.add(connection, snapshot_key, number, zlib.compress(content, 1))


def _transitions(connection: sa.Connection, cursor: int, last: int) -> Iterable[Alarm]:
    """The alarms of the journal's transitions after `cursor`, up to `last`."""
    while cursor < last:
        transitions = ask.journal.after(connection, cursor, MOST_TRANSITIONS)
        if not transitions:
            return
        yield from (transition.alarm for transition in transitions)
        cursor = transitions[-1].transition_id


def _with_cause(judged: JudgedChange, causes: Mapping[Id, int]) -> JudgedChange:
    """Let a change of a sensor's no-data alarm name the outage alarm of its storehouse, or of all storehouses."""
    episode = judged.change.episode
    if not causes or episode.kind != NO_DATA:
        return judged
    return judged._replace(cause=causes.get(EVERYWHERE, causes.get(episode.store_house_id)))
