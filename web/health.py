"""Reports whether each enabled part of this process works. This needs no database queries."""

import time
from collections.abc import Callable, Mapping

import msgspec

from alarm_service.judge_loop import JudgeLoop
from alarm_service.recording import Recording
from alarm_service.site_alarms import SiteAlarms
from db.database import Database
from live.poller import Poller
from transport.redis_manager import LibraryRedisManager, RedisManager

POLLER_LATE_S = 10.0
"""The poller counts as failed if the database has not answered it for this many seconds plus the poll interval."""
ALARMS_LATE_S = 10.0
"""The parts `judge` and `site_alarms` count as failed if they have completed no work for this many seconds.

Each of them starts its work every second.
"""

REASONS = {
    "database": "the sensor database does not answer; the pages show the last known data",
    "poller": "the poller has had no answer from the database for too long; new readings do not arrive",
    "redis": "Redis does not answer; messages between processes and from other programs are dropped",
    "judge": "the judge is behind, fails or cannot reach its tables; alarms are late",
    "site_alarms": "the site's own alarms cannot be read or recorded; they are late",
    "recording": "alarms are not being recorded in the database `state`; the log contains the reason",
}


class Readiness(msgspec.Struct, frozen=True):
    """The answer of /readyz. A part that the settings disable is null. `reasons` has one text for each failed part."""

    ready: bool
    prepared: bool
    """Whether the server has reached and prepared its databases since its start."""
    database: bool
    poller_age_s: float
    """Seconds since the database last answered the poller."""
    redis: bool | None
    judge: bool | None
    """Whether this process, within the last 10 s, has evaluated the alarm rules or learned that another process does.

    Null if Storewatch evaluates no rules.
    """
    site_alarms: bool | None
    """Whether this process, within the last 10 s, has recorded the site's own alarms or learned that another does.

    Null if the site has no alarms of its own.
    """
    recording: bool
    """Whether alarms are being recorded in the `state` database, by this or another process."""
    reasons: list[str]


class Health:
    """Reports whether each part works.

    `redis` and `judge_loop` are None if the settings disable these parts.

    The heartbeat, a periodic query, keeps `database.answering` up to date. `unprepared` returns, for each database that
    the server has not prepared since its start, the reason as one sentence.
    """

    def __init__(
        self,
        database: Database,
        poller: Poller,
        redis: RedisManager | LibraryRedisManager | None,
        judge_loop: JudgeLoop | None,
        site_alarms: SiteAlarms,
        recording: Recording,
        unprepared: Callable[[], list[str]],
    ) -> None:
        self._database = database
        self._poller = poller
        self._redis = redis
        self._judge_loop = judge_loop
        self._site_alarms = site_alarms
        self._recording = recording
        self._unprepared = unprepared

    @property
    def poller_age_s(self) -> float:
        """Seconds since the database last answered the poller."""
        return time.monotonic() - self._poller.answered_at

    def parts(self) -> Mapping[str, bool]:
        """Return whether each enabled part works, keyed by the name of the part."""
        parts = {
            "prepared": not self._unprepared(),
            "database": self._database.answering,
            "poller": self.poller_age_s <= self._poller.interval_s + POLLER_LATE_S,
            "recording": self._recording.is_working,
        }
        if self._redis is not None:
            parts["redis"] = self._redis.is_redis_reachable
        if self._judge_loop is not None:
            parts["judge"] = time.monotonic() - self._judge_loop.completed_at <= ALARMS_LATE_S
        if self._site_alarms.is_enabled:
            parts["site_alarms"] = time.monotonic() - self._site_alarms.completed_at <= ALARMS_LATE_S
        return parts

    def readiness(self) -> Readiness:
        """Return the content of the /readyz answer."""
        parts = self.parts()
        return Readiness(
            ready=all(parts.values()),
            prepared=parts["prepared"],
            database=parts["database"],
            poller_age_s=round(self.poller_age_s, 3),
            redis=parts.get("redis"),
            judge=parts.get("judge"),
            site_alarms=parts.get("site_alarms"),
            recording=parts["recording"],
            reasons=[
                *self._unprepared(),
                *(REASONS[part] for part, works in parts.items() if not works and part in REASONS),
            ],
        )
