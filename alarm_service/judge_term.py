"""The memory of the judge during one term of its lease, and the updates of this memory. Uses no database.

The judge is the component that evaluates alarm rules. A term lasts until another process gets the lease.
"""

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from alarm_service.sensor_states import AHEAD_S, SensorStates
from alarms import outages, wrong_clock
from alarms.late_readings import changes_between
from alarms.model import ACTIVE, NO_DATA, REFRESHED, Change, Episode
from alarms.rules import Rule
from ask.answers import EVERYWHERE, Alarm, Id, Maintenance
from ask.readings import Reading
from live.source import Position
from record.episode_rows import Identity, JudgedChange, identity, to_datetime
from record.episodes import ClosedByHand, WriteResult, WrittenEpisode, unrecorded_alarm

LATE_S = 180.0
"""Age above which the change of an alarm counts as late, in seconds.

This age applies to sensors without a no-data limit. For a sensor with a no-data limit, the limit is used instead.
"""
NEVER_REOPENED = -math.inf
"""Value of `Limit.reopen` with which an alarm is never reopened."""
BATCH = 500
"""Number of sensors or readings that are evaluated before other tasks of the event loop can run."""
MOST_UNWRITTEN = 20_000
"""Maximum number of unwritten changes of alarms, about 30 MB.

While the database cannot be written, the judge continues to evaluate readings until it has found this number of
changes. Further readings wait in the judge's queue.
"""


class SyncResult(NamedTuple):
    """The result of `JudgeStore.write` or `JudgeStore.sync`: written changes of alarms, and users' actions to apply.

    `sync` writes nothing, so its result contains no written changes. Users' actions are closed alarms, new rules and
    new maintenance.
    """

    written: WriteResult
    closed: list[ClosedByHand]
    cursor: int
    versions: tuple[int, int]
    rules: Sequence[Rule] | None
    """The new rules; None if the rules are unchanged."""
    maintenance: Sequence[Maintenance] | None
    """The new maintenance; None if the maintenance is unchanged."""


