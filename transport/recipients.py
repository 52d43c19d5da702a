"""Caches the connections in a set of rooms until a connection joins, leaves, or changes its rooms or transport.

Without the cache, a third of the cost of a message was to look up the room, the session and the outbox (the writer of
the websocket) of each connection.
"""

from collections.abc import Iterable, Mapping, Sequence, Set

from transport.outbox import Outbox, Sender


class Recipients:
    """The connections in `rooms`. To benefit from the cache, pass the same object to every push to the same rooms."""

    __slots__ = ("__weakref__", "_behind", "_others", "_outboxes", "is_resolved", "ready", "rest", "rooms")

    def __init__(self, rooms: Iterable[str]) -> None:
        self.rooms = list(rooms)
        self.is_resolved = False
        """Whether the connections have been looked up."""
        self.ready: dict[Sender, Outbox] = {}
        """Outboxes (writers of websockets) that can send a frame at once, keyed by the `socket` of the outbox."""
        self.rest: list[str] = []
        """Engine.IO session ids of the connections that are not in `ready`."""
        self._outboxes: Mapping[Outbox, str] = {}
        self._others: Sequence[str] = ()
        self._behind: Set[Outbox] = frozenset()  # the members of `_outboxes` that are not in `ready`

    def forget(self) -> None:
        """Clear the cache, so that the next push looks up the connections again."""
        self._set_members({}, ())
        self.is_resolved = False

    def resolve(self, outboxes: Mapping[Outbox, str], others: Sequence[str]) -> None:
        """Store the result of the lookup: the connections that are in the rooms.

        `outboxes` maps each outbox (writer of a websocket) to its Engine.IO session id. `others` contains the session
        ids of connections without an outbox.
        """
        self._set_members(outboxes, others)
        self.is_resolved = True

    def split(self, behind: Set[Outbox]) -> None:
        """Split the connections into `ready` and `rest`.

        `rest` contains the connections without an outbox, and the connections whose outbox is in the set `behind`,
        because these outboxes must write other data first.
        """
        not_ready = self._outboxes.keys() & behind
        # Usually these are the same few slow clients as before. Then skip the work, so that they do not delay others.
        if not_ready != self._behind:
            self._split(not_ready)

    def _set_members(self, outboxes: Mapping[Outbox, str], others: Sequence[str]) -> None:
        self._outboxes = outboxes
        self._others = others
        self._split(frozenset())

    def _split(self, behind: Set[Outbox]) -> None:
        self._behind = behind
        self.ready = {outbox.socket: outbox for outbox in self._outboxes if outbox not in behind}
        self.rest = [*self._others, *(self._outboxes[outbox] for outbox in behind)]
