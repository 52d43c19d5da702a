"""Compares the clock of the database's server with the clock of the Storewatch server."""

import time

import sqlalchemy as sa

from db.dialects import dialect_of

KNOWN_FOR_S = 10.0
"""Time for which the last known time of the database's clock is used, in seconds."""


class DatabaseClock:
    """The clock of the server of the sensor database. An SQLite file has no clock of its own."""

    def __init__(self) -> None:
        self._reading: tuple[float, float] | None = None  # the database's time, and the time on the monotonic clock

    def read(self, connection: sa.Connection) -> bool:
        """Read the database's clock. Return False if the database has no clock of its own."""
        dialect = dialect_of(connection)
        if not dialect.is_remote:
            return False
        before = time.monotonic()
        server_time = dialect.server_time(connection).timestamp()
        self._reading = server_time, (before + time.monotonic()) / 2
        return True

    def lead_s(self, now: float) -> float | None:
        """Return by how many seconds the database's clock is ahead of the time `now`.

        Return None if the database has no clock of its own or has not answered for `KNOWN_FOR_S` seconds.
        """
        if self._reading is None:
            return None
        server_time, read_at = self._reading
        age_s = time.monotonic() - read_at
        return server_time + age_s - now if age_s <= KNOWN_FOR_S else None
