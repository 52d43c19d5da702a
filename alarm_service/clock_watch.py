"""Watches whether the server's clock agrees with the sensors and with the database's server."""

import time
from collections.abc import Callable, Sequence

from alarms.wrong_clock import AHEAD_S, clock_error
from ask.readings import Key, Reading
from ask.sensors import Sensor

RECENT_S, INTERVALS = 300.0, 3
"""A sensor has reported recently if its last reading arrived within `INTERVALS` of its intervals, or within `RECENT_S`
seconds if this is longer."""


class ClockWatch:
    """Remembers when the last reading of each sensor arrived, and for how long the server's clock has been wrong.

    Arrivals are measured with the monotonic clock. If the server's clock is set, the result is therefore right at once.
    `database_lead` returns by how many seconds the clock of the database's server is ahead of a time, or None if the
    database's clock is unknown.
    """

    def __init__(
        self, database_lead: Callable[[float], float | None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.error_s: float | None = None
        """Time in seconds by which the server's clock seems to be behind. Negative: ahead. None: the clock is right."""
        self.has_recent_readings = False
        """Whether any sensor has reported recently."""
        self._database_lead = database_lead
        self._monotonic = monotonic
        self._last_readings: dict[Key, tuple[float, float]] = {}  # time of the reading, time of its arrival
        self._wrong_since = 0.0

    @property
    def wrong_for_s(self) -> float:
        """Time for which the server's clock has been wrong, in seconds."""
        return 0.0 if self.error_s is None else self._monotonic() - self._wrong_since

    def add_readings(self, readings: Sequence[Reading]) -> None:
        """Remember readings that have just arrived."""
        arrived = self._monotonic()
        for reading in readings:
            stamp = reading.time.timestamp()
            before = self._last_readings.get(reading.key)
            if before is None or before[1] != arrived or before[0] < stamp:
                self._last_readings[reading.key] = stamp, arrived

    def differs_from_database(self, now: float) -> bool:
        """Return whether the database's clock differs from the time `now` of the server's clock."""
        lead = self._database_lead(now)
        return lead is not None and abs(lead) > AHEAD_S

    def check(self, sensor_of: Callable[[Key], Sensor | None], now: float, *, is_open: bool) -> None:
        """Update `error_s` at the time `now` of the server's clock. `is_open` is true while the alarm is open."""
        before, current = self.error_s, self._monotonic()
        leads = [
            stamp - (now - (current - arrived))
            for key, (stamp, arrived) in self._last_readings.items()
            if (sensor := sensor_of(key)) and current - arrived <= max(RECENT_S, INTERVALS * (sensor.interval_s or 0.0))
        ]
        self.has_recent_readings = bool(leads)
        self.error_s = clock_error(leads, self._database_lead(now), is_open=is_open)
        if before is None:
            self._wrong_since = current
