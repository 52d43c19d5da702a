"""Sample entries for the audit trail, and processes and threads that write entries concurrently."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any

import sqlalchemy as sa

import ask.audit
import settings
from alarm_service.site_alarms import LEASE
from ask.audit import Sealed
from db.database import Database
from db.limits import BATCH_LIMITS
from record import audit, lease
from record.audit import Entry

NOW = datetime(2026, 11, 22, 12, 0, 0, 123_456, tzinfo=UTC)
ENTRIES = (
    Entry("login", "李 Li", "192.0.2.7"),
    Entry("acknowledged", "李 Li", "2001:db8::7", "sw-5", {"acknowledged": False}, {"acknowledged": True}),
    Entry("login_refused", "=HYPERLINK(1)", "192.0.2.9", after={"message": "no\nsuch \"name\"\t\x00\x1f €"}),
    Entry("rules_saved", "Wu 😀", "", before=[], after=[{"high": 5.5}]),
)  # fmt: skip
PROCESSES, THREADS, EACH = 3, 2, 12


def entries(connection: sa.Connection) -> list[Sealed]:
    """Return all entries of the audit trail."""
    return ask.audit.after(connection, None, 1_000_000)


def write(engine: sa.Engine, written: Sequence[Entry] = ENTRIES) -> None:
    """Write each of the entries in its own transaction."""
    for entry in written:
        with engine.begin() as connection:
            audit.append(connection, entry, NOW)


def many_at_once(where: dict[str, Any], *, snapshots: bool = False) -> int:
    """Write entries to the audit trail from several processes at once, with several threads in each process.

    Return the number of written entries. Raise the first exception of any process. Every second transaction works
    like the acknowledgement of an alarm: it first acquires the lease of the alarm journal and reads the audit trail.
    `snapshots` activates MariaDB's snapshot isolation. With snapshot isolation, MariaDB refuses to lock a row that has
    changed since the first read of the transaction.
    """
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as processes:
        futures = [processes.submit(_process, where, snapshots, number) for number in range(PROCESSES)]
        return sum(future.result() for future in futures)


def _process(where: dict[str, Any], snapshots: bool, number: int) -> int:
    with (
        closing(Database(settings.Database(**where), BATCH_LIMITS, THREADS, writes=True)) as database,
        ThreadPoolExecutor(THREADS) as threads,
    ):
        return sum(threads.map(lambda thread: _thread(database, snapshots, f"{number}.{thread}"), range(THREADS)))


def _thread(database: Database, snapshots: bool, who: str) -> int:
    for number in range(EACH):
        with database.engine.connect() as connection:
            if snapshots:
                connection.exec_driver_sql("SET SESSION innodb_snapshot_isolation = ON")
                connection.commit()
            with connection.begin():
                if number % 2:
                    now = lease.lock(connection, LEASE)
                    audit.lock(connection)
                    assert ask.audit.head(connection) is not None
                    lease.set_done(connection, LEASE, now)
                audit.append(connection, Entry("tried", who, "", str(number)), NOW)
    return EACH
