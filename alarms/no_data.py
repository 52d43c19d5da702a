"""Raises and clears the no-data alarm of one sensor.

A no-data alarm depends on when readings arrive. If a late reading fills the gap in the data, the alarm was still
justified. It is therefore cleared, not withdrawn.
"""

import msgspec

from alarms.model import CLEARED, NO_DATA, RAISED, REOPENED, Change, Episode
from alarms.state_machine import KindState, Limits, Origin

Result = tuple[KindState | None, list[Change]]
"""The new state of a sensor's no-data alarm, and the changes of that alarm."""


def raise_no_data(origin: Origin, limits: Limits, kind_state: KindState | None, last: float) -> Result:
    """Raise the no-data alarm of a sensor, unless the alarm is open or a user has closed it by hand.

    Return the alarm's new state and changes. `last` is the time of the sensor's last good reading. If the sensor's
    previous no-data alarm was cleared only recently, reopen it instead of raising a new alarm.
    """
    episode = None if kind_state is None else kind_state.episode
    if kind_state is not None and (episode is None or episode.cleared is None):
        return kind_state, []
    raised = last + limits[0].limit
    if episode is not None and episode.cleared is not None and raised <= episode.cleared + limits[0].reopen:
        episode = msgspec.structs.replace(episode, cleared=None)
        return KindState(episode), [Change(REOPENED, raised, episode)]
    episode = Episode(*origin, NO_DATA, last, limits, 0, None, None, raised)
    return KindState(episode), [Change(RAISED, raised, episode)]


def clear_no_data(limits: Limits, kind_state: KindState | None, time: float, now: float) -> Result:
    """Clear the no-data alarm of a sensor after a good reading. Return the alarm's new state and changes.

    Do not clear the alarm if the reading is older than the no-data limit. `time` is the time of the reading, `now` the
    current time.
    """
    episode = None if kind_state is None else kind_state.episode
    if episode is None or episode.raised is None or not limits:
        return None, []
    if episode.cleared is not None:
        return (kind_state if time <= episode.cleared + limits[0].reopen else None), []
    if time + limits[0].limit <= now:
        return kind_state, []
    episode = msgspec.structs.replace(episode, cleared=max(time, episode.raised))
    return KindState(episode), [Change(CLEARED, max(time, episode.raised or time), episode)]
