"""Time limits of database work, by purpose."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Time limits, in seconds."""

    connect: float = 2.0
    """To open a connection, or to wait for one of the pool."""
    statement: float = 2.0
    """For one statement, enforced by the database itself."""
    read: float = 2.4
    """For each read or write on the driver's socket."""
    answer: float = 2.7
    """For the whole of `Database.run`."""
    idle_timeout_s: int | None = None
    """How long the server keeps an idle connection and its locks; None: the server's own default."""


QUESTION_LIMITS = Limits()
"""For questions: a browser is answered within 3 s."""
LEASE_LIMITS = Limits(idle_timeout_s=3)
"""For work under a lease: a process that froze in a transaction must not block the other processes."""
HEARTBEAT_LIMITS = Limits(connect=1.0, statement=0.8, read=1.0, answer=1.1)
"""For the heartbeat: a loss is noticed within 1.5 s."""
BATCH_LIMITS = Limits(connect=5.0, statement=600.0, read=630.0, answer=660.0)
"""For imports, migrations and the making of the demo: nobody waits for these."""
