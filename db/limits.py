"""Time limits for the use of a database: one set of limits for each purpose."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Time limits for the use of a database, in seconds."""

    connect: float = 2.0
    """Time limit for opening a connection, or for waiting for a free connection from the pool."""
    statement: float = 2.0
    """Time limit for one statement. The database itself enforces it."""
    read: float = 2.4
    """Time limit for each read or write on the driver's socket."""
    answer: float = 2.7
    """Time limit for a whole call of `Database.run`."""
    idle_timeout_s: int | None = None
    """Time after which the database server closes an idle connection and releases its locks. None means the server's
    default."""


QUESTION_LIMITS = Limits()
"""Limits for the queries of clients. With these limits, a client gets an answer within 3 s."""
CHART_LIMITS = Limits(statement=30.0, read=31.0, answer=32.0)
"""Limits for the history queries of charts, which run in the lane. The time in the lane's queue does not count.

A chart of a year of 3 million readings takes seconds in MariaDB, and longer if others run at the same time."""
PREVIEW_LIMITS = Limits(connect=5.0, statement=60.0, read=63.0, answer=66.0)
"""Limits for previews of alarm rules. After 60 s the server stops the process that computes the preview. The statement
limit then also ends the statement, which would otherwise continue in the database."""
LEASE_LIMITS = Limits(idle_timeout_s=3)
"""Limits for transactions that hold a lease. A process that hangs in a transaction must not block other processes."""
HEARTBEAT_LIMITS = Limits(connect=1.0, statement=0.8, read=1.0, answer=1.1)
"""Limits for the heartbeat: a query that must detect within 1.5 s that the database does not answer."""
PULSE_LIMITS = Limits(connect=0.7, statement=0.7, read=0.7, answer=0.8)
"""Limits for finding out, before the server opens its port, whether a database can be reached."""
BATCH_LIMITS = Limits(connect=5.0, statement=600.0, read=630.0, answer=660.0)
"""Limits for imports, for migrations and for the creation of the demo. No client waits for their results."""
