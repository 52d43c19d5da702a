"""To whom a message goes: those in some rooms, found once and kept for as long as nobody comes or goes.

To look each of them up by room, session and wire was a third of what a message cost.
"""

from collections.abc import Iterable, Mapping, Sequence, Set

from transport.outbox import Outbox, Sender


class Recipients:
    """Those in `rooms`. Who pushes to the same ones again hands over the same audience."""

    __slots__ = ("__weakref__", "_late", "_others", "_outboxes", "is_found", "ready", "rest", "rooms")

    def __init__(self, rooms: Iterable[str]) -> None:
        self.rooms = list(rooms)
        self.is_found = False
        self.ready: dict[Sender, Outbox] = {}
        """What a frame may be sent through at once, and whose that is."""
        self.rest: list[str] = []
        """Engine.IO's sessions of all others."""
        self._outboxes: Mapping[Outbox, str] = {}
        self._others: Sequence[str] = ()
        self._late: Set[Outbox] = frozenset()  # those of our wires that are not in `ready`

    def forget(self) -> None:
        """Have those in the rooms found anew."""
        self._keep({}, ())
        self.is_found = False

    def fill(self, outboxes: Mapping[Outbox, str], others: Sequence[str]) -> None:
        """Take over who is in the rooms: sessions by their wires, and those that have none."""
        self._keep(outboxes, others)
        self.is_found = True

    def part(self, behind: Set[Outbox]) -> None:
        """Tell those who are ready from the rest: those without a wire, and those whose wire is `behind`."""
        late = self._outboxes.keys() & behind
        # Mostly the same few as before: who stalls must not cost the others anything.
        if late != self._late:
            self._part(late)

    def _keep(self, outboxes: Mapping[Outbox, str], others: Sequence[str]) -> None:
        self._outboxes = outboxes
        self._others = others
        self._part(frozenset())

    def _part(self, late: Set[Outbox]) -> None:
        self._late = late
        self.ready = {outbox.socket: outbox for outbox in self._outboxes if outbox not in late}
        self.rest = [*self._others, *(self._outboxes[outbox] for outbox in late)]
