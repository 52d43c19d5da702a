"""What a late reading changes: the readings around it are folded anew, and the outcomes compared."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from alarms.model import (
    CLEARED,
    DISMISSED,
    PENDING,
    RAISED,
    REFRESHED,
    REOPENED,
    WITHDRAWN,
    WORSENED,
    Change,
    Episode,
    Reading,
)
from alarms.rules import Terms
from alarms.state_machine import Evaluation, Origin, hold, take

Identity = tuple[str, float]
"""Kind and beginning of an episode of one sensor."""


class Outcome(NamedTuple):
    """What came out of readings: all episodes, as they are in the end, and how it went."""

    evaluation: Evaluation
    episodes: dict[Identity, Episode]
    changes: list[Change]


def outcome(terms: Terms, origin: Origin, base: Evaluation, readings: Sequence[Reading], until: float) -> Outcome:
    """Fold readings after what is known, and let time pass to `until`."""
    evaluation, changes = base, []
    for reading in readings:
        evaluation, more = take(terms, origin, evaluation, reading)
        changes += more
    if terms.holds:
        evaluation, more = hold(terms, evaluation, until)
        changes += more
    known = (kind_state.episode for kind_state in base.kind_states.values())
    episodes = {_identity(episode): episode for episode in known if episode is not None}
    for what, _, episode in changes:
        if what == DISMISSED:
            del episodes[_identity(episode)]
        else:
            episodes[_identity(episode)] = episode
    return Outcome(evaluation, episodes, changes)


def _identity(episode: Episode) -> Identity:
    return episode.kind, episode.since


def differences(before: Mapping[Identity, Episode], after: Outcome, time: float) -> list[Change]:
    """Return what is to be told of episodes that have come out otherwise because of a reading of this time.

    First what is gone, so that two are never open at once, then the rest by time.
    """
    gone: list[Change] = []
    changes: list[Change] = []
    for identity, old in before.items():
        new = after.episodes.get(identity)
        if new is None or (old.raised is not None and new.raised is None):
            gone.append(Change(DISMISSED if old.raised is None else WITHDRAWN, time, old))
        if new is not None and new != old:
            changes += _steps(old, new, time)
    for identity, episode in after.episodes.items():
        if identity in before:
            continue
        if episode.cleared is not None:
            # Told step by step it would be open at the same time as a later one.
            changes.append(Change(CLEARED, episode.cleared, episode))
        else:
            changes += (change for change in after.changes if _identity(change.episode) == identity)
    return gone + sorted(changes, key=lambda change: change.time)


def _steps(old: Episode, new: Episode, time: float) -> Iterator[Change]:
    """What has happened to an episode, from how it was told to how it is."""
    if new.raised is None:
        yield Change(REFRESHED, time, new) if old.raised is None else Change(PENDING, new.since, new)
        return
    over = old.cleared is None and new.cleared is not None
    still_open = msgspec.structs.replace(new, cleared=None) if over else new
    if old.raised is None:
        yield Change(RAISED, new.raised, still_open)
    elif old.cleared is not None and new.cleared is None:
        yield Change(REOPENED, time, new)
    elif new.level > old.level:
        yield Change(WORSENED, time, still_open)
    elif not over:
        yield Change(REFRESHED, time, new)
    if over and new.cleared is not None:
        yield Change(CLEARED, new.cleared, new)
