"""Writes audit entries of actions that have no database transaction, such as logins and refused requests."""

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import sqlalchemy as sa

from common.clock import Clock
from common.periodic import run_periodically
from db.database import Database
from errors import Unavailable
from record import audit
from record.audit import Entry
from transport.rate_limit import address_block

log = logging.getLogger(__name__)

WRITE_INTERVAL_S = 1.0
"""Time until the next attempt to write audit entries, in seconds. A new entry starts an attempt at once.

Each attempt also writes the counts of repeated entries that are due.
"""
MAX_PENDING = 10_000
"""Maximum number of audit entries that wait for the database.

Further entries are dropped. Their number is written later, in an entry of its own.
"""
BATCH_SIZE = 100
"""Maximum number of audit entries in one transaction. The transaction blocks all other writers of the audit trail."""
COUNTED_S = 60.0
"""Repeated audit entries from one address are counted for this number of seconds, and then written as one entry."""
MAX_COUNTED = 1_000
"""Maximum number of counters for repeated audit entries.

Each counter is for one action and one client (address or user). If the maximum is reached, further clients share one
counter for each action.
"""
STOPPING_S = 1.0
"""Time limit for writing the last audit entries at shutdown, in seconds."""

PendingEntry = tuple[Callable[[sa.Connection, Entry, datetime], object], Entry, datetime]
"""An audit entry that waits for the database: the function that writes the entry, the entry, and the entry's time."""


@dataclass(slots=True)
class RepeatedEntry:
    """The number of repeated audit entries with the same action and the same client address.

    `since` is the time at which counting started, in seconds on a monotonic clock. `last` is the newest of the entries.
    """

    since: float
    last: Entry
    count: int = 0


@dataclass
class Batch:
    """Audit entries that are written in one transaction.

    They are written only once, even if several attempts are necessary.
    """

    entries: Sequence[PendingEntry]
    written: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, connection: sa.Connection) -> None:
        """Write the entries, unless an earlier call has written them.

        An earlier call that has timed out may still be running in another thread. In this case, wait for it first.
        """
        with self.lock:
            if self.written:
                return
            with connection.begin():
                for write, entry, when in self.entries:
                    write(connection, entry, when)
            self.written = True


class AuditWriter:
    """Writes entries to the audit table in the database `state`.

    `elapsed` returns the time of a monotonic clock in seconds.
    """

    def __init__(self, state: Database, clock: Clock, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._clock = clock
        self._elapsed = elapsed
        self._pending: deque[PendingEntry] = deque()
        self._batch: Batch | None = None
        """The first entries of `_pending`, while the writer tries to write them. None at other times."""
        self._lost = 0
        self._repeated: dict[tuple[str, str, str], RepeatedEntry] = {}
        self.counts: Counter[str] = Counter()
        """Number of calls of `enqueue_counted` for each action, such as `login_refused`."""
        self._woken = asyncio.Event()

    def enqueue(self, entry: Entry) -> None:
        """Enqueue an audit entry. Entries are written in the order of these calls, as soon as the database answers."""
        self._enqueue((audit.append, entry, self._clock()))

    def enqueue_if_changed(self, entry: Entry) -> None:
        """Enqueue an audit entry that records a new state in `after`.

        The entry is not written if the newest written entry with the same action has the same state in `after`.
        """
        self._enqueue((audit.append_if_changed, entry, self._clock()))

    def enqueue_counted(self, entry: Entry, *, per_user: bool = False) -> None:
        """Enqueue an audit entry with an action that any client can cause very often.

        The first entry with this action from a client address is enqueued at once. Later entries with this action from
        the same address are counted, and their number is written as one entry. If `per_user` is set, the entries of
        each user (`who`) are counted separately.
        """
        self.counts[entry.action] += 1
        key = entry.action, address_block(entry.address), entry.who if per_user else ""
        if key not in self._repeated and len(self._repeated) >= MAX_COUNTED:
            entry = replace(entry, who="", address="", subject="")
            key = entry.action, "", ""
        repeated = self._repeated.get(key)
        if repeated is None:
            self._repeated[key] = RepeatedEntry(self._elapsed(), entry)
            self.enqueue(entry)
        else:
            repeated.count += 1
            repeated.last = entry

    def _enqueue(self, pending: PendingEntry) -> None:
        if len(self._pending) >= MAX_PENDING:
            self._lost += 1
            return
        self._pending.append(pending)
        self._woken.set()

    async def run(self) -> None:
        """Write audit entries until cancelled. When cancelled, write the entries that still wait."""
        try:
            await run_periodically(
                self._write_due, WRITE_INTERVAL_S, log=log, purpose="write the audit trail", wake=self._woken
            )
        finally:
            await self._finish()

    async def _finish(self) -> None:
        self._enqueue_counts(0.0)
        try:
            async with asyncio.timeout(STOPPING_S):
                await self._write_all()
        except (Unavailable, TimeoutError):
            log.error("%d entries of the audit trail are lost: the database does not answer", len(self._pending))

    async def _write_due(self) -> None:
        self._enqueue_counts(COUNTED_S)
        await self._write_all()

    async def _write_all(self) -> None:
        """Write all waiting audit entries, in order. Raise `Unavailable` if the database does not answer."""
        while self._pending:
            if self._batch is None:
                self._batch = Batch(list(self._pending)[:BATCH_SIZE])
            await self._state.run(self._batch.write)
            for _ in self._batch.entries:
                self._pending.popleft()
            self._batch = None
            if self._lost:
                lost, self._lost = self._lost, 0
                self.enqueue(Entry("lost", "", "", after={"count": lost}))

    def _enqueue_counts(self, min_age_s: float) -> None:
        """For each counter that is at least `min_age_s` seconds old, enqueue an audit entry with the count.

        Each counter counts the repeated audit entries with one action from one client. A count of 0 is not enqueued.
        """
        now = self._elapsed()
        for key, repeated in list(self._repeated.items()):
            if now - repeated.since < min_age_s:
                continue
            del self._repeated[key]
            if repeated.count:
                self._repeated[key] = RepeatedEntry(now, repeated.last)
                after = {"count": repeated.count, "last": repeated.last.after}
                self.enqueue(replace(repeated.last, before=None, after=after))
