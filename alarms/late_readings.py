"""Evaluates a sensor's readings again when a late reading arrives, and finds the changes of the alarm episodes.

A reading is late if it arrives after a reading with the same or a later time.
"""

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
"""The kind of alarm and the start time of an episode. They identify an episode among all episodes of one sensor."""


class Outcome(NamedTuple):
    """The result of evaluating several readings of a sensor.

    It contains the state of the sensor after the last reading (`evaluation`), all alarm episodes in their final state,
    and all changes of the episodes.
    """

    evaluation: Evaluation
    episodes: dict[KindAndStart, Episode]
    changes: list[Change]


def evaluate(terms: Terms, origin: Origin, base: Evaluation, readings: Sequence[Reading], until: float) -> Outcome:
    """Evaluate readings one after the other, starting from the result `base` of earlier readings.

    If the sensor only reports changes, then also evaluate its last value up to the time `until`.
    """
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
    """Return the changes that turn the episodes `before` into the episodes in `after`.

    `before` contains the episodes from an evaluation without a late reading. `after` is the result of an evaluation
    with this reading, and `time` is the time of this reading. Changes that remove an episode come first, so that two
    episodes of one kind are never open at once. All further changes follow in chronological order.
    """
    gone: list[Change] = []
    changes: list[Change] = []
    for identity, old in before.items():
        new = after.episodes.get(identity)
        if new is None or (old.raised is not None and new.raised is None):
            gone.append(Change(DISMISSED if old.raised is None else WITHDRAWN, time, old))
        if new is not None and new != old:
            changes += changes_between(old, new, time)
    for identity, episode in after.episodes.items():
        if identity in before:
            continue
        if episode.cleared is not None:
            # Report only the end: if each step were reported, this episode and a later one would be open together.
            changes.append(Change(CLEARED, episode.cleared, episode))
        else:
            changes += (change for change in after.changes if _kind_and_start(change.episode) == identity)
    return gone + sorted(changes, key=lambda change: change.time)


def changes_between(old: Episode, new: Episode, time: float) -> Iterator[Change]:
    """Yield the changes of an episode that turn its state `old` into its state `new`.

    `old` is the state that was reported before. `time` is the time of the changes whose own time is unknown.
    """
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
