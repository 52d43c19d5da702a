"""The connections in some rooms, looked up once and kept for as long as nobody connects or leaves.

Looking up each of them by room, session and outbox was a third of the cost of a message.
"""

from collections.abc import Iterable, Mapping, Sequence, Set

from transport.outbox import Outbox, Sender


class Recipients:
    """The connections in `rooms`. Pass the same object to every push to the same rooms."""

    __slots__ = ("__weakref__", "_behind", "_others", "_outboxes", "is_resolved", "ready", "rest", "rooms")

    def __init__(self, rooms: Iterable[str]) -> None:
        self.rooms = list(rooms)
        self.is_resolved = False
        """Whether the connections have been looked up."""
        self.ready: dict[Sender, Outbox] = {}
        """Outboxes that can send at once, by what a frame is sent through."""
        self.rest: list[str] = []
        """The Engine.IO sessions of all others."""
        self._outboxes: Mapping[Outbox, str] = {}
        self._others: Sequence[str] = ()
        self._behind: Set[Outbox] = frozenset()  # those of `_outboxes` that are not in `ready`

    def forget(self) -> None:
        """Have the connections looked up again."""
        self._set_members({}, ())
        self.is_resolved = False

    def resolve(self, outboxes: Mapping[Outbox, str], others: Sequence[str]) -> None:
        """Set the connections in the rooms: sessions by their outboxes, and the sessions that have none."""
        self._set_members(outboxes, others)
        self.is_resolved = True

    def split(self, behind: Set[Outbox]) -> None:
        """Divide the connections into `ready` and `rest`: those without an outbox, or whose outbox is `behind`."""
        not_ready = self._outboxes.keys() & behind
        # Mostly the same few as before: a slow client must not cost the others anything.
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
