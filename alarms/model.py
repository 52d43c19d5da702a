"""Input and output of the judge: readings, episodes and changes.

Times are seconds since 1970-01-01 00:00 UTC. Time spans are in seconds.
"""

from typing import NamedTuple

import msgspec

from ask.answers import Id
from ask.readings import Key
from common.severity import Severity

HIGH, LOW, RATE, NO_DATA, SWITCH = "high", "low", "rate", "no_data", "switch"
KINDS = (HIGH, LOW, RATE, SWITCH, NO_DATA)

PENDING, RAISED, WORSENED, CLEARED = "pending", "raised", "worsened", "cleared"
REOPENED = "reopened"
"""The change of an episode that is open again, because the violation returned soon after the episode was cleared."""
REFRESHED = "refreshed"
"""A change of only an episode's last value, peak or limits. The journal does not record it as a transition."""
DISMISSED = "dismissed"
"""The change of a pending episode that ends before its delay is over."""
WITHDRAWN = "withdrawn"
"""The change of a raised episode after a late reading shows that there was no alarm."""
ACTIVE = "active"
"""The state of an episode that has been raised and is not cleared."""
ACKNOWLEDGED, CLOSED = "acknowledged", "closed"
"""Changes of an alarm by users. The judge never returns these changes."""


class Limit(msgspec.Struct, frozen=True):
    """One limit in force, with its delays and hysteresis. Each episode has a copy of its limits."""

    limit: float
    severity: Severity
    delay: float = 0.0
    """Time for which readings must violate the limit before the alarm is raised, in seconds."""
    clear_delay: float = 0.0
    """Time for which readings must be back within the limit before the alarm is cleared, in seconds."""
    hysteresis: float = 0.0
    """Distance inside the limit that a value must reach to count as back within the limit."""
    reopen: float = 600.0
    """Time after the end of an episode in which a new violation reopens the episode, in seconds."""
    within: float = 0.0
    """Time span in which a change of more than `limit` is a violation, in seconds; only for a rate of change."""


class Episode(msgspec.Struct, frozen=True):
    """A violation of the limits of one kind at one sensor, from the first reading outside the limits to the end.

    `key`, `kind` and `since` identify an episode permanently, because they stay the same if the same readings are
    evaluated again. `key` is None for an alarm of a whole storehouse.
    """

    store_house_id: Id
    key: Key | None
    kind: str
    since: float
    """Time of the first reading outside the limits; for a no-data alarm, time of the last reading."""
    limits: tuple[Limit, ...]
    """Limits of the episode's kind, the mildest first. If the rules change, an open episode gets the new limits."""
    level: int
    """Index in `limits` of the worst limit violated so far."""
    value: float | None
    """Last value of the episode."""
    peak: float | None
    """Value of the episode that was furthest beyond the limit."""
    raised: float | None = None
    """Time at which the alarm was raised; None while the episode is pending."""
    cleared: float | None = None
    """Time at which the alarm was cleared; None while it is not cleared."""

    @property
    def state(self) -> str:
        """State of the episode: pending, active or cleared."""
        if self.raised is None:
            return PENDING
        return ACTIVE if self.cleared is None else CLEARED

    @property
    def severity(self) -> Severity:
        """Severity of the worst limit that the episode has violated so far."""
        return self.limits[self.level].severity

    @property
    def limit(self) -> float:
        """Worst limit that the episode has violated so far."""
        return self.limits[self.level].limit


class Change(NamedTuple):
    """A change of an episode: its type, its time, and the episode after the change."""

    what: str
    time: float
    episode: Episode


class Reading(NamedTuple):
    """A measured value and its time. The value is None if the sensor reported a fault; a fault counts as no data.

    If two readings have the same time, the reading with the higher `rank` is newer, as in `ask.readings`.
    """

    time: float
    value: float | None
    rank: int = 0
