"""What the judging process knows for as long as it has the lease, and what readings and time do to it. No database."""

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from alarm_service.sensor_states import SensorStates
from alarms import outages
from alarms.model import NO_DATA, REFRESHED, Change, Episode
from alarms.rules import Rule
from ask.answers import EVERYWHERE, Id, Maintenance
from ask.readings import Reading
from live.source import Position
from record.episode_rows import Identity, JudgedChange, identity, to_datetime
from record.episodes import ClosedByHand, WriteResult

LATE_S = 180.0
"""A change so old is late if its sensor is not watched for having no data."""
BATCH = 500
"""Sensors or readings that are judged before the event loop gets a turn."""


class SyncResult(NamedTuple):
    """What was written, and what people have done since the last synchronization."""

    written: WriteResult
    closed: list[ClosedByHand]
    cursor: int
    versions: tuple[int, int]
    rules: Sequence[Rule] | None
    """None if they are unchanged; so is `maintenance`."""
    maintenance: Sequence[Maintenance] | None


@dataclass
class JudgeTerm:
    """What the process that judges knows, for as long as it has the lease."""

    lease_term: int
    states: SensorStates
    cursor: int
    """The last transition of the journal that the states know of."""
    position: Position
    """How far the readings have been judged."""
    versions: tuple[int, int] = (-1, -1)
    """Of the rules, and of the maintenance, as they were read last; if nobody has saved any it is 0."""
    maintenance: Sequence[Maintenance] = ()
    unwritten: list[Change] = field(default_factory=list)
    refreshed: dict[Identity, Change] = field(default_factory=dict)
    """The last values of open episodes, which are not written yet and can wait."""
    outage_alarms: dict[Id, Episode] = field(default_factory=dict)
    """The last alarm of each storehouse that had no data as a whole, and of the database."""
    late: dict[Identity, Episode] = field(default_factory=dict)
    """The open episodes whose readings came late."""
    synced_at: float = 0.0
    """When the term was last written in full, and below when a snapshot is due; on the monotonic clock."""
    snapshot_due: float = 0.0

    async def judge_readings(self, readings: Sequence[Reading], now: float) -> None:
        """Judge readings that came by `now`, giving the event loop turns."""
        for start in range(0, len(readings), BATCH):
            self.add_changes(self.states.judge_readings(readings[start : start + BATCH], now))
            await asyncio.sleep(0)

    async def judge_time(self, now: float) -> None:
        """Judge that it is `now`, and that all readings up to then have come, giving the event loop turns."""
        keys = self.states.keys()
        for start in range(0, len(keys), BATCH):
            self.add_changes(self.states.judge_time(keys[start : start + BATCH], now))
            await asyncio.sleep(0)

    def judge_outages(self, lost_since: float | None, now: float) -> None:
        """Raise or clear one alarm for each storehouse that has no data as a whole, and for a database that is lost."""
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
        self.add_changes(changes)

    def add_changes(self, changes: Iterable[Change]) -> None:
        """Keep changes until they are written."""
        for change in changes:
            if change.what == REFRESHED:
                self.refreshed[identity(change.episode)] = change
            else:
                self.refreshed.pop(identity(change.episode), None)  # it is older
                self.unwritten.append(change)

    def adopt(self, episodes: Iterable[Episode], late: Iterable[Episode]) -> None:
        """Add the episodes that are open in the database and would otherwise never end; `late`: the late ones."""
        for episode in episodes:
            self.states.adopt(episode)
            if episode.key is None and episode.kind == NO_DATA:
                self.outage_alarms[episode.store_house_id] = episode
        self.late = {identity(episode): episode for episode in late}

    def judged_change(self, change: Change, now: datetime) -> JudgedChange:
        """Return a change with the facts that the judge does not know."""
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
        """Return a refreshing change for each late episode whose sensor is up to date now."""
        stamp = now.timestamp()
        # An episode's unwritten change is newer than the episode as `late` has it.
        changed = {identity(change.episode) for change in self.unwritten} | self.refreshed.keys()
        return [
            Change(REFRESHED, stamp, episode)
            for key, episode in self.late.items()
            if key not in changed and episode.key and self.states.is_current(episode.key, stamp)
        ]

    def remember_late(self, written: Sequence[JudgedChange]) -> None:
        """Note which open episodes are late, after these changes were written."""
        for judged in written:
            episode = judged.change.episode
            if judged.late and episode.raised is not None and episode.cleared is None:
                self.late[identity(episode)] = episode
            else:
                self.late.pop(identity(episode), None)

    def apply(self, result: SyncResult) -> None:
        """Apply what was written, and what people have done."""
        # First the written ones: their closing takes account of changes that the others do not know of.
        for closed in (*result.written.closed, *result.closed):
            self.add_changes(self.states.close(closed))
        for episode in result.written.already_open:
            self.states.adopt(episode)
        self.cursor, self.versions = result.cursor, result.versions
        if result.rules is not None:
            self.states.set_rules(result.rules)
        if result.maintenance is not None:
            self.maintenance = result.maintenance


def is_muted(maintenance: Iterable[Maintenance], time: datetime, episode: Episode) -> bool:
    """Return whether maintenance of the episode's storehouse or sensor mutes it at this time."""
    return any(
        muting.store_house_id == episode.store_house_id
        and muting.start <= time < muting.end
        and (muting.sensor_id is None or (episode.key is not None and episode.key[0] == muting.sensor_id))
        for muting in maintenance
    )
