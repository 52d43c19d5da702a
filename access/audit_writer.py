"""Writes audit entries that do not belong to the transaction of a change, such as logins and refused requests."""

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
"""Seconds between two attempts to write audit entries. At the same interval, the counters are checked."""
MAX_PENDING = 10_000
"""Maximum number of audit entries that wait for the database. Further entries are only counted."""
BATCH_SIZE = 100
"""Maximum number of audit entries in one transaction. The transaction blocks all other writers of the audit trail."""
COUNTED_S = 60.0
"""Time in seconds during which repeated audit entries from one address are merged into one."""
MAX_COUNTED = 1_000
"""Maximum number of counters of repeated entries. Beyond it, entries share one counter for each action."""
STOPPING_S = 1.0
"""Time limit for writing the last audit entries at shutdown, in seconds."""

PendingEntry = tuple[Callable[[sa.Connection, Entry, datetime], object], Entry, datetime]
"""An entry that waits for the database: the function that writes it, the entry itself, and its time."""


@dataclass(slots=True)
class RepeatedEntry:
    """Counts a repeated entry. `since` is when counting started, in elapsed seconds. `last` is the latest entry."""

    since: float
    last: Entry
    count: int = 0


@dataclass
class Batch:
    """Audit entries that are written in one transaction. They are written once, even after several attempts."""

    entries: Sequence[PendingEntry]
    written: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, connection: sa.Connection) -> None:
        """Write the entries, unless an earlier attempt has written them. A timed-out attempt may still be running."""
        with self.lock:
            if self.written:
                return
            with connection.begin():
                for write, entry, when in self.entries:
                    write(connection, entry, when)
            self.written = True


class AuditWriter:
    """Writes entries to the audit table in the database `state`. `elapsed` is a monotonic clock, in seconds."""

    def __init__(self, state: Database, clock: Clock, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._clock = clock
        self._elapsed = elapsed
        self._pending: deque[PendingEntry] = deque()
        self._batch: Batch | None = None
        """The first entries of `_pending`, while they are being written."""
        self._lost = 0
        self._repeated: dict[tuple[str, str, str], RepeatedEntry] = {}
        self.counts: Counter[str] = Counter()
        """Number of calls of `enqueue_counted`, keyed by the action of the entry."""
        self._woken = asyncio.Event()

    def enqueue(self, entry: Entry) -> None:
        """Write an entry as soon as the database answers, after the entries enqueued before it."""
        self._enqueue((audit.append, entry, self._clock()))

    def enqueue_if_changed(self, entry: Entry) -> None:
        """Enqueue an entry that records a state. Skip it if the last entry with its action records the same state."""
        self._enqueue((audit.append_if_changed, entry, self._clock()))

    def enqueue_counted(self, entry: Entry, *, per_user: bool = False) -> None:
        """Enqueue an entry of a kind that any client can cause very often.

        The first entry of each kind from an address is written at once. Repeated entries are counted and written as
        one. If `per_user` is set, the entries of each user (`who`) are counted separately.
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
        """Write entries until cancelled. Then write the remaining ones."""
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
        """Write all pending entries, in order. Raise `Unavailable` if the database does not answer."""
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
        """Enqueue an entry with the count of each counter that is at least `min_age_s` seconds old."""
        now = self._elapsed()
        for key, repeated in list(self._repeated.items()):
            if now - repeated.since < min_age_s:
                continue
            del self._repeated[key]
            if repeated.count:
                self._repeated[key] = RepeatedEntry(now, repeated.last)
                after = {"count": repeated.count, "last": repeated.last.after}
                self.enqueue(replace(repeated.last, before=None, after=after))
