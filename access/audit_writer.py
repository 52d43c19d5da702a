"""Writes audit entries that are not part of a change's own transaction, such as logins and refused requests."""

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
"""Seconds between two attempts to write, and between two checks of what is counted."""
MAX_PENDING = 10_000
"""Entries that may wait for the database; those after them are only counted."""
BATCH_SIZE = 100
"""Entries in one transaction: it keeps all others from writing theirs."""
COUNTED_S = 60.0
"""Seconds in which repeated entries of one address become a single one."""
MAX_COUNTED = 1_000
"""Addresses that are counted apart; all others are counted together."""
STOPPING_S = 1.0
"""Seconds that the database may take for the last entries when we stop."""

PendingEntry = tuple[Callable[[sa.Connection, Entry, datetime], object], Entry, datetime]
"""The function that writes the entry, the entry, and its time."""


@dataclass(slots=True)
class RepeatedEntry:
    """How often an entry was repeated since `since`, in seconds of the elapsed time, and the last one."""

    since: float
    last: Entry
    count: int = 0


@dataclass
class Batch:
    """Entries of one transaction, written once however often that is tried."""

    entries: Sequence[PendingEntry]
    written: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, connection: sa.Connection) -> None:
        """Write them. An earlier attempt that timed out may still be under way."""
        with self.lock:
            if self.written:
                return
            with connection.begin():
                for write, entry, when in self.entries:
                    write(connection, entry, when)
            self.written = True


class AuditWriter:
    """Writes entries into the audit table of `state`; `elapsed` returns seconds."""

    def __init__(self, state: Database, clock: Clock, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._clock = clock
        self._elapsed = elapsed
        self._pending: deque[PendingEntry] = deque()
        self._batch: Batch | None = None
        """The first of `_pending`, while they are being written."""
        self._lost = 0
        self._repeated: dict[tuple[str, str, str], RepeatedEntry] = {}
        self.counts: Counter[str] = Counter()
        """Calls of `enqueue_counted`, by action."""
        self._woken = asyncio.Event()

    def enqueue(self, entry: Entry) -> None:
        """Write an entry as soon as the database answers, after those enqueued before."""
        self._enqueue((audit.append, entry, self._clock()))

    def enqueue_if_changed(self, entry: Entry) -> None:
        """Enqueue a state; it is not written if the last entry of this action has the same one."""
        self._enqueue((audit.append_if_changed, entry, self._clock()))

    def enqueue_counted(self, entry: Entry, *, per_user: bool = False) -> None:
        """Enqueue what anybody may cause very often: the first of an address at once, the repeated ones as a number.

        With `per_user` the entries of each user (`who`) are counted apart.
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
        """Write until cancelled; then write what is left."""
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
        """Write all pending entries, in order; raises `Unavailable`."""
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
        """Enqueue the numbers of entries that have been counted for at least `min_age_s` seconds."""
        now = self._elapsed()
        for key, repeated in list(self._repeated.items()):
            if now - repeated.since < min_age_s:
                continue
            del self._repeated[key]
            if repeated.count:
                self._repeated[key] = RepeatedEntry(now, repeated.last)
                after = {"count": repeated.count, "last": repeated.last.after}
                self.enqueue(replace(repeated.last, before=None, after=after))
