"""Whether this process does all that its settings ask for: each part is asked for what it knows already."""

import time
from collections.abc import Mapping

import msgspec

from alarm_service.judge_loop import JudgeLoop
from db.database import Database
from live.poller import Poller
from transport.redis_manager import LibraryRedisManager, RedisManager

POLLER_LATE_S = 10.0
"""Besides the poll interval: so long may a tick take."""
JUDGE_LATE_S = 10.0
"""It looks each second."""

REASONS = {
    "database": "the database does not answer: what the pages show is the last that was known",
    "poller": "the poller has had no answer for too long: new readings do not arrive",
    "redis": "Redis does not answer: what other programs send is dropped",
    "judge": "the judge is behind, or cannot reach its tables: alarms are late",
}


class Readiness(msgspec.Struct, frozen=True):
    """How the parts do; null where the settings ask for none. `reasons` say what is wrong."""

    ready: bool
    database: bool
    poller_age_s: float
    """Seconds since the database last answered the poller."""
    redis: bool | None
    judge: bool | None
    """The judge, here or in another process, is known to be about its work."""
    reasons: list[str]


class Health:
    """Knows how the parts do. `database` is one that the heartbeat speaks for; there may be no Redis and no judge."""

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
        return time.monotonic() - self._poller.answered

    def parts(self) -> Mapping[str, bool]:
        """Return whether each part that there is does what it should."""
        found = {
            "database": self._database.answering,
            "poller": self.poller_age_s <= self._poller.interval_s + POLLER_LATE_S,
        }
        if self._redis is not None:
            found["redis"] = self._redis.is_there
        if self._judge_loop is not None:
            found["judge"] = time.monotonic() - self._judge_loop.looked <= JUDGE_LATE_S
        return found

    def readiness(self) -> Readiness:
        """Return how the parts do."""
        parts = self.parts()
        return Readiness(
            ready=all(parts.values()),
            database=parts["database"],
            poller_age_s=round(self.poller_age_s, 3),
            redis=parts.get("redis"),
            judge=parts.get("judge"),
            reasons=[REASONS[part] for part, is_well in parts.items() if not is_well],
        )
