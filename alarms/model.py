"""Input and output of the judge: readings, episodes, changes. Times are seconds since 1970, UTC; spans are seconds."""

from typing import NamedTuple

import msgspec

from ask.answers import Id
from ask.readings import Key
from common.severity import Severity

HIGH, LOW, RATE, NO_DATA, SWITCH = "high", "low", "rate", "no_data", "switch"
KINDS = (HIGH, LOW, RATE, SWITCH, NO_DATA)

PENDING, RAISED, WORSENED, CLEARED = "pending", "raised", "worsened", "cleared"
REOPENED = "reopened"
"""Its violation returned soon after it was cleared."""
REFRESHED = "refreshed"
"""Only its last value or its peak changed; that is no transition for the journal."""
DISMISSED = "dismissed"
"""It was pending, and its value returned to normal before the delay was over."""
WITHDRAWN = "withdrawn"
"""A late reading has shown that there was no alarm."""
ACTIVE = "active"
"""The state of an episode that was raised and is not cleared."""
ACKNOWLEDGED, CLOSED = "acknowledged", "closed"
"""Actions of people; the judge never returns these."""


class Limit(msgspec.Struct, frozen=True):
    """One limit in force, with its delays and hysteresis; each episode has a copy."""

    limit: float
    severity: Severity
    delay: float = 0.0
    """How long readings must violate the limit before the alarm is raised."""
    clear_delay: float = 0.0
    """How long they must be back within the limit before it is cleared."""
    hysteresis: float = 0.0
    """How far inside the limit they must be to count as back."""
    reopen: float = 600.0
    """A violation that returns this soon after the end reopens the episode."""
    within: float = 0.0
    """For a rate: the span in which a change of more than `limit` is a violation."""


class Episode(msgspec.Struct, frozen=True):
    """A violation of one kind at one sensor, from its first reading out of limits to its end.

    `key`, `kind` and `since` identify it permanently: judging the same readings again gives the same three. `key` is
    None for an alarm of the whole storehouse.
    """

    store_house_id: Id
    key: Key | None
    kind: str
    since: float
    """The time of the first reading out of limits; for no data, that of the last reading."""
    limits: tuple[Limit, ...]
    """The limits of this kind in force when it started, the mildest first."""
    level: int
    """Index in `limits` of the worst limit violated so far."""
    value: float | None
    """The last one."""
    peak: float | None
    """The one furthest beyond the limit."""
    raised: float | None = None
    """None while it is pending."""
    cleared: float | None = None

    @property
    def state(self) -> str:
        """State of the alarm: pending, active or cleared."""
        if self.raised is None:
            return PENDING
        return ACTIVE if self.cleared is None else CLEARED

    @property
    def severity(self) -> Severity:
        """Severity of the worst limit violated so far."""
        return self.limits[self.level].severity

    @property
    def limit(self) -> float:
        """The worst limit violated so far."""
        return self.limits[self.level].limit


class Change(NamedTuple):
    """A change of an episode, its time, and the episode after it."""

    what: str
    time: float
    episode: Episode


class Reading(NamedTuple):
    """A measured value at a time; None: the sensor reported a fault, which is no data.

    Of two with the same time the one with the higher `rank` is the newer, as in `ask.readings`.
    """

    time: float
    value: float | None
    rank: int = 0
