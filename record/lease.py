"""Leases: what only one process may do at a time, and who may.

The database's clock decides, so that no two processes disagree about the time. `hold` locks the lease until the
caller's transaction ends: whatever else it writes, it writes as the only holder.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from common import clock
from db import tables

LASTS = timedelta(seconds=3.5)
"""How long a holder that has gone silent is waited for. Whoever asks each second takes over within 5 s."""
LONGEST = timedelta(minutes=1)
"""No lease is to last longer."""


@dataclass(frozen=True)
class Held:
    """A lease that is ours until the transaction ends, and `LASTS` longer. Times are the database's."""

    now: datetime
    begun: datetime
    """When anybody first held it."""
    done: datetime
    """Up to when the last holder had done its work."""
    term: int
    """Counts the changes of holder: where it is not what it was, what we knew of the work may be out of date."""


def hold(connection: sa.Connection, name: str, holder: str, lasts: timedelta = LASTS) -> Held | None:
    """Take the lease, or keep it; None while another holds it."""
    lease = tables.lease
    now = _now(connection)
    row = _lock(connection, name, now)
    # What expires later than any lease may was taken before the clock was set back.
    if row.holder != holder and now < row.expires <= now + LONGEST:
        return None
    term = row.term + (row.holder != holder)
    changed = sa.update(lease).where(lease.c.lease_name == name)
    connection.execute(changed.values(holder=holder, expires=now + lasts, term=term))
    return Held(now, row.begun, row.done, term)


def lock(connection: sa.Connection, name: str) -> datetime:
    """Keep the lease's holder, whoever it is, from writing until the transaction ends; return the database's time."""
    now = _now(connection)
    _lock(connection, name, now)
    return now


def done(connection: sa.Connection, name: str, until: datetime) -> None:
    """Write down that the work of the lease is done up to this time."""
    connection.execute(sa.update(tables.lease).where(tables.lease.c.lease_name == name).values(done=until))


def release(connection: sa.Connection, name: str, holder: str) -> None:
    """Let another take the lease at once."""
    lease = tables.lease
    mine = sa.update(lease).where(lease.c.lease_name == name, lease.c.holder == holder)
    connection.execute(mine.values(expires=lease.c.begun))


def _lock(connection: sa.Connection, name: str, now: datetime) -> sa.Row[Any]:
    # Before anything else is read: MySQL shows a transaction the state of things at its first unlocked reading, which
    # would be that before the wait for the lock.
    lease = tables.lease
    connection.execute(_made(connection, name, now))
    return connection.execute(sa.select(lease).where(lease.c.lease_name == name).with_for_update()).one()


def _made(connection: sa.Connection, name: str, now: datetime) -> sa.Insert:
    """Return what makes the lease where there is none yet, and else locks it."""
    # Not after a look: two who have both locked that it is not there wait for each other to make it.
    values = {"lease_name": name, "holder": "", "expires": now - LASTS, "begun": now, "done": now}
    if connection.dialect.name == "mysql":
        return mysql.insert(tables.lease).values(values).on_duplicate_key_update(lease_name=name)
    return tables.lease.insert().prefix_with("OR IGNORE").values(values)


def _now(connection: sa.Connection) -> datetime:
    if connection.dialect.name == "sqlite":
        return clock.now()  # one machine, one clock
    found: datetime = connection.execute(sa.select(sa.func.utc_timestamp(3, type_=mysql.DATETIME(fsp=3)))).scalar_one()
    return found.replace(tzinfo=UTC)
