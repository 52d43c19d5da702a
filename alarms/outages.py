"""Raises and clears outage alarms.

An outage alarm is one alarm for many sensors. It is raised when most sensors of a storehouse have no data, or when the
sensor database does not answer. The no-data alarms of the sensors then name the outage alarm as their cause.
"""

from collections.abc import Sequence

import msgspec

from alarms.model import ACTIVE, CLEARED, NO_DATA, RAISED, REFRESHED, REOPENED, Change, Episode, Limit
from ask.answers import EVERYWHERE, Id
from common.severity import Severity

SHARE = 0.5
"""If more than this share of a storehouse's sensors have no data, an outage alarm is raised.

Only sensors with a no-data limit are counted.
"""
MIN_SENSORS = 3
"""An outage alarm of a storehouse needs at least this number of sensors without data.

Two sensors may fail independently of each other, so two are not enough.
"""
DATABASE_OUTAGE_AFTER_S = 180.0
"""If the sensor database does not answer for this time, in seconds, an outage alarm is raised."""
START_OUTAGE_AFTER_S = 30.0
"""The same time for a sensor database that has not answered since the start of the server, in seconds.

It is shorter, because such an outage began before the start: how long ago is unknown.
"""
SEVERITY: Severity = "critical"


def storehouse_outage(
    store_house_id: Id, monitored: int, sensor_alarms: Sequence[Episode], last_outage: Episode | None, time: float
) -> list[Change]:
    """Return the changes of a storehouse's outage alarm at `time`.

    `monitored` is the number of the storehouse's sensors with a no-data limit. `sensor_alarms` contains the open
    no-data alarms of these sensors. `last_outage` is the storehouse's last outage alarm, open or cleared. The value of
    an outage alarm is the number of sensors without data.
    """
    limit = Limit(max(monitored * SHARE, MIN_SENSORS - 1.0), SEVERITY)
    count = len(sensor_alarms)
    if count <= limit.limit:
        return clear(last_outage, time)
    if last_outage is not None and last_outage.state == ACTIVE:
        return _refresh(last_outage, count, time)
    # The sensor alarm that made the number of sensors without data exceed the limit.
    decisive = sorted(sensor_alarms, key=_raised)[int(limit.limit)]
    outage = Episode(
        store_house_id,
        None,
        NO_DATA,
        decisive.since,
        (limit,),
        0,
        float(count),
        float(count),
        _raised(decisive),
    )
    return [raise_or_reopen(last_outage, outage)]


def database_outage(
    last_outage: Episode | None, since: float | None, now: float, after_s: float | None = None
) -> list[Change]:
    """Return the changes of the outage alarm of the sensor database.

    `since` is the time at which the database stopped answering, or None if the database answers. `last_outage` is the
    last outage alarm, open or cleared. The alarm is raised `after_s` seconds after `since`, by default after
    `DATABASE_OUTAGE_AFTER_S`.
    """
    if since is None:
        return clear(last_outage, now)
    after_s = DATABASE_OUTAGE_AFTER_S if after_s is None else after_s
    raised = since + after_s
    if now < raised or (last_outage is not None and last_outage.state == ACTIVE):
        return []
    limits = (Limit(after_s, SEVERITY),)
    return [raise_or_reopen(last_outage, Episode(EVERYWHERE, None, NO_DATA, since, limits, 0, None, None, raised))]


def raise_or_reopen(last_outage: Episode | None, outage: Episode) -> Change:
    """Return the change that raises an alarm about many sensors, or reopens the last one if it ended only recently."""
    raised = _raised(outage)
    if (
        last_outage is not None
        and last_outage.cleared is not None
        and raised <= last_outage.cleared + last_outage.limits[0].reopen
    ):
        return Change(REOPENED, raised, msgspec.structs.replace(last_outage, cleared=None, value=outage.value))
    return Change(RAISED, raised, outage)


def _refresh(outage: Episode, count: int, time: float) -> list[Change]:
    value = float(count)
    if value == outage.value:
        return []
    refreshed = msgspec.structs.replace(outage, value=value, peak=max(outage.peak or 0.0, value))
    return [Change(REFRESHED, time, refreshed)]


def clear(outage: Episode | None, time: float) -> list[Change]:
    """Return the change that clears an alarm about many sensors at `time`. The list is empty if no alarm is open."""
    if outage is None or outage.state != ACTIVE:
        return []
    cleared = max(time, _raised(outage))
    return [Change(CLEARED, cleared, msgspec.structs.replace(outage, cleared=cleared))]


def _raised(episode: Episode) -> float:
    return episode.since if episode.raised is None else episode.raised
