"""Late readings: the readings around one are evaluated again, and the episodes before and after are compared."""

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
from alarms.state_machine import Evaluation, Origin, advance, apply_reading

KindAndStart = tuple[str, float]
"""Kind and first time of an episode: they identify it among those of one sensor."""


class Outcome(NamedTuple):
    """What readings came to: all episodes as they are in the end, and the changes on the way."""

    evaluation: Evaluation
    episodes: dict[KindAndStart, Episode]
    changes: list[Change]


def evaluate(terms: Terms, origin: Origin, base: Evaluation, readings: Sequence[Reading], until: float) -> Outcome:
    """Apply readings to the state `base`, and let time pass to `until`."""
    evaluation, changes = base, []
    for reading in readings:
        evaluation, new_changes = apply_reading(terms, origin, evaluation, reading)
        changes += new_changes
    if terms.holds:
        evaluation, new_changes = advance(terms, evaluation, until)
        changes += new_changes
    earlier = (kind_state.episode for kind_state in base.kind_states.values())
    episodes = {_kind_and_start(episode): episode for episode in earlier if episode is not None}
    for what, _, episode in changes:
        if what == DISMISSED:
            del episodes[_kind_and_start(episode)]
        else:
            episodes[_kind_and_start(episode)] = episode
    return Outcome(evaluation, episodes, changes)


def _kind_and_start(episode: Episode) -> KindAndStart:
    return episode.kind, episode.since


def differences(before: Mapping[KindAndStart, Episode], after: Outcome, time: float) -> list[Change]:
    """Return the changes that a reading of this time makes to the episodes that were there before.

    Episodes that are gone come first, so that two are never open at once, then the rest by time.
    """
    gone: list[Change] = []
    changes: list[Change] = []
    for identity, old in before.items():
        new = after.episodes.get(identity)
        if new is None or (old.raised is not None and new.raised is None):
            gone.append(Change(DISMISSED if old.raised is None else WITHDRAWN, time, old))
        if new is not None and new != old:
            changes += _changes_between(old, new, time)
    for identity, episode in after.episodes.items():
        if identity in before:
            continue
        if episode.cleared is not None:
            # Reported step by step it would be open at the same time as a later one.
            changes.append(Change(CLEARED, episode.cleared, episode))
        else:
            changes += (change for change in after.changes if _kind_and_start(change.episode) == identity)
    return gone + sorted(changes, key=lambda change: change.time)


def _changes_between(old: Episode, new: Episode, time: float) -> Iterator[Change]:
    """Yield the changes that lead from an episode as it was reported to the episode as it is."""
    if new.raised is None:
        yield Change(REFRESHED, time, new) if old.raised is None else Change(PENDING, new.since, new)
        return
    is_cleared = old.cleared is None and new.cleared is not None
    still_open = msgspec.structs.replace(new, cleared=None) if is_cleared else new
    if old.raised is None:
        yield Change(RAISED, new.raised, still_open)
    elif old.cleared is not None and new.cleared is None:
        yield Change(REOPENED, time, new)
    elif new.level > old.level:
        yield Change(WORSENED, time, still_open)
    elif not is_cleared:
        yield Change(REFRESHED, time, new)
    if is_cleared and new.cleared is not None:
        yield Change(CLEARED, new.cleared, new)
