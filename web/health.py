"""Health of this process: whether each part that the settings ask for works. Nothing is queried for it."""

import time
from collections.abc import Mapping

import msgspec

from alarm_service.judge_loop import JudgeLoop
from db.database import Database
from live.poller import Poller
from transport.redis_manager import LibraryRedisManager, RedisManager

POLLER_LATE_S = 10.0
"""Seconds that a tick may take, besides the poll interval."""
JUDGE_LATE_S = 10.0
"""Seconds since the judge last reached the database; it does each second."""

REASONS = {
    "database": "the database does not answer: what the pages show is the last that was known",
    "poller": "the poller has had no answer for too long: new readings do not arrive",
    "redis": "Redis does not answer: what other programs send is dropped",
    "judge": "the judge is behind, or cannot reach its tables: alarms are late",
}


class Readiness(msgspec.Struct, frozen=True):
    """Whether each part works, null if the settings ask for none. `reasons` explain what does not."""

    ready: bool
    database: bool
    poller_age_s: float
    """Seconds since the database last answered the poller."""
    redis: bool | None
    judge: bool | None
    """Whether the judge, in this or another process, is known to be working."""
    reasons: list[str]


class Health:
    """Reports whether the parts work. The heartbeat must check `database`; Redis and judge may be absent."""

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
        """Return whether each part works, of those that there are."""
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
        """Return the answer of /readyz."""
        parts = self.parts()
        return Readiness(
            ready=all(parts.values()),
            database=parts["database"],
            poller_age_s=round(self.poller_age_s, 3),
            redis=parts.get("redis"),
            judge=parts.get("judge"),
            reasons=[REASONS[part] for part, works in parts.items() if not works],
        )
