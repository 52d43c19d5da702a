"""No-data alarms of one sensor.

They depend on when readings arrive: a late reading that fills the gap clears the alarm and does not withdraw it.
"""

import msgspec

from alarms.model import CLEARED, NO_DATA, RAISED, REOPENED, Change, Episode
from alarms.state_machine import KindState, Limits, Origin

Result = tuple[KindState | None, list[Change]]
"""The state of the no-data alarm, and its changes."""


def raise_no_data(origin: Origin, limits: Limits, kind_state: KindState | None, last: float) -> Result:
    """Raise that nothing has come since the reading at `last`, unless that is raised or was closed by hand."""
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
    """Clear it with a good reading of this time, unless that is so old that data is missing since then, too."""
    episode = None if kind_state is None else kind_state.episode
    if episode is None or episode.raised is None or not limits:
        return None, []
    if episode.cleared is not None:
        return (kind_state if time <= episode.cleared + limits[0].reopen else None), []
    if time + limits[0].limit <= now:
        return kind_state, []
    episode = msgspec.structs.replace(episode, cleared=max(time, episode.raised))
    return KindState(episode), [Change(CLEARED, max(time, episode.raised or time), episode)]
