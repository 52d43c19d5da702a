"""Decides which question runs next if only a few may run at once. It uses no clock and no event loop."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


class QueueFull(Exception):
    """The user already has the maximum number of questions in the queue."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """The limits of a `FairQueue`. All of them are numbers of questions."""

    places: int
    """Maximum number that run at once."""
    places_per_user: int
    """Maximum number of one user that run at once."""
    waiting_per_user: int
    """Maximum number of one user that wait."""
    places_per_kind: Mapping[str, int] = field(default_factory=dict)
    """Maximum number of a kind that run at once. A kind without an entry has no maximum of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """A question of a user that waits or runs. `kind` is the name of its event."""

    user: str
    kind: str


class FairQueue:
    """A queue that gives all users the same share, however many questions they ask.

    When a place becomes free, the user with the fewest running questions is next. Users with the same number take
    turns. The questions of one user start in the order in which they entered, unless all places of a kind are taken.
    """

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self._running: set[Ticket] = set()
        self._waiting: dict[str, list[Ticket]] = {}
        """The waiting questions of each user. The user who is served next comes first."""
        self._positions: dict[Ticket, int] | None = None

    def enter(self, user: str, kind: str) -> Ticket:
        """Add a question to the queue. Raise `QueueFull` if too many questions of the user wait already."""
        tickets = self._waiting.get(user, [])
        if len(tickets) >= self._limits.waiting_per_user:
            raise QueueFull
        ticket = Ticket(user, kind)
        self._waiting[user] = [*tickets, ticket]
        self._positions = None
        return ticket

    def start_next(self) -> Ticket | None:
        """Start the next question and return it. Return None if no waiting question may start now."""
        if len(self._running) >= self._limits.places:
            return None
        by_user, by_kind = (Counter(getattr(each, name) for each in self._running) for name in ("user", "kind"))
        for ticket in self.positions():
            has_place = by_user[ticket.user] < self._limits.places_per_user
            if has_place and by_kind[ticket.kind] < self._limits.places_per_kind.get(ticket.kind, self._limits.places):
                self._stop_waiting(ticket)
                self._running.add(ticket)
                return ticket
        return None

    def leave(self, ticket: Ticket) -> None:
        """Remove a question, whether it waits or runs."""
        if ticket in self._running:
            self._running.remove(ticket)
        else:
            self._stop_waiting(ticket)
        self._positions = None

    def positions(self) -> Mapping[Ticket, int]:
        """Return the position of each waiting question, from 1, in the order in which they would start now.

        The positions may change whenever a question enters, starts or ends.
        """
        if self._positions is None:
            running = Counter(each.user for each in self._running)
            ranked = [
                (running[user] + index, turn, ticket)
                for turn, (user, tickets) in enumerate(self._waiting.items())
                for index, ticket in enumerate(tickets)
            ]
            ranked.sort(key=lambda each: each[:2])
            self._positions = {ticket: position for position, (_, _, ticket) in enumerate(ranked, 1)}
        return self._positions

    def _stop_waiting(self, ticket: Ticket) -> None:
        rest = [each for each in self._waiting.pop(ticket.user) if each is not ticket]
        if rest:
            self._waiting[ticket.user] = rest  # the user is now the last
        self._positions = None
