"""The condition of a database, which all connection pools of the database share."""

import logging
import threading
import time
from collections.abc import Callable

from db.failures import Failure

log = logging.getLogger(__name__)

QUIET_S = 10.0
"""Time without an error after which the next successful query ends an outage, in seconds.

Without this time, a database that refuses some queries and answers others would start an outage with each refusal.
"""


class Condition:
    """The condition of one database. All its connection pools report to the same object, from any thread.

    It logs the cause of an outage once, not for each query. It also knows which connections are outdated. `name` is the
    name of the database in the log, without a password. `level` is the level of the causes in the log.
    """

    def __init__(
        self, name: str, monotonic: Callable[[], float] = time.monotonic, *, level: int = logging.WARNING
    ) -> None:
        self._name = name
        self._monotonic = monotonic
        self._level = level
        self._lock = threading.Lock()
        self._logged: set[Failure] = set()
        """The kinds of errors that have been logged during this outage. Empty if there is no outage."""
        self._last_failure = 0.0
        self._renewed_at = 0.0

    def now(self) -> float:
        """Return the time with which `renew` and `is_outdated` compare, in seconds."""
        return self._monotonic()

    def failed(self, purpose: str, failure: Failure, cause: str) -> None:
        """Record that a query failed. Log the cause if it is the first failure of this kind during the outage.

        `purpose` says for what the query was needed. `cause` is the database's own error message.
        """
        with self._lock:
            self._last_failure = self._monotonic()
            is_new = failure not in self._logged
            self._logged.add(failure)
        if is_new:
            log.log(self._level, "cannot use the database %s for %s: %s", self._name, purpose, cause)

    def answered(self) -> None:
        """Record that a query succeeded. End the outage if no query has failed for `QUIET_S` seconds."""
        if not self._logged:
            return
        with self._lock:
            is_over = bool(self._logged) and self._monotonic() - self._last_failure >= QUIET_S
            if is_over:
                self._logged.clear()
        if is_over:
            log.log(min(self._level, logging.INFO), "the database %s works again", self._name)

    def renew(self, opened_at: float) -> None:
        """Mark all connections that are open now as outdated, because a connection opened at `opened_at` is outdated.

        Do nothing if that connection has already been marked.
        """
        with self._lock:
            if opened_at >= self._renewed_at:
                self._renewed_at = self._monotonic()

    def is_outdated(self, opened_at: float) -> bool:
        """Return whether a connection that was opened at `opened_at` must be replaced by a new one."""
        return opened_at < self._renewed_at
