"""The heartbeat: whether the database answers, known within 2 s whatever the poller's interval is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import sqlalchemy as sa

from db.database import Database
from errors import Unavailable

log = logging.getLogger("live")

PAUSE_S = 0.4
"""Between two beats; with the beat's own limit of 1.1 s, a loss is known after 1.5 s."""


class Heartbeat:
    """Asks the database for nothing, again and again, over a connection of its own.

    It sets `answering` of the `databases` that others ask, and awaits `changed` with what it is now.
    """

    def __init__(
        self, pulse: Database, databases: Sequence[Database], changed: Callable[[bool], Awaitable[None]]
    ) -> None:
        self._pulse = pulse
        self._databases = databases
        self._changed = changed
        self._answering = True

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            answering = await self._beat()
            if answering != self._answering:
                await self._turn(answering)
            await asyncio.sleep(PAUSE_S)

    async def _beat(self) -> bool:
        try:
            await self._pulse.run(_ask)
        except Unavailable:
            return False
        except Exception:
            log.exception("the heartbeat failed")
            return False
        return True

    async def _turn(self, answering: bool) -> None:
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


def _ask(connection: sa.Connection) -> None:
    # SQLite answers a bare SELECT 1 without a look at its file, though that be locked or gone.
    nothing = "SELECT 1 FROM sqlite_master LIMIT 1" if connection.dialect.name == "sqlite" else "SELECT 1"
    connection.execute(sa.text(nothing)).all()
