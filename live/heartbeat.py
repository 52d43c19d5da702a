"""The heartbeat: detects within 2 s that the database does not answer, independently of the poller's interval."""

import logging
from collections.abc import Awaitable, Callable, Sequence

import sqlalchemy as sa

from common.periodic import run_periodically
from db.database import Database
from db.dialects import dialect_of
from errors import Unavailable
from live.database_clock import DatabaseClock

log = logging.getLogger(__name__)

PAUSE_S = 0.4
"""Pause between two pings of the database, in seconds.

A ping times out after 1.1 s. The heartbeat therefore notices within 1.5 s that the database does not answer.
"""


class Heartbeat:
    """Pings the database periodically over a separate connection, `pulse`.

    When the database stops answering or answers again, the heartbeat sets the attribute `answering` of each object in
    `databases`. Then it awaits `changed` with the new value. Each ping also reads `database_clock`.
    """

    def __init__(
        self,
        pulse: Database,
        databases: Sequence[Database],
        changed: Callable[[bool], Awaitable[None]],
        database_clock: DatabaseClock,
    ) -> None:
        self._pulse = pulse
        self._database_clock = database_clock
        self._databases = databases
        self._changed = changed
        self._answering = True

    async def run(self) -> None:
        """Ping the database until cancelled."""
        await run_periodically(self._beat, PAUSE_S, log=log, purpose="watch the database")

    async def _beat(self) -> None:
        answering = await self._is_answering()
        if answering != self._answering:
            await self._change(answering)

    async def _is_answering(self) -> bool:
        try:
            await self._pulse.run(self._ping)
        except Unavailable:
            return False
        except Exception:
            log.exception("the heartbeat failed; the database is treated as if it did not answer")
            return False
        return True

    async def _change(self, answering: bool) -> None:
        if answering:
            log.info("the database answers again")
        else:
            log.error("the server has lost its connection to the database; it retries until the database answers")
        self._answering = answering
        for database in self._databases:
            database.answering = answering
        try:
            await self._changed(answering)
        except Exception:
            log.exception("cannot pass on that the database stopped answering or answers again")

    def _ping(self, connection: sa.Connection) -> None:
        if not self._database_clock.read(connection):
            connection.execute(sa.text(dialect_of(connection).ping)).all()
