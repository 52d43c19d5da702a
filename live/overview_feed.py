"""The overview: all storehouses at a glance, pushed to those who watch them."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from ask import Ask, answers
from ask.answers import Alarm, Id, Organisation, OverviewOrganisation, Storehouse
from ask.history import SPARK_HOURS
from ask.journal import Transition
from ask.readings import Key
from ask.visibility import EVERYTHING, Visibility
from common.clock import Clock
from db.database import Database
from errors import Unavailable
from live.newest import Newest
from live.storehouse_feed import Emit, room
from live.storehouse_summary import counts, glance, severity, spark_of
from logger import errors_logged
from record import journal
from transport.recipients import Recipients

log = logging.getLogger("live")

REFRESH_S = 30.0
"""Between two looks at what the organisations are called, while anybody watches."""
SPARKS = timedelta(minutes=5)
"""How old the means of the last hours may be."""


@dataclass(slots=True)
class Group:
    """Those who watch and may see the same: one message serves all of them."""

    sids: dict[str, None] = field(default_factory=dict)
    recipients: Recipients = field(default_factory=lambda: Recipients(()))
    told: set[Id] = field(default_factory=set)
    """The organisations that they have been told of."""

    def gather(self) -> None:
        """Find the audience anew."""
        self.recipients = Recipients(map(room, self.sids))


class Overview:
    """Keeps each storehouse's part as it was encoded, and makes anew only those that look different.

    `state` has the alarm journal; `is_lost` tells whether the sensor database is lost; `own` is awaited between
    reading what is told of a storehouse and telling it, to learn whose it is.
    """

    def __init__(
        self,
        ask: Ask,
        state: Database,
        newest: Newest,
        emit: Emit,
        clock: Clock,
        is_lost: Callable[[], bool],
        own: Callable[[], Awaitable[None]],
    ) -> None:
        self._ask = ask
        self._own = own
        self._state = state
        self._newest = newest
        self._emit = emit
        self._clock = clock
        self._is_lost = is_lost
        self._was_lost = False
        self._watchers: dict[str, Visibility] = {}
        self._groups: dict[Visibility, Group] = {}
        self._watched = asyncio.Event()
        self._organisations: dict[Id, Organisation] = {}
        self._open: dict[Id, dict[Id, Alarm]] = defaultdict(dict)  # by storehouse
        self._sparks: dict[Key, list[float | None]] = {}
        self._sparks_at: datetime | None = None
        self._parts: dict[Id, msgspec.Raw] = {}  # by storehouse
        self._looks: dict[Id, tuple[int, Storehouse]] = {}
        """How a storehouse looked when its part was made; where there is none, it is to be made anew."""
        self._shown: dict[Id, list[Id]] = {}
        """The storehouses of each organisation."""
        self._different: set[Id] = set()
        """The organisations that look different from what was pushed."""

    @property
    def watchers(self) -> tuple[str, ...]:
        """The connections that watch it."""
        return tuple(self._watchers)

    @property
    def open_alarms(self) -> Counter[str]:
        """How many alarms are open, by severity."""
        return Counter(severity(alarm) for here in self._open.values() for alarm in here.values())

    async def begin(self) -> None:
        """Learn which alarms are open, and the organisations; raises `Unavailable`.

        The journal is to be followed from before this on.
        """
        for step in (await self._state.run(journal.open_steps)).values():
            self._note(step.alarm)
        await self.learn()

    async def learn(self) -> None:
        """Learn which organisations there are; raises `Unavailable` where nothing is known of them."""
        try:
            found = {one.org_id: one for one in await self._ask.organisations(EVERYTHING)}
        except Unavailable:
            if not self._organisations:
                raise
            return
        self._different |= {one for one in found if self._organisations.get(one) != found[one]}
        self._organisations = found

    def watch(self, sid: str, visibility: Visibility) -> None:
        """Push to this connection what `sight` has of the overview, whatever is not in the answer that it gets now."""
        self.leave(sid)
        self._look()
        if not self._watchers:
            self._different.clear()  # nobody else waits for it
        self._watchers[sid] = visibility
        self._watched.set()
        group = self._groups.setdefault(visibility, Group())
        group.sids[sid] = None
        group.gather()
        group.told.update(self._seen(visibility))

    def leave(self, sid: str) -> None:
        """Push nothing more to this connection, whether or not it watches."""
        visibility = self._watchers.pop(sid, None)
        if visibility is not None:
            group = self._groups[visibility]
            del group.sids[sid]
            group.gather()
            if not group.sids:
                del self._groups[visibility]
        if not self._watchers:
            self._watched.clear()

    async def review(self, sid: str, visibility: Visibility) -> None:
        """Have a connection that watches see this from now on, and no more of what it saw before."""
        before = self._watchers.get(sid)
        if before is None or before == visibility:
            return
        told = self._groups[before].told
        self.watch(sid, visibility)
        both = {**self._seen(visibility), **dict.fromkeys(told)}
        await self._emit("overview", self._overview(both, visibility), Recipients([room(sid)]))

    def answer(self, visibility: Visibility) -> answers.Overview:
        """Return all organisations of which one may see anything, as they stand."""
        self._look()
        return self._overview(self._seen(visibility), visibility)

    async def follow(self, transitions: Sequence[Transition]) -> None:
        """Take over what has happened to alarms, and push it."""
        for one in transitions:
            self._note(one.alarm)
        await self.push()

    async def push(self) -> None:
        """Push each organisation that looks different."""
        if not self._watchers:
            return
        self._look()
        different, self._different = self._different, set()
        for org_id in different:
            for visibility, group in list(self._groups.items()):
                is_seen = self._sees(visibility, org_id)
                if is_seen or org_id in group.told:
                    (group.told.add if is_seen else group.told.discard)(org_id)
                    told = self._overview([org_id], visibility)
                    await self._emit("overview", told, group.recipients, ("overview", org_id))

    async def run(self) -> None:
        """Keep what the poller does not bring while anybody watches, until cancelled."""
        while True:
            await self._watched.wait()
            with errors_logged(log, "keep the overview"):
                await self.learn()
                await self._learn_sparks()
                await self.push()
            await asyncio.sleep(REFRESH_S)

    async def _learn_sparks(self) -> None:
        now = self._clock()
        if self._sparks_at is not None and now - self._sparks_at < SPARKS:
            return
        places = {
            one.store_house_id: spark_of(self._newest.sensors(one.store_house_id)) for one in self._newest.storehouses()
        }
        found = await self._ask.sparks([one for one in places.values() if one is not None])
        await self._own()
        for store_house_id, sensor in places.items():
            if sensor is not None and found.get(sensor.key) != self._sparks.get(sensor.key):
                self._looks.pop(store_house_id, None)
        self._sparks, self._sparks_at = found, now

    def _note(self, alarm: Alarm) -> None:
        here = self._open[alarm.store_house_id]
        if counts(alarm):
            here[alarm.alarm_id] = alarm
        else:
            here.pop(alarm.alarm_id, None)
        self._looks.pop(alarm.store_house_id, None)

    def _look(self) -> None:
        """Make the parts anew that look different."""
        shown: dict[Id, list[Id]] = defaultdict(list)
        for storehouse in self._newest.storehouses():
            store_house_id = storehouse.store_house_id
            shown[storehouse.org_id].append(store_house_id)
            looks = self._newest.looks(store_house_id), storehouse
            if self._looks.get(store_house_id) != looks:
                self._looks[store_house_id] = looks
                part = self._part(storehouse)
                if self._parts.get(store_house_id) != part:
                    self._parts[store_house_id] = part
                    self._different.add(storehouse.org_id)
        if shown != self._shown:
            self._different |= {one for one in shown.keys() | self._shown if shown.get(one) != self._shown.get(one)}
            self._shown = dict(shown)
            self._parts = {one: self._parts[one] for of_org in shown.values() for one in of_org}
        if self._was_lost != self._is_lost():
            self._was_lost = not self._was_lost
            self._different |= self._organisations.keys() | self._shown

    def _part(self, storehouse: Storehouse) -> msgspec.Raw:
        store_house_id = storehouse.store_house_id
        sensor = spark_of(self._newest.sensors(store_house_id))
        spark = self._sparks.get(sensor.key) if sensor is not None else None
        envs = self._newest.envs(store_house_id, self._clock())
        alarms = self._open[store_house_id].values()
        return msgspec.Raw(msgspec.json.encode(glance(storehouse, envs, alarms, spark or [None] * SPARK_HOURS)))

    def _seen(self, visibility: Visibility) -> dict[Id, None]:
        """The organisations of which one may see anything, in their order."""
        known = {**self._organisations, **self._shown}
        return {org_id: None for org_id in known if self._sees(visibility, org_id)}

    def _sees(self, visibility: Visibility, org_id: Id) -> bool:
        return visibility.organisation(org_id) or any(
            self._newest.sees(visibility, one) for one in self._shown.get(org_id, ())
        )

    def _overview(self, org_ids: Iterable[Id], visibility: Visibility) -> answers.Overview:
        told = [self._organisation(org_id, visibility) for org_id in org_ids]
        return answers.Overview(self._clock(), self._is_lost(), told)

    def _organisation(self, org_id: Id, visibility: Visibility) -> OverviewOrganisation:
        """An organisation of which one may see nothing is told like one that is gone: nameless and empty."""
        known = self._organisations.get(org_id) if self._sees(visibility, org_id) else None
        places = self._shown.get(org_id, ())
        if not visibility.organisation(org_id):
            places = [one for one in places if self._newest.sees(visibility, one)]
        parts: Any = [self._parts[one] for one in places]
        return OverviewOrganisation(org_id, known.org_name if known else "", parts)
