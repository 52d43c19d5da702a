"""The feed of the overview: pushes a summary of each storehouse to the connections that watch the overview."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec

from access.guard import PushGuard
from ask import answers
from ask.answers import Alarm, Id, Organisation, OverviewOrganisation, Storehouse
from ask.history import SPARK_HOURS
from ask.journal import Transition
from ask.readings import Key
from ask.sensors import Sensor
from ask.visibility import Visibility
from common.clock import Clock
from common.periodic import run_periodically
from common.shared_run import SharedRun
from errors import Unavailable
from live.newest import Newest
from live.storehouse_feed import Outages, Push, room
from live.storehouse_summary import is_raised, severity, spark_sensor, storehouse_summary
from transport.recipients import Recipients

log = logging.getLogger(__name__)

REFRESH_S = 30.0
"""Seconds between two queries for the organisations' names.

The queries run only while a connection watches the overview.
"""
MAX_SPARK_AGE = timedelta(minutes=5)
"""Age at which the hourly means in the overview are read again from the database."""


@dataclass(slots=True)
class Group:
    """The connections that watch the overview with the same visibility. They all get the same messages."""

    sids: dict[str, None] = field(default_factory=dict)
    recipients: Recipients = field(default_factory=lambda: Recipients(()))
    pushed_organisations: set[Id] = field(default_factory=set)
    """Ids of the organisations that have been sent to the group."""

    def update_recipients(self) -> None:
        """Set `recipients` to the connections that are now in the group."""
        self.recipients = Recipients(map(room, self.sids))


class OverviewQuestions(Protocol):
    """The database queries of the overview. `ask.Ask` implements them."""

    async def organisations(self) -> list[Organisation]:
        """Return all organisations."""

    async def sparks(self, sensors: Sequence[Sensor], /) -> dict[Key, list[float | None]]:
        """Return each sensor's hourly means of the last 24 hours."""


