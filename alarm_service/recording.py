"""Finds out in every process whether alarms are being recorded in the database `state`.

The process that holds the lease for writing alarms renews a mark in the database every second, unless its last attempt
to write alarms has failed. Every process watches this mark. If the mark does not change, alarms are not being recorded,
whatever the cause: the database cannot be reached or written, or no process holds the lease.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sa

from common.periodic import run_periodically
from db import tables
from db.database import Database, reason
from record import lease

log = logging.getLogger(__name__)

MARK = "alarms recorded"
"""Name of the row in the table `lease` whose column `done` is the mark."""
WATCH_S = 1.0
"""Time between two attempts to renew and read the mark, in seconds."""
CHECK_S = 0.25
"""Time between two checks whether the mark is too old, in seconds.

An attempt may hang for longer than this time.
"""
LONGEST_STEP_S = 1.0
"""Maximum time that one check adds to the time without a new mark, in seconds.

After a pause of the whole process, the process must try again before it reports anything.
"""
LIMIT_S = 6.0
"""Alarms count as unrecorded if attempts have found no new mark for this time, in seconds.

It is longer than a takeover of the lease, which takes up to 5 s.
"""


class Recording:
    """Knows whether alarms are being recorded.

    `lease_name` is the name of the lease for writing alarms, and `holder` is the name of this process. `changed` is
    awaited with the new value whenever `is_working` has changed.
    """

    def __init__(
        self, state: Database, lease_name: str, holder: str, changed: Callable[[bool], Awaitable[None]]
    ) -> None:
        self.is_working = True
        """Whether alarms are being recorded. True until the opposite is known."""
        self._state = state
        self._lease_name = lease_name
        self._holder = holder
        self._changed = changed
        self._failing: dict[str, Exception] = {}
        """The error of each kind of work in this process whose last attempt to write has failed."""
        self._mark: datetime | None = None
        self._is_missing = False
        """Whether an attempt to find a new mark has begun and no attempt has found one since."""
        self._missing_s = 0.0
        """Time for which `_is_missing` has been true, in seconds."""
        self._checked = time.monotonic()
        """Time of the last check, on the monotonic clock."""
        self._last_error: Exception | None = None

    @contextmanager
    def attempt(self, work: str) -> Iterator[None]:
        """Record whether the block, which writes alarms to the database, raises an exception.

        `work` names the kind of work. While its last attempt has failed, this process does not renew the mark.
        """
        try:
            yield
        except Exception as error:
            self._failing[work] = self._last_error = error
            raise
        self._failing.pop(work, None)

    def forget(self, work: str) -> None:
        """Ignore the last attempt of this kind of work, because another process does the work now."""
        self._failing.pop(work, None)

    async def run(self) -> None:
        """Renew and watch the mark until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_periodically(self.watch, WATCH_S, log=log, purpose="watch the recording of alarms"))
            tasks.create_task(run_periodically(self.check, CHECK_S, log=log, purpose="report the recording of alarms"))

    async def watch(self) -> None:
        """Renew the mark if this process holds the lease and can write. Then read the mark."""
        self._is_missing = True
        renew = not self._failing
        try:
            mark = await self._state.run(lambda connection: self._renew_and_read(connection, renew=renew))
        except Exception as error:
            self._last_error = error
            raise
        if mark != self._mark:
            self._mark, self._is_missing = mark, False
            if not self._failing:
                self._last_error = None

    async def check(self) -> None:
        """Update `is_working`. After a change, log it and await `changed`."""
        now = time.monotonic()
        step_s = min(now - self._checked, LONGEST_STEP_S)
        self._checked = now
        self._missing_s = self._missing_s + step_s if self._is_missing else 0.0
        is_working = self._missing_s <= LIMIT_S
        if is_working == self.is_working:
            return
        self.is_working = is_working
        if is_working:
            log.warning("alarms are recorded again")
        else:
            log.error(
                "alarms are not being recorded: %s; the server retries until the database `state` can be written",
                _words(self._last_error),
            )
        await self._changed(is_working)

    def _renew_and_read(self, connection: sa.Connection, *, renew: bool) -> datetime | None:
        with connection.begin():
            held = lease.acquire(connection, self._lease_name, self._holder)
            if held is not None and renew:
                lease.lock(connection, MARK)
                lease.set_done(connection, MARK, held.now)
            mark: datetime | None = connection.scalar(
                sa.select(tables.lease.c.done).where(tables.lease.c.lease_name == MARK)
            )
            return mark


def _words(error: Exception | None) -> str:
    """Return the database's own words for the error, if there are any."""
    if error is None:
        return "no process records them"
    return reason(error.__cause__) if isinstance(error.__cause__, sa.exc.DBAPIError) else str(error)