@dataclass
class JudgeTerm:
    """The memory of the judge (the component that evaluates alarm rules) during one term of its lease.

    A term lasts until another process gets the lease.
    """

    lease_term: int
    states: SensorStates
    cursor: int
    """Id of the last alarm transition that the sensor states include."""
    position: Position
    """Position in the table of readings up to which the judge has evaluated the readings."""
    versions: tuple[int, int] = (-1, -1)
    """Version of the rules and version of the maintenance that were read last.

    A version is 0 while nobody has saved any rules or maintenance.
    """
    maintenance: Sequence[Maintenance] = ()
    unwritten: list[JudgedChange] = field(default_factory=list)
    """Changes of alarms that are not in the database yet, in the order in which they were found."""
    announced: int = 0
    """Number of changes at the start of `unwritten` of which targets are notified although they are not written."""
    retry_at: float = 0.0
    """Time before which a failed write is not repeated, on the monotonic clock."""
    refreshed: dict[Identity, Change] = field(default_factory=dict)
    """Unwritten changes that only update the last value of an open alarm episode.

    These changes are written less often than the changes in `unwritten`.
    """
    outage_alarms: dict[Id, Episode] = field(default_factory=dict)
    """Last outage alarm of each storehouse, by storehouse id.

    The outage alarm of the sensor database has the key `EVERYWHERE`.
    """
    clock_alarm: Episode | None = None
    """Last alarm about a wrong clock of the server."""
    late: dict[Identity, Episode] = field(default_factory=dict)
    """Open alarm episodes whose last change was written late."""
    synced_at: float = 0.0
    """Time of the last write that included the changes in `refreshed`, on the monotonic clock."""
    judged_until: float | None = None
    """Time up to which the delays of all sensors have been evaluated in this term, or None if they have not been."""
    is_reconciled: bool = False
    """Whether the alarms in the database have been compared with the sensor states in this term. See `reconcile`."""
    snapshot_due: float = 0.0
    """Time at which the next snapshot is due, on the monotonic clock."""

    async def judge_readings(self, readings: Sequence[Reading], now: float) -> None:
        """Evaluate readings that have arrived by the time `now`. Yield to the event loop after each batch."""
        for start in range(0, len(readings), BATCH):
            self.add_changes(self.states.judge_readings(readings[start : start + BATCH], now), now)
            await asyncio.sleep(0)

    async def judge_time(self, now: float) -> None:
        """Evaluate the delays and no-data limits of all sensors up to the time `now`.

        All readings up to `now` must have been evaluated before. Yield to the event loop after each batch of sensors.
        """
        keys = self.states.keys()
        for start in range(0, len(keys), BATCH):
            self.add_changes(self.states.judge_time(keys[start : start + BATCH], now), now)
            await asyncio.sleep(0)
        self.judged_until = now

    def reconcile(self, written: Mapping[Identity, WrittenEpisode], now: float) -> None:
        """Find the changes that turn the episodes in the database into the episodes in the sensor states.

        The previous judge may have changed an alarm because time passed, and ended before a late reading showed that
        this was wrong. This judge evaluates both in the order of their times, and finds no change. Without this method,
        such an alarm would stay open although its value is normal, or would stay cleared although its value is not.
        """
        until = self.judged_until
        if until is None or self.unwritten:
            return
        # The previous judge's clock may be ahead, so that it has evaluated delays that are not over yet. Then try again
        # soon. If its clock was far ahead, do not wait for the time of its changes.
        self.is_reconciled = not any(until < each.judged <= until + AHEAD_S for each in written.values())
        for episode in self.states.last_episodes():
            before = written.get(identity(episode))
            if before is not None and before.judged <= until:
                changes = changes_between(before.episode, episode, now)
                self.add_changes((change for change in changes if change.what != REFRESHED), now)

    def judge_outages(self, lost_since: float | None, now: float) -> None:
        """Raise or clear the outage alarms of the storehouses and of the sensor database.

        `lost_since` is the time at which the sensor database stopped answering, or None if the database answers.
        """
        changes = outages.database_outage(self.outage_alarms.get(EVERYWHERE), lost_since, now)
        sensor_alarms = self.states.open_no_data_episodes()
        for store_house_id in sensor_alarms.keys() | (self.outage_alarms.keys() - {EVERYWHERE}):
            watched = self.states.count_no_data_watched(store_house_id)
            last_outage = self.outage_alarms.get(store_house_id)
            changes += outages.storehouse_outage(
                store_house_id, watched, sensor_alarms.get(store_house_id, []), last_outage, now
            )
        for change in changes:
            self.outage_alarms[change.episode.store_house_id] = change.episode
        self.add_changes(changes, now)

    def add_past_outage(self, outage: Episode, now: float) -> None:
        """Raise the outage alarm of the sensor database, which was announced before this process became the judge."""
        last_outage = self.outage_alarms.get(EVERYWHERE)
        raised = now if outage.raised is None else outage.raised
        for change in outages.database_outage(last_outage, outage.since, raised, outage.limits[0].limit):
            self.outage_alarms[EVERYWHERE] = change.episode
            self.unwritten.insert(0, self.judged_change(change, datetime.fromtimestamp(now, UTC)))
            self.announced += 1

    @property
    def is_clock_alarm_open(self) -> bool:
        """Whether the alarm about a wrong clock is open."""
        return self.clock_alarm is not None and self.clock_alarm.state == ACTIVE

    def judge_clock(self, error_s: float | None, wrong_for_s: float, now: float) -> bool:
        """Raise or clear the alarm about a wrong clock. Return whether it was raised.

        See `alarms.wrong_clock.clock_alarm` for the arguments.
        """
        was_open = self.is_clock_alarm_open
        for change in wrong_clock.clock_alarm(self.clock_alarm, error_s, wrong_for_s, now):
            self.clock_alarm = change.episode
            self.add_changes([change], now)
        return self.is_clock_alarm_open and not was_open

    def add_changes(self, changes: Iterable[Change], now: float) -> None:
        """Keep changes of alarms, which were found at the time `now`, in memory until they are written."""
        for change in changes:
            if change.what == REFRESHED:
                self.refreshed[identity(change.episode)] = change
            else:
                self.refreshed.pop(identity(change.episode), None)  # the refreshed values are older than this change
                # Convert the change now: a change that is written late because of the database is not late itself.
                self.unwritten.append(self.judged_change(change, datetime.fromtimestamp(now, UTC)))

    def adopt(self, episodes: Iterable[Episode], late: Iterable[Episode]) -> None:
        """Add open alarm episodes from the database to memory. Otherwise these episodes would never end.

        `late` contains the open episodes whose last change was written late.
        """
        for episode in episodes:
            self.states.adopt(episode)
            if episode.key is None and episode.kind == NO_DATA:
                self.outage_alarms[episode.store_house_id] = episode
            elif episode.kind == wrong_clock.CLOCK:
                self.clock_alarm = episode
        self.late = {identity(episode): episode for episode in late}

    def judged_change(self, change: Change, now: datetime) -> JudgedChange:
        """Return a change of an alarm with further data that the database needs.

        The further data is the sensor's name and metric, whether the change is late, and whether the change is muted.
        """
        episode = change.episode
        sensor = self.states.sensor(episode.key) if episode.key else None
        return JudgedChange(
            change,
            sensor.sensor_name if sensor else None,
            sensor.metric if sensor else None,
            late=self._is_late(change, now),
            muted=is_muted(self.maintenance, to_datetime(change.time), episode),
        )

    def _is_late(self, change: Change, now: datetime) -> bool:
        episode = change.episode
        if episode.key is None or (episode.kind == NO_DATA and episode.cleared is None):
            return False
        if change.what == REFRESHED:
            late = identity(episode) in self.late
            return late and not self.states.is_current(episode.key, now.timestamp())
        no_data_after_s = self.states.no_data_after_s(episode.key)
        return change.time < now.timestamp() - (no_data_after_s if math.isfinite(no_data_after_s) else LATE_S)

    def up_to_date_changes(self, now: datetime) -> list[Change]:
        """Return a change for each late episode whose sensor sends current readings again.

        Each change has the type `REFRESHED`. An episode is late if its last change was already old when it was written.
        """
        stamp = now.timestamp()
        # Skip episodes with an unwritten change, because that change is newer than the episode in `late`.
        changed = {identity(judged.change.episode) for judged in self.unwritten} | self.refreshed.keys()
        return [
            Change(REFRESHED, stamp, episode)
            for key, episode in self.late.items()
            if key not in changed and episode.key and self.states.is_current(episode.key, stamp)
        ]

    def remember_late(self, written: Sequence[JudgedChange]) -> None:
        """Update the dictionary `late` after these changes have been written.

        `late` contains the open alarm episodes whose last change was already old when it was written.
        """
        for judged in written:
            episode = judged.change.episode
            if judged.late and episode.raised is not None and episode.cleared is None:
                self.late[identity(episode)] = episode
            else:
                self.late.pop(identity(episode), None)

    def remove_written(self, count: int) -> None:
        """Remove the first `count` unwritten changes, because they have been written."""
        del self.unwritten[:count]
        self.announced = max(0, self.announced - count)

    def pop_unannounced(self) -> list[Alarm]:
        """Return the alarm after each unwritten change that this method has not returned before."""
        changes, self.announced = self.unwritten[self.announced :], len(self.unwritten)
        outages = {key for key, outage in self.outage_alarms.items() if outage.state == ACTIVE}
        alarms = (unrecorded_alarm(judged, outages) for judged in changes)
        return [alarm for alarm in alarms if alarm is not None]

    @property
    def is_full(self) -> bool:
        """Whether so many changes are unwritten that the judge must not evaluate further readings."""
        return len(self.unwritten) >= MOST_UNWRITTEN

    def apply(self, result: SyncResult, now: float) -> None:
        """Update this memory with the result of `JudgeStore.write` or `JudgeStore.sync`.

        The result contains episodes that users closed, episodes that were already open in the database, new rules and
        new maintenance.
        """
        # Apply the closed episodes of the write first, because they include changes that the others do not include.
        for closed in (*result.written.closed, *result.closed):
            self.add_changes(self.states.close(closed), now)
            self._keep_closed(closed.episode)
        for episode in result.written.already_open:
            self.states.adopt(episode)
        self.cursor, self.versions = result.cursor, result.versions
        if result.rules is not None:
            self.states.set_rules(result.rules)
        if result.maintenance is not None:
            self.maintenance = result.maintenance

    def _keep_closed(self, episode: Episode) -> None:
        """Do not reopen an alarm about many sensors that a user closed by hand. Raise a new alarm instead.

        A change of the closed alarm would not be written, so nobody would learn of it.
        """
        kept = self.clock_alarm if episode.kind == wrong_clock.CLOCK else self.outage_alarms.get(episode.store_house_id)
        if episode.key is not None or kept is None or identity(kept) != identity(episode):
            return
        limits = tuple(msgspec.structs.replace(limit, reopen=NEVER_REOPENED) for limit in kept.limits)
        kept = msgspec.structs.replace(kept, limits=limits)
        if kept.kind == wrong_clock.CLOCK:
            self.clock_alarm = kept
        else:
            self.outage_alarms[kept.store_house_id] = kept


def is_muted(maintenance: Iterable[Maintenance], time: datetime, episode: Episode) -> bool:
    """Return whether the episode's storehouse or sensor is under maintenance at this time."""
    return any(
        muting.store_house_id == episode.store_house_id
        and muting.start <= time < muting.end
        and (muting.sensor_id is None or (episode.key is not None and episode.key[0] == muting.sensor_id))
        for muting in maintenance
    )
