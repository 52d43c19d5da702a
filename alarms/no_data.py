"""No data from a sensor. It goes by when readings come: a late one that fills the gap ends it, and undoes nothing."""

import msgspec

from alarms.fold import Limits, Origin, Track
from alarms.model import CLEARED, NO_DATA, RAISED, REOPENED, Change, Episode

Told = tuple[Track | None, list[Change]]


def miss(origin: Origin, limits: Limits, track: Track | None, last: float) -> Told:
    """Raise that nothing has come since `last`, unless that is raised already or was closed by hand."""
    episode = None if track is None else track.episode
    if track is not None and (episode is None or episode.cleared is None):
        return track, []
    raised = last + limits[0].limit
    if episode is not None and episode.cleared is not None and raised <= episode.cleared + limits[0].reopen:
        episode = msgspec.structs.replace(episode, cleared=None)
        return Track(episode), [Change(REOPENED, raised, episode)]
    episode = Episode(*origin, NO_DATA, last, limits, 0, None, None, raised)
    return Track(episode), [Change(RAISED, raised, episode)]


def hear(limits: Limits, track: Track | None, time: float, now: float) -> Told:
    """Clear it with a good reading of this time, unless that is so old that there is silence since, too."""
    episode = None if track is None else track.episode
    if episode is None or episode.raised is None or not limits:
        return None, []
    if episode.cleared is not None:
        return (track if time <= episode.cleared + limits[0].reopen else None), []
    if time + limits[0].limit <= now:
        return track, []
    episode = msgspec.structs.replace(episode, cleared=max(time, episode.raised))
    return Track(episode), [Change(CLEARED, max(time, episode.raised or time), episode)]
