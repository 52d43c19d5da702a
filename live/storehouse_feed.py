"""The screens: what is pushed to those who watch a storehouse."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from ask.answers import EVERYWHERE, Alarms, AskError, Envs, Id
from ask.journal import Transition
from ask.readings import Reading
from ask.visibility import Visibility
from common.clock import Clock
from errors import NotFound
from globals import Clients
from live.newest import Newest
from transport.recipients import Recipients


def room(sid: str) -> str:
    """Return the room of a connection."""
    return f"ROOM_{sid}"


def alarms(store_house_id: Id, transitions: Sequence[Transition]) -> Alarms:
    """Return the message that tells these transitions."""
    return Alarms(store_house_id, transitions[-1].transition_id, [one.alarm for one in transitions])


class Emit(Protocol):
    """How an event gets to an audience."""

    async def __call__(self, event: str, data: object, recipients: Recipients, key: Hashable = None) -> None:
        """Send `data`, encoded once, to every connection of the audience.

        With a `key`, it takes the place of one with the same that a connection has not got yet.
        """


class StorehouseFeed:
    """Pushes an `envs` to those who watch a storehouse that looks different.

    `clients` is `globals.clients`, `sight` tells what a connection may see.
    """

    def __init__(
        self, newest: Newest, emit: Emit, clients: Clients, clock: Clock, visibility: Callable[[str], Visibility]
    ) -> None:
        self.stale = False
        """The database is lost: what the screens show is the last that was known."""
        self.cursor = 0
        """The last transition of an alarm that was pushed."""
        self._newest = newest
        self._emit = emit
        self._clients = clients
        self._clock = clock
        self._visibility = visibility
        self._different: set[Id] = set()
        self._recipients_of: dict[Id, tuple[tuple[str, ...], Recipients]] = {}  # with the watchers it was made for

    def envs(self, store_house_id: Id, *, reset: bool = False) -> Envs:
        """Return the storehouse as it stands; `reset`: the browser's cursor is not known."""
        now = self._clock()
        # Mostly one sensor has changed: what is told of the others need not be encoded again.
        newest: Any = self._newest.encoded(store_house_id, now)
        return Envs(store_house_id, self.cursor, now, self.stale, newest, reset or msgspec.UNSET)

    async def tell(self, transitions: Sequence[Transition]) -> None:
        """Push transitions of alarms, in their order, to those who watch their storehouses."""
        of_place: dict[Id, list[Transition]] = defaultdict(list)
        for one in transitions:
            of_place[one.alarm.store_house_id].append(one)
        everywhere = of_place.pop(EVERYWHERE, [])
        watched = self._clients.watched()
        for store_house_id in watched if everywhere else watched & of_place.keys():
            here = sorted([*everywhere, *of_place[store_house_id]], key=lambda one: one.transition_id)
            told = alarms(store_house_id, here)
            await self._emit("alarms", told, self._recipients(store_house_id))
        # Only now: an envs that counts alarms which a browser has not got would have it miss them when it comes back.
        self.cursor = transitions[-1].transition_id

    async def take(self, readings: Sequence[Reading]) -> None:
        """Take over new readings; they are pushed when the tick is over."""
        self._different |= self._newest.take(readings, self._clock())

    async def change(self, store_house_ids: set[Id]) -> None:
        """Push these storehouses; who watches one that is gone, or hidden, is told so, and watches nothing then."""
        await self._leave([(sid, one) for one in store_house_ids for sid in self._clients.watchers(one)])
        await self.show(store_house_ids)

    async def show(self, store_house_ids: set[Id]) -> None:
        """Push these storehouses."""
        self._different |= store_house_ids
        await self._push()

    async def review(self, sid: str) -> None:
        """Have a connection leave what it may not see any more."""
        store_house_id = self._clients.get(sid)
        if store_house_id is not None:
            await self._leave([(sid, store_house_id)])

    async def ticked(self, answered: bool) -> None:
        """Push what the tick has changed; `answered`: whether the database did."""
        self._different |= self._newest.age(self._clock())
        if self.stale == answered:
            self._turn(stale=not answered)
        await self._push()

    async def lost(self) -> None:
        """Tell everyone that the database is lost."""
        if not self.stale:
            self._turn(stale=True)
            await self._push()

    def _turn(self, *, stale: bool) -> None:
        self.stale = stale
        self._different |= self._clients.watched()

    async def _push(self) -> None:
        different, self._different = self._different, set()
        watched = self._clients.watched()
        for store_house_id in self._recipients_of.keys() - watched:
            del self._recipients_of[store_house_id]
        for store_house_id in different & watched:
            recipients = self._recipients(store_house_id)
            await self._emit("envs", self.envs(store_house_id), recipients, ("envs", store_house_id))

    async def _leave(self, watching: Iterable[tuple[str, Id]]) -> None:
        leaving: dict[Id, list[str]] = defaultdict(list)
        for sid, store_house_id in watching:
            place = self._newest.storehouse(store_house_id)
            if place is None or not self._visibility(sid).storehouse(place):
                leaving[store_house_id].append(sid)
                self._clients[sid] = None
        # Only when all have left may anything be awaited, or one of them might be pushed something meanwhile.
        for store_house_id, sids in leaving.items():
            gone = NotFound(f"the storehouse {store_house_id!r} is gone", "store_house_id")
            told = AskError("register", gone.code, gone.message, gone.field)
            await self._emit("ask_error", told, Recipients(map(room, sids)))

    def _recipients(self, store_house_id: Id) -> Recipients:
        """Return those who watch the storehouse: the same audience, while they are the same."""
        watchers = self._clients.watchers(store_house_id)
        known = self._recipients_of.get(store_house_id)
        if known is None or known[0] is not watchers:
            known = self._recipients_of[store_house_id] = watchers, Recipients(map(room, watchers))
        return known[1]
