"""Leases: which process may do the work that only one process may do at a time.

The database's clock decides, so that no two processes disagree about the time. `acquire` locks the lease until the
caller's transaction ends: whatever else the transaction writes, it writes as the only holder.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from db import tables
from db.dialects import dialect_of

DURATION = timedelta(seconds=3.5)
"""After this time without renewal the lease is free: a process that tries each second takes over within 5 s."""
LONGEST = timedelta(minutes=1)
"""The longest duration of any lease."""


@dataclass(frozen=True)
class HeldLease:
    """A lease that is ours until the transaction ends, and for its duration after that. Times are the database's."""

    now: datetime
    begun: datetime
    """When the lease was first held."""
    done: datetime
    """The time up to which the last holder had done its work."""
    term: int
    """Counts the changes of holder: in another term, what we knew of the work may be out of date."""


def acquire(connection: sa.Connection, name: str, holder: str, duration: timedelta = DURATION) -> HeldLease | None:
    """Acquire or renew the lease; return None while another process holds it."""
    lease = tables.lease
    now = dialect_of(connection).server_time(connection)
    row = _lock(connection, name, now)
    # A lease that expires later than any may was acquired before the clock was set back.
    if row.holder != holder and now < row.expires <= now + LONGEST:
        return None
    term = row.term + (row.holder != holder)
    changed = sa.update(lease).where(lease.c.lease_name == name)
    connection.execute(changed.values(holder=holder, expires=now + duration, term=term))
    return HeldLease(now, row.begun, row.done, term)


def lock(connection: sa.Connection, name: str) -> datetime:
    """Stop the lease's holder, whoever it is, from writing until the transaction ends; return the database's time."""
    now = dialect_of(connection).server_time(connection)
    _lock(connection, name, now)
    return now


def set_done(connection: sa.Connection, name: str, until: datetime) -> None:
    """Record that the lease's work is done up to this time."""
    connection.execute(sa.update(tables.lease).where(tables.lease.c.lease_name == name).values(done=until))


def release(connection: sa.Connection, name: str, holder: str) -> None:
    """Let another process acquire the lease at once."""
    lease = tables.lease
    ours = sa.update(lease).where(lease.c.lease_name == name, lease.c.holder == holder)
    connection.execute(ours.values(expires=lease.c.begun))


def _lock(connection: sa.Connection, name: str, now: datetime) -> sa.Row[Any]:
    # Before anything else is read: MySQL gives a transaction a snapshot at its first unlocked read, which would be from
    # before the wait for the lock. And not after a SELECT: two processes that have both locked the row's absence would
    # wait for each other to insert it.
    lease = tables.lease
    row = {"lease_name": name, "holder": "", "expires": now - DURATION, "begun": now, "done": now}
    connection.execute(dialect_of(connection).insert_or_lock(lease, row, "lease_name"))
    return connection.execute(sa.select(lease).where(lease.c.lease_name == name).with_for_update()).one()
