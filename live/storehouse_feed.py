"""The feed of a storehouse: what is pushed to the connections that watch it."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from access.caller import Caller
from access.guard import PushGuard
from ask.answers import EVERYWHERE, Alarms, AskError, Envs, Id
from ask.journal import Transition
from ask.readings import Reading
from common.clock import Clock
from errors import NotFound
from globals import Clients
from live.newest import Newest
from transport.recipients import Recipients

CallerOf = Callable[[str], Awaitable[Caller | None]]
"""Returns who a connection (sid) belongs to; None once it has ended."""


def room(sid: str) -> str:
    """Return the room of a connection."""
    return f"ROOM_{sid}"


def alarms_message(store_house_id: Id, transitions: Sequence[Transition]) -> Alarms:
    """Return the `alarms` message of these transitions."""
    alarms = [transition.alarm for transition in transitions]
    return Alarms(store_house_id, transitions[-1].transition_id, alarms)


class Push(Protocol):
    """Sends an event to connections of this process; see `transport.fanout.Fanout.push`."""

    async def __call__(self, event: str, data: object, recipients: Recipients, key: Hashable = None) -> None:
        """Send `data`, encoded once, to all recipients.

        With a `key`, it replaces a message of the same key that a connection has not got yet.
        """


class StorehouseFeed:
    """Pushes an `envs` to those who watch a storehouse that looks different. `clients` is `globals.clients`."""

    def __init__(
        self, newest: Newest, push: Push, clients: Clients, clock: Clock, guard: PushGuard, caller_of: CallerOf
    ) -> None:
        self.stale = False
        """Whether the database is lost, so that what was pushed last may be out of date."""
        self.cursor = 0
        """The last alarm transition that was pushed."""
        self._newest = newest
        self._send = push
        self._clients = clients
        self._clock = clock
        self._guard = guard
        self._caller_of = caller_of
        self._changed: set[Id] = set()
        self._recipients_of: dict[Id, tuple[tuple[str, ...], Recipients]] = {}  # with the watchers they were made for

    def envs(self, store_house_id: Id, *, reset: bool = False) -> Envs:
        """Return the storehouse as it stands; `reset`: the browser's cursor is not known."""
        now = self._clock()
        # Mostly one sensor has changed: the others need not be encoded again.
        encoded: Any = self._newest.encoded(store_house_id, now)
        return Envs(store_house_id, self.cursor, now, self.stale, encoded, reset or msgspec.UNSET)

    async def push_alarms(self, transitions: Sequence[Transition]) -> None:
        """Push alarm transitions, in their order, to those who watch their storehouses."""
        of_storehouse: dict[Id, list[Transition]] = defaultdict(list)
        for transition in transitions:
            of_storehouse[transition.alarm.store_house_id].append(transition)
        everywhere = of_storehouse.pop(EVERYWHERE, [])
        watched = self._clients.watched()
        for store_house_id in watched if everywhere else watched & of_storehouse.keys():
            here = sorted(
                [*everywhere, *of_storehouse[store_house_id]], key=lambda transition: transition.transition_id
            )
            message = alarms_message(store_house_id, here)
            await self._send("alarms", message, self._recipients(store_house_id))
        # Only now: an envs that counts alarms which a browser has not got would have it miss them when it comes back.
        self.cursor = transitions[-1].transition_id

    async def add_readings(self, readings: Sequence[Reading]) -> None:
        """Add new readings; they are pushed when the tick is over."""
        self._changed |= self._newest.add_readings(readings, self._clock())

    async def storehouses_changed(self, store_house_ids: set[Id]) -> None:
        """Push these storehouses; those who watch one that is gone, or hidden from them, are told and stop watching."""
        await self._stop_watching(
            [
                (sid, store_house_id)
                for store_house_id in store_house_ids
                for sid in self._clients.watchers(store_house_id)
            ]
        )
        await self.push(store_house_ids)

    async def push(self, store_house_ids: set[Id]) -> None:
        """Push these storehouses, and what has changed before."""
        self._changed |= store_house_ids
        await self._push_changed()

    async def caller_changed(self, sid: str) -> None:
        """Have a connection stop watching what it may not see any more."""
        store_house_id = self._clients.get(sid)
        if store_house_id is not None:
            await self._stop_watching([(sid, store_house_id)])

    async def ticked(self, answered: bool) -> None:
        """Push what the tick has changed; `answered`: whether the database did."""
        self._changed |= self._newest.gone_stale(self._clock())
        if self.stale == answered:
            self._set_stale(not answered)
        await self._push_changed()

    async def database_lost(self) -> None:
        """Tell everyone that the database is lost."""
        if not self.stale:
            self._set_stale(True)
            await self._push_changed()

    def _set_stale(self, stale: bool) -> None:
        self.stale = stale
        self._changed |= self._clients.watched()

    async def _push_changed(self) -> None:
        changed, self._changed = self._changed, set()
        watched = self._clients.watched()
        for store_house_id in self._recipients_of.keys() - watched:
            del self._recipients_of[store_house_id]
        for store_house_id in changed & watched:
            recipients = self._recipients(store_house_id)
            await self._send("envs", self.envs(store_house_id), recipients, ("envs", store_house_id))

    async def _stop_watching(self, watching: Iterable[tuple[str, Id]]) -> None:
        callers = [(sid, store_house_id, await self._caller_of(sid)) for sid, store_house_id in watching]
        stopped: dict[Id, list[str]] = defaultdict(list)
        for sid, store_house_id, caller in callers:
            if caller is None or self._clients.get(sid) != store_house_id:
                continue
            if not self._guard.may_watch(caller.user.visibility, store_house_id):
                stopped[store_house_id].append(sid)
                self._clients[sid] = None
        # Only when all have stopped may a push be awaited, or another push might reach one of them meanwhile.
        for store_house_id, sids in stopped.items():
            gone = NotFound(f"the storehouse {store_house_id!r} is gone", "store_house_id")
            message = AskError("register", gone.code, gone.message, gone.field)
            await self._send("ask_error", message, Recipients(map(room, sids)))

    def _recipients(self, store_house_id: Id) -> Recipients:
        """Return the connections that watch the storehouse: the same object, while they are the same."""
        watchers = self._clients.watchers(store_house_id)
        cached = self._recipients_of.get(store_house_id)
        if cached is None or cached[0] is not watchers:
            cached = self._recipients_of[store_house_id] = watchers, Recipients(map(room, watchers))
        return cached[1]
