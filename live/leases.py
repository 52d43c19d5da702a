"""Letting go of what only one process may do at a time."""

import asyncio
import logging

import sqlalchemy as sa

from db.database import Database
from errors import Unavailable
from record import lease

log = logging.getLogger("live")

RELEASE_S = 1.0
"""How long the database may take to let go of a lease when we stop: by itself it runs out soon after."""


async def release(database: Database, name: str, holder: str) -> None:
    """Let another process go on at once."""

    def let_go(connection: sa.Connection) -> None:
        with connection.begin():
            lease.release(connection, name, holder)

    try:
        async with asyncio.timeout(RELEASE_S):
            await database.run(let_go)
    except (Unavailable, TimeoutError):
        log.debug("the lease %s runs out by itself", name)
