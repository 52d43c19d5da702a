"""What the judge is told and what it says. Times are seconds since 1970, UTC; spans are seconds."""

from typing import NamedTuple

import msgspec

from ask.answers import Id
from ask.readings import Key

HIGH, LOW, RATE, NO_DATA, SWITCH = "high", "low", "rate", "no_data", "switch"
KINDS = (HIGH, LOW, RATE, SWITCH, NO_DATA)
SEVERITIES = ("info", "warning", "critical")
"""From the least to the worst."""

PENDING, RAISED, WORSENED, CLEARED = "pending", "raised", "worsened", "cleared"
REOPENED = "reopened"
"""Its breach returned soon after it was cleared."""
REFRESHED = "refreshed"
"""Nothing has happened but that its last value or its peak moved on; no transition for the journal."""
DISMISSED = "dismissed"
"""It was pending, and went back to normal before its delay was over."""
WITHDRAWN = "withdrawn"
"""A late reading has shown that it never was."""
ACTIVE = "active"
"""The state of an episode that was raised and is not over."""
ACKNOWLEDGED, CLOSED = "acknowledged", "closed"
"""What people do; the judge never says these."""


class Limit(msgspec.Struct, frozen=True):
    """One limit in force, with its terms, as it is copied into each episode."""

    limit: float
    severity: str
    delay: float = 0.0
    """How long readings must stay out of the limit before it is an alarm."""
    clear_delay: float = 0.0
    """How long they must be back before it is over."""
    hysteresis: float = 0.0
    """How far back inside the limit they must be to count as back."""
    reopen: float = 600.0
    """A breach that returns so soon after the end goes on with its episode."""
    within: float = 0.0
    """Of a rate: the span in which a change of `limit` is too much."""


class Episode(msgspec.Struct, frozen=True):
    """A breach of one kind at one sensor, from its first reading out of limits to its end.

    `key`, `kind` and `since` identify it for good: judging the same readings again gives the same three. `key` is
    None for an alarm of the whole storehouse.
    """

    store_house_id: Id
    key: Key | None
    kind: str
    since: float
    """The time of the first reading out of limits; of silence, that of the last reading."""
    limits: tuple[Limit, ...]
    """Those of this kind in force when it began, the mildest first."""
    level: int
    """Which of `limits` is broken; the worst so far."""
    value: float | None
    """The last one."""
    peak: float | None
    """The one furthest out."""
    raised: float | None = None
    """None while it is pending."""
    cleared: float | None = None

    @property
    def state(self) -> str:
        """As of an alarm: pending, active or cleared."""
        if self.raised is None:
            return PENDING
        return ACTIVE if self.cleared is None else CLEARED

    @property
    def severity(self) -> str:
        """That of the worst limit broken so far."""
        return self.limits[self.level].severity

    @property
    def limit(self) -> float:
        """The worst limit broken so far."""
        return self.limits[self.level].limit


class Change(NamedTuple):
    """What has happened to an episode, at which time, and the episode as it is since."""

    what: str
    time: float
    episode: Episode


class Reading(NamedTuple):
    """A measured value at a time; None: the sensor reported a fault, which is no data.

    Of two with the same time the one of the higher `rank` is the newer, as in `ask.readings`.
    """

    time: float
    value: float | None
    rank: int = 0
