"""Reports whether each enabled part of this process works. This needs no database queries."""

import time
from collections.abc import Mapping

import msgspec

from alarm_service.judge_loop import JudgeLoop
from db.database import Database
from live.poller import Poller
from transport.redis_manager import LibraryRedisManager, RedisManager

POLLER_LATE_S = 10.0
"""The poller counts as failed if the database has not answered it for this many seconds plus the poll interval."""
JUDGE_LATE_S = 10.0
"""The part `judge` counts as failed if it has not reached the database for this many seconds.

The part tries to reach the database every second.
"""

REASONS = {
    "database": "the sensor database does not answer; the pages show the last known data",
    "poller": "the poller has had no answer from the database for too long; new readings do not arrive",
    "redis": "Redis does not answer; messages between processes and from other programs are dropped",
    "judge": "the judge is behind or cannot reach its tables; alarms are late",
}


class Readiness(msgspec.Struct, frozen=True):
    """The answer of /readyz. A part that the settings disable is null. `reasons` has one text for each failed part."""

    ready: bool
    database: bool
    poller_age_s: float
    """Seconds since the database last answered the poller."""
    redis: bool | None
    judge: bool | None
    """Whether this process has learned from the `state` database, within the last 10 s, which process holds the lease.

    Only the process that holds the judge's lease evaluates the alarm rules. Null if Storewatch evaluates no rules.
    """
    reasons: list[str]


class Health:
    """Reports whether each part works. `redis` and `judge_loop` are None if the settings disable these parts.

    The heartbeat, a periodic query, keeps `database.answering` up to date.
    """

    def __init__(
        self,
        database: Database,
        poller: Poller,
        redis: RedisManager | LibraryRedisManager | None,
        judge_loop: JudgeLoop | None,
    ) -> None:
        self._database = database
        self._poller = poller
        self._redis = redis
        self._judge_loop = judge_loop

    @property
    def poller_age_s(self) -> float:
        """Seconds since the database last answered the poller."""
        return time.monotonic() - self._poller.answered_at

    def parts(self) -> Mapping[str, bool]:
        """Return whether each enabled part works, keyed by the name of the part."""
        parts = {
            "database": self._database.answering,
            "poller": self.poller_age_s <= self._poller.interval_s + POLLER_LATE_S,
        }
        if self._redis is not None:
            parts["redis"] = self._redis.is_redis_reachable
        if self._judge_loop is not None:
            parts["judge"] = time.monotonic() - self._judge_loop.last_contact <= JUDGE_LATE_S
        return parts

    def readiness(self) -> Readiness:
        """Return the content of the /readyz answer."""
        parts = self.parts()
        return Readiness(
            ready=all(parts.values()),
            database=parts["database"],
            poller_age_s=round(self.poller_age_s, 3),
            redis=parts.get("redis"),
            judge=parts.get("judge"),
            reasons=[REASONS[part] for part, works in parts.items() if not works],
        )
