"""Leases: a lease allows one process at a time to do a job.

Leases use the database's clock, so all processes agree on the time. `acquire` locks the lease until the caller's
transaction ends. Other changes in this transaction are therefore committed only while the process holds the lease.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from db import tables
from db.dialects import dialect_of

DURATION = timedelta(seconds=3.5)
"""Time without renewal after which a lease expires. A process that tries to acquire it each second takes over within
5 s."""
ABANDONED = timedelta(seconds=2)
"""If a lease expired longer ago than this, the database was not writable: otherwise, a process would have got it."""
LONGEST = timedelta(minutes=1)
"""The maximum duration of any lease."""


@dataclass(frozen=True)
class HeldLease:
    """A lease that this process holds. No other process can acquire it until it expires or is released.

    The row of the lease is locked until the transaction ends. All times are from the database's clock.
    """

    now: datetime
    begun: datetime
    """The time when any process acquired the lease for the first time."""
    done: datetime
    """All data before this time has been processed. The holder of the lease records this time."""
    term: int
    """Number of times that the lease has passed to another process. If this number has changed, another process has
    done the work in the meantime, and this process may have outdated data about the work in memory."""


def acquire(
    connection: sa.Connection, name: str, holder: str, duration: timedelta = DURATION, *, waits: bool = True
) -> HeldLease | None:
    """Acquire or renew the lease. Return None while another process holds it.

    After a time in which the database could not be written, give the last holder the time `duration` to renew the
    lease, unless `waits` is false. The last holder has in memory what it could not write, and may already have notified
    people of it.
    """
    lease = tables.lease
    now = dialect_of(connection).server_time(connection)
    row = _lock(connection, name, now)
    # A lease that ends more than `LONGEST` from now shows that the database's clock was set back. It counts as expired.
    if row.holder != holder and now < row.expires <= now + LONGEST:
        return None
    term = row.term + (row.holder != holder)
    changed = sa.update(lease).where(lease.c.lease_name == name)
    is_released = row.expires <= row.begun
    if waits and row.holder != holder and not is_released and row.expires + ABANDONED < now:
        connection.execute(changed.values(expires=now + duration))
        return None
    connection.execute(changed.values(holder=holder, expires=now + duration, term=term))
    return HeldLease(now, row.begun, row.done, term)


def lock(connection: sa.Connection, name: str) -> datetime:
    """Lock the lease until the transaction ends. Return the database's time.

    Until then, the process that holds the lease cannot write.
    """
    now = dialect_of(connection).server_time(connection)
    _lock(connection, name, now)
    return now


def set_done(connection: sa.Connection, name: str, until: datetime) -> None:
    """Record that the holder of the lease has finished its work up to the time `until`."""
    connection.execute(sa.update(tables.lease).where(tables.lease.c.lease_name == name).values(done=until))


def release(connection: sa.Connection, name: str, holder: str) -> None:
    """Release the lease so that another process can acquire it immediately.

    The time `begun` as the end of the lease means that the lease is released.
    """
    lease = tables.lease
    ours = sa.update(lease).where(lease.c.lease_name == name, lease.c.holder == holder)
    connection.execute(ours.values(expires=lease.c.begun))


def _lock(connection: sa.Connection, name: str, now: datetime) -> sa.Row[Any]:
    # The lock must come before any other read. MySQL takes a transaction's snapshot at its first read without a lock,
    # so a snapshot taken before the wait for this lock would be out of date.
    # The INSERT must come before the SELECT ... FOR UPDATE. If the row does not exist, two processes could both lock
    # the gap with a SELECT, and then their INSERTs would deadlock.
    lease = tables.lease
    row = {"lease_name": name, "holder": "", "expires": now - DURATION, "begun": now, "done": now}
    connection.execute(dialect_of(connection).insert_or_lock(lease, row, "lease_name"))
    return connection.execute(sa.select(lease).where(lease.c.lease_name == name).with_for_update()).one()
