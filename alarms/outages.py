"""When most of a storehouse, or the database, falls silent: one alarm for the cause, the single ones are part of it."""

from collections.abc import Sequence

import msgspec

from alarms.model import ACTIVE, CLEARED, NO_DATA, RAISED, REFRESHED, REOPENED, Change, Episode, Limit
from ask.answers import EVERYWHERE, Id

SHARE = 0.5
"""More than this part of a storehouse's sensors must be silent."""
FEWEST = 3
"""And at least so many sensors; two may well fail on their own."""
LOST_S = 180.0
"""So long the database may not answer."""
SEVERITY = "critical"


def silent(
    store_house_id: Id, watched: int, singles: Sequence[Episode], known: Episode | None, time: float
) -> list[Change]:
    """Return what is to be told of a storehouse at this time.

    `watched`: how many of its sensors are watched for silence; `singles`: the open alarms of those that are silent;
    `known`: the storehouse's own last alarm of no data, if there was one. Its value is the number of silent sensors.
    """
    limit = Limit(max(watched * SHARE, FEWEST - 1.0), SEVERITY)
    many = len(singles)
    if many <= limit.limit:
        return _over(known, time)
    if known is not None and known.state == ACTIVE:
        return _refreshed(known, many, time)
    # The one that was too many.
    last = sorted(singles, key=_raised)[int(limit.limit)]
    began = Episode(store_house_id, None, NO_DATA, last.since, (limit,), 0, float(many), float(many), _raised(last))
    return [_raise(known, began)]


def lost(known: Episode | None, since: float | None, now: float) -> list[Change]:
    """Return what is to be told of the database, which has not answered since then (None: it answers)."""
    if since is None:
        return _over(known, now)
    if now < since + LOST_S or (known is not None and known.state == ACTIVE):
        return []
    limits = (Limit(LOST_S, SEVERITY),)
    return [_raise(known, Episode(EVERYWHERE, None, NO_DATA, since, limits, 0, None, None, since + LOST_S))]


def is_part(single: Episode, cause: Episode) -> bool:
    """Whether an alarm is to be listed under another: a sensor's open one of no data under the storehouse's."""
    here = cause.store_house_id in (EVERYWHERE, single.store_house_id)
    both = single.state == ACTIVE == cause.state and single.kind == NO_DATA == cause.kind
    return here and both and cause.key is None and single.key is not None


def _raise(known: Episode | None, began: Episode) -> Change:
    if known is not None and known.cleared is not None and _raised(began) <= known.cleared + known.limits[0].reopen:
        return Change(REOPENED, _raised(began), msgspec.structs.replace(known, cleared=None, value=began.value))
    return Change(RAISED, _raised(began), began)


def _refreshed(known: Episode, many: int, time: float) -> list[Change]:
    value = float(many)
    if value == known.value:
        return []
    seen = msgspec.structs.replace(known, value=value, peak=max(known.peak or 0.0, value))
    return [Change(REFRESHED, time, seen)]


def _over(known: Episode | None, time: float) -> list[Change]:
    if known is None or known.state != ACTIVE:
        return []
    cleared = max(time, _raised(known))
    return [Change(CLEARED, cleared, msgspec.structs.replace(known, cleared=cleared))]


def _raised(episode: Episode) -> float:
    return episode.since if episode.raised is None else episode.raised
