"""Detects that the clock of the Storewatch server is wrong, and raises and clears the alarm about it.

A reading from the future is not usable. If the server's clock is behind, every reading seems to be from the future. One
alarm then reports the wrong clock. The functions use no clock.
"""

from collections.abc import Sequence
from statistics import median

import msgspec

from alarms.model import ACTIVE, REFRESHED, Change, Episode, Limit
from alarms.outages import clear, raise_or_reopen
from ask.answers import EVERYWHERE
from common.clock import AHEAD
from common.severity import Severity

CLOCK = "clock"
"""Kind of the alarm about a wrong clock. Its value is the time in seconds by which the server's clock is behind.

The value is negative if the server's clock is ahead.
"""
SEVERITY: Severity = "critical"
AHEAD_S = AHEAD.total_seconds()
AFTER_S = 60.0
"""The alarm is raised when the clock has been wrong for this time, in seconds."""
MIN_SENSORS = 2
"""At least this number of sensors must be ahead. The clock of a single sensor may be wrong on its own."""
SHARE = 0.9
"""At least this share of the sensors that reported recently must be ahead."""


def clock_error(sensor_leads: Sequence[float], database_lead: float | None, *, is_open: bool) -> float | None:
    """Return by how many seconds the server's clock seems to be behind. Return None if it seems to be right.

    The result is negative if the clock seems to be ahead. `sensor_leads` contains one time for each sensor that
    reported recently: by how many seconds its reading was ahead of the server's clock. `database_lead` is the same for
    the clock of the database's server, or None if this clock is unknown. `is_open` is true while the alarm is open. The
    limit is then half as large, so that the alarm does not end and return again and again.

    The clock is behind if almost all sensors are ahead. The clock is also wrong if the database's clock differs, and
    fewer than half of the sensors agree with the server's clock.
    """
    limit = AHEAD_S / 2 if is_open else AHEAD_S
    ahead = [lead for lead in sensor_leads if lead > limit]
    if len(ahead) >= MIN_SENSORS and len(ahead) >= SHARE * len(sensor_leads):
        return median(ahead)
    agreeing = sum(abs(lead) <= limit for lead in sensor_leads)
    if (
        database_lead is not None
        and abs(database_lead) > limit
        and (not sensor_leads or 2 * agreeing < len(sensor_leads))
    ):
        return database_lead
    return None


def clock_alarm(last_alarm: Episode | None, error_s: float | None, wrong_for_s: float, now: float) -> list[Change]:
    """Return the changes of the alarm about a wrong clock.

    `error_s` is the result of `clock_error`, and `wrong_for_s` is the time for which the clock has been wrong.
    `last_alarm` is the last alarm about a wrong clock, open or cleared. `now` is the time of the server's clock.
    """
    if error_s is None:
        return clear(last_alarm, now)
    error_s = float(round(error_s))
    if last_alarm is not None and last_alarm.state == ACTIVE:
        return _refresh(last_alarm, error_s, now)
    if wrong_for_s < AFTER_S:
        return []
    limits = (Limit(AHEAD_S, SEVERITY, AFTER_S),)
    alarm = Episode(EVERYWHERE, None, CLOCK, now - wrong_for_s, limits, 0, error_s, error_s, now)
    return [raise_or_reopen(last_alarm, alarm)]


def _refresh(alarm: Episode, error_s: float, now: float) -> list[Change]:
    if alarm.value is not None and abs(error_s - alarm.value) < AHEAD_S:
        return []
    peak = max(alarm.peak or 0.0, error_s, key=abs)
    return [Change(REFRESHED, now, msgspec.structs.replace(alarm, value=error_s, peak=peak))]
