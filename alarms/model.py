"""Data types of the judge, which evaluates alarm rules: readings, alarm episodes and changes of episodes.

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
"""Type of a change: a cleared episode is open again, because a new violation started soon after the end."""
REFRESHED = "refreshed"
"""Type of a change: only the last value, the peak value or the limits of an episode have changed.

The alarm journal does not record such a change as a transition.
"""
DISMISSED = "dismissed"
"""Type of a change: a pending episode ends before its delay is over, so no alarm is raised."""
WITHDRAWN = "withdrawn"
"""Type of a change: a late reading shows that a raised episode was no alarm."""
ACTIVE = "active"
"""State of an episode that was raised and is not cleared."""
ACKNOWLEDGED, CLOSED = "acknowledged", "closed"
"""Types of changes by users: a user acknowledged or closed an alarm. The judge never returns these types."""


class Limit(msgspec.Struct, frozen=True):
    """A limit in force for a sensor, with its delays and hysteresis.

    Every alarm episode stores a copy of its limits.
    """

    limit: float
    severity: Severity
    delay: float = 0.0
    """Time for which readings must violate the limit before an alarm is raised, in seconds."""
    clear_delay: float = 0.0
    """Time for which readings must be back within the limit before the alarm is cleared, in seconds."""
    hysteresis: float = 0.0
    """How far inside the limit a value must be before it counts as back to normal."""
    reopen: float = 600.0
    """Time after the end of an episode, in seconds.

    If a new violation starts within this time, it reopens the episode instead of starting a new one.
    """
    within: float = 0.0
    """Only for a limit on the rate of change: a time span, in seconds.

    A change of more than `limit` within this time span is a violation.
    """


class Episode(msgspec.Struct, frozen=True):
    """A violation of one sensor's limits for one kind of alarm, from its start to its end.

    `key` identifies the sensor. It is None if the alarm is not about a single sensor. `key`, `kind` and `since`
    identify an episode permanently, because they stay the same if the same readings are evaluated again.
    """

    store_house_id: Id
    key: Key | None
    kind: str
    since: float
    """Time of the first reading outside the limits. For a no-data alarm: time of the last good reading."""
    limits: tuple[Limit, ...]
    """Limits of this kind of alarm, the mildest first. If the rules change, an open episode gets the new limits."""
    level: int
    """Index in `limits` of the worst limit that was violated so far."""
    value: float | None
    """Newest value of the episode."""
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
    """A change of an alarm episode: the type and the time of the change, and the episode after the change."""

    what: str
    time: float
    episode: Episode


class Reading(NamedTuple):
    """A measured value and its time. The value is None if the sensor reported a fault; a fault counts as no data.

    If two readings have the same time, the reading with the higher `rank` is newer.
    """

    time: float
    value: float | None
    rank: int = 0
