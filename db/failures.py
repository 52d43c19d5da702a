"""What an error of a database says about the database and about the connection. The dialects classify the errors."""

from enum import Enum


class Failure(Enum):
    """The kind of a database error. `Dialect.failure` contains the error codes of each kind."""

    LOST = "lost"
    """The connection has ended, or the database cannot be reached. The driver or the server may have closed it."""
    DENIED = "denied"
    """The account may not use the database. Its password has expired or changed, or the database does not exist."""
    NO_PRIVILEGE = "no_privilege"
    """The account lacks a privilege for this statement. Other statements may succeed."""
    READ_ONLY = "read_only"
    """The database accepts no writes, such as a former primary after a failover."""
    NO_TABLE = "no_table"
    """A table, view or column of the statement does not exist. Somebody has removed it while the server is running."""
    DAMAGED = "damaged"
    """The file of the database is damaged, or is no database."""
    STORAGE = "storage"
    """The database cannot store data. Its disk is full, or it cannot read or write a file."""
    TIME_LIMIT = "time_limit"
    """The database has ended the statement because of its time limit."""
    DATA = "data"
    """The database has rejected the data of the statement. The drivers report most of these errors as DataError or
    IntegrityError; this kind contains the others."""
    BUSY = "busy"
    """The database cannot execute the statement at the moment: another connection has a lock, or memory is short."""
    OTHER = "other"
    """Any other error. The connection is still usable."""


CANNOT_WRITE = frozenset(
    {
        Failure.DENIED,
        Failure.NO_PRIVILEGE,
        Failure.READ_ONLY,
        Failure.NO_TABLE,
        Failure.DAMAGED,
        Failure.STORAGE,
    }
)
"""The kinds of errors after which the database answers, but accepts no writes."""
OUTDATED_CONNECTION = frozenset(
    {Failure.DENIED, Failure.NO_PRIVILEGE, Failure.READ_ONLY, Failure.DAMAGED, Failure.STORAGE}
)
"""The kinds of errors after which a new connection may work although this connection does not.

A connection keeps the state of the account and of the server from the time when it was opened. For example, it stays
with the former primary after a failover.
"""
OUTDATED_POOL = frozenset({Failure.DENIED, Failure.READ_ONLY})
"""The kinds of errors after which all connections that were opened before the error are outdated.

This includes connections that report no error. For example, a former primary still answers queries, but its data may be
old.
"""
