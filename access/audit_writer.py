"""The audit trail's entries that come without a change of their own: who came in, and who was not let in."""

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

import sqlalchemy as sa

from access.throttle import holder
from common.clock import Clock
from db.database import Database
from errors import Unavailable
from logger import errors_logged
from record import audit
from record.audit import Entry

log = logging.getLogger("live")

LOOK_S = 1.0
"""Between two attempts to write, and between two looks at what is counted."""
MOST_WAITING = 10_000
"""Entries that wait for the database; what comes then is only counted."""
MOST_AT_ONCE = 100
"""Entries in one transaction: it keeps all others from writing theirs."""
COUNTED_S = 60.0
"""Seconds in which what comes again and again from one address becomes a single entry."""
MOST_ADDRESSES = 1_000
"""Addresses that are counted apart; all others are counted together."""
STOPPING_S = 1.0
"""How long the database may take for the last entries when we stop."""

Noted = tuple[Callable[[sa.Connection, Entry, datetime], object], Entry, datetime]
"""What writes it, the entry, and its time."""


@dataclass(slots=True)
class Counted:
    """How often something came again since `since`, in seconds of the elapsed time, and its last entry."""

    since: float
    last: Entry
    count: int = 0


@dataclass
class Portion:
    """Entries to be written together, once, however often that is tried."""

    noted: Sequence[Noted]
    written: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, connection: sa.Connection) -> None:
        """Write them down. An attempt that nobody waits for any more may still be under way."""
        with self.lock:
            if self.written:
                return
            with connection.begin():
                for write, entry, when in self.noted:
                    write(connection, entry, when)
            self.written = True


class AuditWriter:
    """Writes entries into the trail in `state`; `elapsed` tells seconds."""

    def __init__(self, state: Database, clock: Clock, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._clock = clock
        self._elapsed = elapsed
        self._waiting: deque[Noted] = deque()
        self._portion: Portion | None = None
        """The first of `_waiting`, while they are being written."""
        self._lost = 0
        self._counted: dict[tuple[str, str, str], Counted] = {}
        self.counts: Counter[str] = Counter()
        """How often it was, of what is counted, by action."""
        self._woken = asyncio.Event()

    async def write(self, entry: Entry) -> None:
        """Write an entry down now; raises `Unavailable`."""
        await self._state.run(Portion([(audit.append, entry, self._clock())]).write)

    def note(self, entry: Entry) -> None:
        """Have an entry written down as soon as the database answers, after those noted before."""
        self._take((audit.append, entry, self._clock()))

    def note_news(self, entry: Entry) -> None:
        """Note how something is now; nothing is written where the last entry of this action says just that."""
        self._take((audit.append_news, entry, self._clock()))

    def count(self, entry: Entry, *, known: bool = False) -> None:
        """Note what anybody may do very often: the first from an address at once, those that follow as a number.

        Where it is `known` who that is, each person's are counted apart.
        """
        self.counts[entry.action] += 1
        key = entry.action, holder(entry.address), entry.who if known else ""
        if key not in self._counted and len(self._counted) >= MOST_ADDRESSES:
            entry = replace(entry, who="", address="", subject="")
            key = entry.action, "", ""
        counted = self._counted.get(key)
        if counted is None:
            self._counted[key] = Counted(self._elapsed(), entry)
            self.note(entry)
        else:
            counted.count += 1
            counted.last = entry

    def _take(self, noted: Noted) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._lost += 1
            return
        self._waiting.append(noted)
        self._woken.set()

    async def run(self) -> None:
        """Write until cancelled; then what is left."""
        try:
            while True:
                self._end_counts(COUNTED_S)
                with errors_logged(log, "write the audit trail"):
                    await self._write_all()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._woken.wait()
                self._woken.clear()
        finally:
            await self._finish()

    async def _finish(self) -> None:
        self._end_counts(0.0)
        try:
            async with asyncio.timeout(STOPPING_S):
                await self._write_all()
        except (Unavailable, TimeoutError):
            log.error("%d entries of the audit trail are lost: the database does not answer", len(self._waiting))

    async def _write_all(self) -> None:
        """Write down what waits, in order; raises `Unavailable`."""
        while self._waiting:
            if self._portion is None:
                self._portion = Portion(list(self._waiting)[:MOST_AT_ONCE])
            await self._state.run(self._portion.write)
            for _ in self._portion.noted:
                self._waiting.popleft()
            self._portion = None
            if self._lost:
                lost, self._lost = self._lost, 0
                self.note(Entry("lost", "", "", after={"count": lost}))

    def _end_counts(self, seconds: float) -> None:
        """Note how often it was of what has been counted for so long."""
        now = self._elapsed()
        for key, counted in list(self._counted.items()):
            if now - counted.since < seconds:
                continue
            del self._counted[key]
            if counted.count:
                self._counted[key] = Counted(now, counted.last)
                self.note(
                    replace(counted.last, before=None, after={"count": counted.count, "last": counted.last.after})
                )
