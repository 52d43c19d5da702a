"""The heartbeat: detects within 2 s that the database does not answer, whatever the poller's interval is."""

import logging
from collections.abc import Awaitable, Callable, Sequence

import sqlalchemy as sa

from common.periodic import run_periodically
from db.database import Database
from db.dialects import dialect_of
from errors import Unavailable

log = logging.getLogger(__name__)

PAUSE_S = 0.4
"""Between two beats; with the beat's own limit of 1.1 s, a loss is known after 1.5 s."""


class Heartbeat:
    """Pings the database periodically, over a connection of its own.

    It sets `answering` of the `databases` that others ask, and awaits `changed` with the new state.
    """

    def __init__(
        self, pulse: Database, databases: Sequence[Database], changed: Callable[[bool], Awaitable[None]]
    ) -> None:
        self._pulse = pulse
        self._databases = databases
        self._changed = changed
        self._answering = True

    async def run(self) -> None:
        """Ping until cancelled."""
        await run_periodically(self._beat, PAUSE_S, log=log, purpose="watch the database")

    async def _beat(self) -> None:
        answering = await self._is_answering()
        if answering != self._answering:
            await self._change(answering)

    async def _is_answering(self) -> bool:
        try:
            await self._pulse.run(_ping)
        except Unavailable:
            return False
        except Exception:
            log.exception("the heartbeat failed")
            return False
        return True

    async def _change(self, answering: bool) -> None:
        log.log(
            logging.INFO if answering else logging.ERROR, "the database %s", "answers again" if answering else "is lost"
        )
        self._answering = answering
        for database in self._databases:
            database.answering = answering
        try:
            await self._changed(answering)
        except Exception:
            log.exception("what follows a change of the heartbeat failed")


def _ping(connection: sa.Connection) -> None:
    connection.execute(sa.text(dialect_of(connection).ping)).all()
