"""The feed of a storehouse: pushes readings and alarms to the connections that watch it."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

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
"""A function that takes the id (sid) of a connection and returns the connection's caller.

It returns None after the connection has ended.
"""


def room(sid: str) -> str:
    """Return the name of the room that contains only this connection."""
    return f"ROOM_{sid}"


def alarms_message(store_house_id: Id, transitions: Sequence[Transition]) -> Alarms:
    """Return the `alarms` message for these alarm transitions."""
    alarms = [transition.alarm for transition in transitions]
    return Alarms(store_house_id, transitions[-1].transition_id, alarms)


class Push(Protocol):
    """Sends an event to connections of this process; see `transport.fanout.Fanout.push`."""

    async def __call__(self, event: str, data: object, recipients: Recipients, key: Hashable = None) -> None:
        """Send `data`, encoded once, to all recipients.

        With a `key`, the message replaces an unsent message with the same key.
        """


class Outages(NamedTuple):
    """What does not work: `stale` and `unrecorded`, as in the messages `envs` and `overview`."""

    stale: bool = False
    unrecorded: bool = False


class StorehouseFeed:
    """Pushes readings (`envs`) and alarms (`alarms`) to the connections that watch a storehouse.

    `clients` is `globals.clients`: the storehouse that each connection watches.
    """

    def __init__(
        self, newest: Newest, push: Push, clients: Clients, clock: Clock, guard: PushGuard, caller_of: CallerOf
    ) -> None:
        self.stale = False
        """Whether the server has lost its connection to the database.

        In this case, the pushed values may be out of date.
        """
        self.unrecorded = False
        """Whether the server cannot record alarms."""
        self.cursor = 0
        """Id of the last alarm transition that was pushed."""
        self._newest = newest
        self._send = push
        self._clients = clients
        self._clock = clock
        self._guard = guard
        self._caller_of = caller_of
        self._changed: set[Id] = set()
        self._recipients_of: dict[Id, tuple[tuple[str, ...], Recipients]] = {}  # with the watchers

    @property
    def outages(self) -> Outages:
        """What does not work now."""
        return Outages(self.stale, self.unrecorded)

    def envs(self, store_house_id: Id, *, reset: bool = False) -> Envs:
        """Return the `envs` message of the storehouse.

        `reset` is true if the server does not know the cursor (the id of the last alarm transition) that the browser
        sent.
        """
        now = self._clock()
        # Usually only one sensor has changed: the others are cached in encoded form.
        encoded: Any = self._newest.encoded(store_house_id, now)
        return Envs(store_house_id, self.cursor, now, self.stale, self.unrecorded, encoded, reset or msgspec.UNSET)

    async def push_alarms(self, transitions: Sequence[Transition]) -> None:
        """Push changes of alarms, in order, to the connections that watch the storehouses of these alarms."""
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
        # Set this only after the push: a browser with the new cursor but without these alarms would never get them.
        self.cursor = transitions[-1].transition_id

    async def add_readings(self, readings: Sequence[Reading]) -> None:
        """Add new readings. They are pushed when the poller's current poll has ended."""
        self._changed |= self._newest.add_readings(readings, self._clock())

    async def storehouses_changed(self, store_house_ids: set[Id]) -> None:
        """Push the current state of these storehouses to the connections that watch them.

        If a connection may no longer see the storehouse, or the storehouse was deleted, the connection gets an
        `ask_error` and no more pushes.
        """
        await self._stop_watching(
            [
                (sid, store_house_id)
                for store_house_id in store_house_ids
                for sid in self._clients.watchers(store_house_id)
            ]
        )
        await self.push(store_house_ids)

    async def push(self, store_house_ids: set[Id]) -> None:
        """Push the current state of these storehouses, and of all others with changes that were not pushed yet."""
        self._changed |= store_house_ids
        await self._push_changed()

    async def caller_changed(self, sid: str) -> None:
        """Stop a connection from watching a storehouse that it may no longer see."""
        store_house_id = self._clients.get(sid)
        if store_house_id is not None:
            await self._stop_watching([(sid, store_house_id)])

    async def ticked(self, answered: bool) -> None:
        """Push the changes of the poll that has just ended. `answered` is true if the database answered the poll."""
        self._changed |= self._newest.gone_stale(self._clock())
        if self.stale == answered:
            self._set_stale(not answered)
        await self._push_changed()

    async def database_lost(self) -> None:
        """Tell every watching connection that the server has lost its connection to the database."""
        if not self.stale:
            self._set_stale(True)
            await self._push_changed()

    async def recording_changed(self, is_recording: bool) -> None:
        """Tell every watching connection whether alarms are being recorded."""
        self.unrecorded = not is_recording
        await self.push(self._clients.watched())

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
        # Push only after all of them have stopped watching: otherwise another push could reach one of them meanwhile.
        for store_house_id, sids in stopped.items():
            gone = NotFound(
                f"the storehouse {store_house_id!r} no longer exists or is no longer visible",
                "store_house_id",
                reason="unknown_storehouse",
            )
            message = AskError("register", gone.code, gone.message, gone.field, gone.params)
            await self._send("ask_error", message, Recipients(map(room, sids)))

    def _recipients(self, store_house_id: Id) -> Recipients:
        """Return the connections that watch the storehouse.

        Until these connections change, each call returns the same object.
        """
        watchers = self._clients.watchers(store_house_id)
        cached = self._recipients_of.get(store_house_id)
        if cached is None or cached[0] is not watchers:
            cached = self._recipients_of[store_house_id] = watchers, Recipients(map(room, watchers))
        return cached[1]