class OverviewFeed:
    """Pushes a summary of each storehouse to the connections that watch the overview.

    It keeps each summary in encoded form, and encodes it again only after a change. `outages` returns whether the
    server has lost its connection to the sensor database, and whether it cannot record alarms. The feed awaits
    `refresh_owners` after it reads data about storehouses and before it pushes the data.
    """

    def __init__(
        self,
        ask: OverviewQuestions,
        newest: Newest,
        push: Push,
        clock: Clock,
        outages: Callable[[], Outages],
        refresh_owners: Callable[[], Awaitable[None]],
        guard: PushGuard,
    ) -> None:
        self._ask = ask
        self._refresh_owners = refresh_owners
        self._newest = newest
        self._send = push
        self._clock = clock
        self._outages = outages
        self._guard = guard
        self._pushed_outages = Outages()
        # Not stored in python-socketio's session: a push needs all watchers with one visibility, not one connection.
        self._watchers: dict[str, Visibility] = {}
        self._groups: dict[Visibility, Group] = {}
        self._watched = asyncio.Event()
        self._organisations: dict[Id, Organisation] = {}
        self._refresh_organisations = SharedRun(self._read_organisations)
        self._open: dict[Id, dict[Id, Alarm]] = defaultdict(dict)  # by storehouse
        self._sparks: dict[Key, list[float | None]] = {}
        self._sparks_read_at: datetime | None = None
        self._summaries: dict[Id, msgspec.Raw] = {}  # by storehouse
        self._versions: dict[Id, tuple[int, Storehouse]] = {}
        """For each storehouse, the version of the data that its summary shows.

        If a storehouse has no entry, its summary must be rebuilt.
        """
        self._store_house_ids: dict[Id, list[Id]] = {}
        """Ids of the storehouses of each organisation."""
        self._changed: set[Id] = set()
        """Ids of the organisations that have changed since they were last pushed."""

    @property
    def watchers(self) -> tuple[str, ...]:
        """The connections that watch the overview."""
        return tuple(self._watchers)

    @property
    def open_alarms(self) -> Counter[str]:
        """Number of open alarms of each severity, not counting pending alarms."""
        return Counter(severity(alarm) for here in self._open.values() for alarm in here.values())

    def load_alarms(self, open_alarms: Iterable[Alarm]) -> None:
        """Add these open alarms to the feed.

        The caller must start to follow the alarm journal before it reads `open_alarms`. Otherwise the feed would miss
        changes of alarms that are recorded after this read.
        """
        for alarm in open_alarms:
            self._add_alarm(alarm)

    async def refresh_organisations(self) -> None:
        """Read the organisations from the database.

        If the database does not answer, keep the organisations that are known already. Raise `Unavailable` if no
        organisation is known.
        """
        await self._refresh_organisations()

    async def _read_organisations(self) -> None:
        try:
            organisations = await self._ask.organisations()
        except Unavailable:
            if not self._organisations:
                raise
            return
        self.set_organisations(organisations)

    @property
    def organisations(self) -> list[Organisation]:
        """The known organisations."""
        return list(self._organisations.values())

    def set_organisations(self, current: Iterable[Organisation]) -> None:
        """Replace the known organisations."""
        organisations = {organisation.org_id: organisation for organisation in current}
        self._changed |= {
            org_id for org_id, organisation in organisations.items() if self._organisations.get(org_id) != organisation
        }
        self._organisations = organisations

    def watch(self, sid: str, visibility: Visibility) -> None:
        """Push changes to this connection from now on.

        The caller must send the current state, which `answer` returns, to the connection.
        """
        self.leave(sid)
        self._update()
        if not self._watchers:
            self._changed.clear()  # there is no other watcher that still needs these changes
        self._watchers[sid] = visibility
        self._watched.set()
        group = self._groups.setdefault(visibility, Group())
        group.sids[sid] = None
        group.update_recipients()
        group.pushed_organisations.update(self._visible_organisations(visibility))

    def leave(self, sid: str) -> None:
        """Stop pushing to this connection. Do nothing if the connection does not watch the overview."""
        visibility = self._watchers.pop(sid, None)
        if visibility is not None:
            group = self._groups[visibility]
            del group.sids[sid]
            group.update_recipients()
            if not group.sids:
                del self._groups[visibility]
        if not self._watchers:
            self._watched.clear()

    async def caller_changed(self, sid: str, visibility: Visibility) -> None:
        """Apply a changed visibility to a connection that watches the overview.

        Send the connection the organisations that are visible now and the organisations that were sent to it before.
        Organisations that are hidden now are sent without a name and without storehouses.
        """
        before = self._watchers.get(sid)
        if before is None or before == visibility:
            return
        pushed = self._groups[before].pushed_organisations
        self.watch(sid, visibility)
        org_ids = {**self._visible_organisations(visibility), **dict.fromkeys(pushed)}
        await self._send("overview", self._message(org_ids, visibility), Recipients([room(sid)]))

    def answer(self, visibility: Visibility) -> answers.Overview:
        """Return the current state of all visible organisations."""
        self._update()
        return self._message(self._visible_organisations(visibility), visibility)

    async def add_transitions(self, transitions: Sequence[Transition]) -> None:
        """Apply changes of alarms (transitions), and push the organisations that have changed."""
        for transition in transitions:
            self._add_alarm(transition.alarm)
        await self.push()

    async def push(self) -> None:
        """Push each changed organisation to the connections that may see it, and to those that received it earlier."""
        if not self._watchers:
            return
        self._update()
        changed, self._changed = self._changed, set()
        for org_id in changed:
            for visibility, group in list(self._groups.items()):
                is_visible = self._sees_organisation(visibility, org_id)
                if is_visible or org_id in group.pushed_organisations:
                    (group.pushed_organisations.add if is_visible else group.pushed_organisations.discard)(org_id)
                    message = self._message([org_id], visibility)
                    await self._send("overview", message, group.recipients, ("overview", org_id))

    async def run(self) -> None:
        """Periodically read the organisations and hourly means, and push the changes, until cancelled.

        Pause while no connection watches the overview.
        """
        await run_periodically(self._refresh_while_watched, REFRESH_S, log=log, purpose="refresh the overview")

    async def _refresh_while_watched(self) -> None:
        await self._watched.wait()
        await self.refresh_organisations()
        await self._refresh_sparks()
        await self.push()

    async def _refresh_sparks(self) -> None:
        now = self._clock()
        if self._sparks_read_at is not None and now - self._sparks_read_at < MAX_SPARK_AGE:
            return
        sensors = {
            storehouse.store_house_id: spark_sensor(self._newest.sensors(storehouse.store_house_id))
            for storehouse in self._newest.storehouses()
        }
        sparks = await self._ask.sparks([sensor for sensor in sensors.values() if sensor is not None])
        await self._refresh_owners()
        for store_house_id, sensor in sensors.items():
            if sensor is not None and sparks.get(sensor.key) != self._sparks.get(sensor.key):
                self._versions.pop(store_house_id, None)
        self._sparks, self._sparks_read_at = sparks, now

    def _add_alarm(self, alarm: Alarm) -> None:
        here = self._open[alarm.store_house_id]
        if is_raised(alarm):
            here[alarm.alarm_id] = alarm
        else:
            here.pop(alarm.alarm_id, None)
        self._versions.pop(alarm.store_house_id, None)

    def _update(self) -> None:
        """Rebuild the summaries of storehouses that have changed, and add the changed organisations to `_changed`."""
        store_house_ids: dict[Id, list[Id]] = defaultdict(list)
        for storehouse in self._newest.storehouses():
            store_house_id = storehouse.store_house_id
            store_house_ids[storehouse.org_id].append(store_house_id)
            version = self._newest.version(store_house_id), storehouse
            if self._versions.get(store_house_id) != version:
                self._versions[store_house_id] = version
                summary = self._summary(storehouse)
                if self._summaries.get(store_house_id) != summary:
                    self._summaries[store_house_id] = summary
                    self._changed.add(storehouse.org_id)
        before = self._store_house_ids
        if store_house_ids != before:
            org_ids = store_house_ids.keys() | before
            self._changed |= {org_id for org_id in org_ids if store_house_ids.get(org_id) != before.get(org_id)}
            self._store_house_ids = dict(store_house_ids)
            existing = [store_house_id for of_one in store_house_ids.values() for store_house_id in of_one]
            self._summaries = {store_house_id: self._summaries[store_house_id] for store_house_id in existing}
        outages = self._outages()
        if self._pushed_outages != outages:
            self._pushed_outages = outages
            self._changed |= self._organisations.keys() | self._store_house_ids

    def _summary(self, storehouse: Storehouse) -> msgspec.Raw:
        store_house_id = storehouse.store_house_id
        sensor = spark_sensor(self._newest.sensors(store_house_id))
        spark = self._sparks.get(sensor.key) if sensor is not None else None
        envs = self._newest.envs(store_house_id, self._clock())
        alarms = self._open[store_house_id].values()
        summary = storehouse_summary(storehouse, envs, alarms, spark or [None] * SPARK_HOURS)
        return msgspec.Raw(msgspec.json.encode(summary))

    def _visible_organisations(self, visibility: Visibility) -> dict[Id, None]:
        """Return the ids of the organisations that are wholly or partly visible, in the order of the overview."""
        org_ids = {**self._organisations, **self._store_house_ids}
        return {org_id: None for org_id in org_ids if self._sees_organisation(visibility, org_id)}

    def _sees_organisation(self, visibility: Visibility, org_id: Id) -> bool:
        return self._guard.sees_organisation(visibility, org_id, self._store_house_ids.get(org_id, ()))

    def _message(self, org_ids: Iterable[Id], visibility: Visibility) -> answers.Overview:
        organisations = [self._organisation(org_id, visibility) for org_id in org_ids]
        outages = self._outages()
        return answers.Overview(self._clock(), outages.stale, outages.unrecorded, organisations)

    def _organisation(self, org_id: Id, visibility: Visibility) -> OverviewOrganisation:
        """Return the part of an `overview` message about one organisation.

        If the organisation is hidden or deleted, this part contains no name and no storehouses.
        """
        organisation = self._organisations.get(org_id) if self._sees_organisation(visibility, org_id) else None
        visible = self._guard.visible_storehouses(visibility, org_id, self._store_house_ids.get(org_id, ()))
        summaries: Any = [self._summaries[store_house_id] for store_house_id in visible]
        return OverviewOrganisation(org_id, organisation.org_name if organisation else "", summaries)
