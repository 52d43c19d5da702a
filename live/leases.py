"""Releases a lease when this process stops, so that another process need not wait until it runs out."""

import asyncio
import logging

import sqlalchemy as sa

from db.database import Database
from errors import Unavailable
from record import lease

log = logging.getLogger(__name__)

RELEASE_S = 1.0
"""How long the database may take to release a lease when we stop: without that it runs out soon after."""


async def release(database: Database, name: str, holder: str) -> None:
    """Release the lease, so that another process can acquire it at once."""

    def release_in_transaction(connection: sa.Connection) -> None:
        with connection.begin():
            lease.release(connection, name, holder)

    try:
        async with asyncio.timeout(RELEASE_S):
            await database.run(release_in_transaction)
    except (Unavailable, TimeoutError):
        log.debug("the lease %s runs out by itself", name)
