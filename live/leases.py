"""Releases a lease when this process stops, so that another process need not wait until the lease expires."""

import asyncio
import logging

import sqlalchemy as sa

from db.database import Database
from errors import Unavailable
from record import lease

log = logging.getLogger(__name__)

RELEASE_S = 1.0
"""Time limit for releasing a lease when the process stops, in seconds.

If the release takes longer, the process stops anyway, and the lease expires by itself.
"""


async def release(database: Database, name: str, holder: str) -> None:
    """Release the lease `name` of the process `holder`, so that another process can acquire the lease at once."""

    def release_in_transaction(connection: sa.Connection) -> None:
        with connection.begin():
            lease.release(connection, name, holder)

    try:
        async with asyncio.timeout(RELEASE_S):
            await database.run(release_in_transaction)
    except (Unavailable, TimeoutError):
        log.debug("cannot release the lease %s; it is left to expire", name)
