"""The alarm state machine of one sensor: turns readings, in chronological order, into alarm episodes.

An alarm episode is a violation of a limit, from start to end. `alarms.judge` inserts late readings at their place in
the history before it calls this module.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from alarms.model import (
    ACTIVE,
    CLEARED,
    DISMISSED,
    HIGH,
    LOW,
    PENDING,
    RAISED,
    RATE,
    REFRESHED,
    REOPENED,
    WORSENED,
    Change,
    Episode,
    Limit,
    Reading,
)
from alarms.rules import Terms
from ask.answers import Id
from ask.readings import Key

DECIMALS = 9
"""Decimal places to which values are rounded before a comparison, so that 5 - 0.1 equals 4.9."""
RESOLUTION_S = 0.001
"""Two times that differ by at most this number of seconds count as equal."""

Limits = tuple[Limit, ...]
Origin = tuple[Id, Key]
"""The storehouse id and the sensor key of an alarm episode."""
ViolatedSince = tuple[float | None, ...]
"""One time for each limit of an alarm kind: the time at which the limit's delay started.

The time is None for a limit that is not violated.
"""


class Kind(NamedTuple):
    """One kind of alarm at one sensor, with the limits that raise the alarm, the mildest first."""

    origin: Origin
    name: str
    limits: Limits


class KindState(msgspec.Struct, frozen=True, array_like=True):
    """The state of one kind of alarm at a sensor. A kind of alarm that is normal has no `KindState`.

    - `episode`: an alarm episode that is pending, open, or cleared so recently that a new violation reopens it. It is
      None after a user has closed the episode. Then no alarm is raised until the value is back to normal.
    - `violated_since`: the time from which the delay of each limit counts.
    - `normal_since`: the time from which the clear delay counts.

    A gap in the data does not count towards a delay. After a gap, `violated_since` and `normal_since` are therefore
    later by the length of the gap.
    """

    episode: Episode | None
    violated_since: ViolatedSince = ()
    normal_since: float | None = None


class Evaluation(msgspec.Struct, frozen=True, array_like=True):
    """The result of evaluating readings of a sensor: the last good reading, and the kinds of alarm that are not normal.

    `time` and `value` belong to the last good reading. `recent` is used for the limit on the rate of change: it
    contains the time and value of each reading within the time span of this limit. `unknown_since` is the time of the
    first fault after the last good reading, or None if there was no fault. From this time on, the value of a sensor
    that only reports changes is unknown.
    """

    time: float | None = None
    value: float | None = None
    kind_states: Mapping[str, KindState] = {}
    recent: tuple[tuple[float, float], ...] = ()
    unknown_since: float | None = None


def apply_reading(
    terms: Terms, origin: Origin, evaluation: Evaluation, reading: Reading
) -> tuple[Evaluation, list[Change]]:
    """Evaluate a reading that is later than all readings evaluated so far.

    Return the new evaluation and the changes of alarm episodes. A reading without a value is a fault. After a fault,
    the value of a sensor that only reports changes is unknown.
    """
    time, value, _ = reading
    if value is None:
        evaluation, changes = advance(terms, evaluation, time)
        if evaluation.unknown_since is None:
            evaluation = msgspec.structs.replace(evaluation, unknown_since=time)
        return evaluation, changes
    changes = []
    if terms.holds:
        evaluation, changes = advance(terms, evaluation, time)
    gap_s = _gap_s(terms, evaluation, time)
    recent = _recent_readings(terms, evaluation, time, value)
    kind_states = {}
    for name, limits in terms.judged:
        measured = value if name != RATE else _largest_change(recent)
        kind_state = evaluation.kind_states.get(name)
        if kind_state is None and not _violates(name, limits[0], measured):
            continue
        if kind_state is not None and gap_s:
            kind_state = _moved_on(kind_state, gap_s)
        kind_state, change = _apply_value(Kind(origin, name, limits), kind_state, time, measured)
        if kind_state is not None:
            kind_states[name] = kind_state
        if change is not None:
            changes.append(change)
    return Evaluation(time, value, kind_states, recent), changes


def advance(terms: Terms, evaluation: Evaluation, until: float) -> tuple[Evaluation, list[Change]]:
    """For a sensor that only reports changes, evaluate the sensor's last value up to the time `until`.

    Return the new evaluation and the changes of alarm episodes. Each change has the time at which it was due.
    """
    changes = []
    kind_states = dict(evaluation.kind_states)
    last = min(until, _known_until(terms, evaluation))
    while True:
        due, name = min(
            ((_next_due(kind_state, terms.of(name)), name) for name, kind_state in kind_states.items()),
            default=(math.inf, ""),
        )
        if due > last:
            break
        kind_states[name], change = _apply_due(kind_states[name], terms.of(name), due)
        if change is not None:
            changes.append(change)
    return (msgspec.structs.replace(evaluation, kind_states=kind_states) if changes else evaluation), changes


def _known_until(terms: Terms, evaluation: Evaluation) -> float:
    """For a sensor that only reports changes, return the time until which its last value counts as current."""
    no_data = math.inf if evaluation.time is None else evaluation.time + terms.no_data_after_s
    return no_data if evaluation.unknown_since is None else min(no_data, evaluation.unknown_since)


def _gap_s(terms: Terms, evaluation: Evaluation, time: float) -> float:
    """Return the length of the gap in the data before this reading, in seconds; 0 if there is no gap.

    A gap does not count towards a delay.
    """
    if evaluation.time is None:
        return 0.0
    if terms.holds:
        return max(0.0, time - _known_until(terms, evaluation))
    gap_s = time - evaluation.time
    return gap_s if gap_s > terms.no_data_after_s else 0.0


def _moved_on(kind_state: KindState, by_s: float) -> KindState:
    violated_since = tuple(None if since is None else since + by_s for since in kind_state.violated_since)
    normal_since = None if kind_state.normal_since is None else kind_state.normal_since + by_s
    return KindState(kind_state.episode, violated_since, normal_since)


def _recent_readings(
    terms: Terms, evaluation: Evaluation, time: float, value: float
) -> tuple[tuple[float, float], ...]:
    if not terms.rate:
        return ()
    start = time - terms.rate[0].within - RESOLUTION_S
    return (*(reading for reading in evaluation.recent if reading[0] >= start), (time, value))


def _largest_change(recent: tuple[tuple[float, float], ...]) -> float:
    """Return the largest change from a recent value to the newest value. A decrease is negative."""
    newest = recent[-1][1]
    furthest = max(recent, key=lambda reading: abs(newest - reading[1]))
    return round(newest - furthest[1], DECIMALS)


def _violates(kind: str, limit: Limit, value: float, hysteresis: float = 0.0) -> bool:
    """Return whether the value violates the limit of a kind of alarm.

    With a hysteresis, a value that is inside the limit by less than the hysteresis also counts as a violation.
    """
    if kind == HIGH:
        return value > (round(limit.limit - hysteresis, DECIMALS) if hysteresis else limit.limit)
    if kind == LOW:
        return value < (round(limit.limit + hysteresis, DECIMALS) if hysteresis else limit.limit)
    if kind == RATE:
        return abs(value) > (round(limit.limit - hysteresis, DECIMALS) if hysteresis else limit.limit)
    return (value != 0) == (limit.limit != 0)


def _worse_value(kind: str, peak: float | None, value: float) -> float:
    """Return the value that is further beyond the limit: `peak` or `value`."""
    if peak is None:
        return value
    if kind == LOW:
        return min(peak, value)
    return max(peak, value, key=abs) if kind == RATE else max(peak, value)


def _apply_value(
    kind: Kind, kind_state: KindState | None, time: float, value: float
) -> tuple[KindState | None, Change | None]:
    """Evaluate a value for one kind of alarm. Return the kind's new state, and the change of its episode.

    The new state is None if the kind of alarm is normal. The change is None if the episode has not changed.
    """
    name, limits = kind.name, kind.limits
    if kind_state is None:
        return _start_episode(kind, time, value)
    if kind_state.episode is None:
        return (kind_state if _violates(name, limits[0], value, limits[0].hysteresis) else None), None
    violated_since = tuple(
        (time if since is None else since) if _violates(name, limit, value) else None
        for limit, since in zip(limits, kind_state.violated_since, strict=True)
    )
    if kind_state.episode.cleared is not None:
        return _apply_after_clear(kind, kind_state, violated_since, time, value)
    episode, normal_since = _with_value(name, kind_state.episode, value), None
    if episode.raised is None and violated_since[0] is None:
        return None, Change(DISMISSED, time, episode)
    if episode.raised is not None and _is_back_to_normal(kind, episode, value):
        normal_since = time if kind_state.normal_since is None else kind_state.normal_since
    otherwise = None if episode == kind_state.episode else REFRESHED
    return _apply_due_or(otherwise, KindState(episode, violated_since, normal_since), limits, time)


def _start_episode(kind: Kind, time: float, value: float) -> tuple[KindState, Change | None]:
    violated_since = tuple(time if _violates(kind.name, limit, value) else None for limit in kind.limits)
    episode = Episode(*kind.origin, kind.name, time, kind.limits, 0, value, value)
    return _apply_due_or(PENDING, KindState(episode, violated_since), kind.limits, time)


def _apply_after_clear(
    kind: Kind, kind_state: KindState, violated_since: ViolatedSince, time: float, value: float
) -> tuple[KindState | None, Change | None]:
    """Evaluate a value for a kind of alarm whose episode was cleared.

    Return the new state, and the change of the episode. If a violation starts soon after the end of the episode, the
    episode is reopened when the delay of the limit is over. Until then nothing changes.
    """
    episode = kind_state.episode
    can_reopen = episode is not None and _can_reopen(episode, kind.limits, time)
    if violated_since[0] is None:
        return (KindState(episode, violated_since) if can_reopen else None), None
    if episode is None or (kind_state.violated_since[0] is None and not can_reopen):
        return _start_episode(kind, time, value)
    return _apply_due_or(None, KindState(_with_value(kind.name, episode, value), violated_since), kind.limits, time)


def _can_reopen(episode: Episode, limits: Limits, time: float) -> bool:
    """Return whether a violation at `time` reopens a cleared episode.

    A violation before the end of the episode does not reopen it. The end may be in the future: if a sensor's clock was
    ahead, the episode was raised at a time in the future, and an episode never ends before it was raised.
    """
    cleared = episode.cleared
    if cleared is None:
        return False
    return cleared - RESOLUTION_S <= time <= cleared + limits[episode.level].reopen + RESOLUTION_S


def _is_back_to_normal(kind: Kind, episode: Episode, value: float) -> bool:
    violated = kind.limits[: episode.level + 1]
    return not any(_violates(kind.name, limit, value, limit.hysteresis) for limit in violated)


def _with_value(kind: str, episode: Episode, value: float) -> Episode:
    peak = _worse_value(kind, episode.peak, value)
    if value == episode.value and peak == episode.peak:
        return episode
    return msgspec.structs.replace(episode, value=value, peak=peak)


def _apply_due_or(
    otherwise: str | None, kind_state: KindState, limits: Limits, time: float
) -> tuple[KindState, Change | None]:
    """Raise, worsen, reopen or clear an episode if this is due. Return the new state and the change.

    If nothing is due, return a change of the type `otherwise`. Return None as the change if `otherwise` is None or
    there is no episode.
    """
    kind_state, change = _apply_due(kind_state, limits, time)
    if change is None and otherwise is not None and kind_state.episode is not None:
        change = Change(otherwise, time, kind_state.episode)
    return kind_state, change


def _apply_due(kind_state: KindState, limits: Limits, time: float) -> tuple[KindState, Change | None]:
    """Raise, worsen, reopen or clear an episode if this is due. Return the new state and the change.

    The change is None if nothing is due.
    """
    episode = kind_state.episode
    if episode is None or _next_due(kind_state, limits) > time + RESOLUTION_S:
        return kind_state, None
    if kind_state.normal_since is not None:
        # An episode must not end before it was raised. It may have been raised by a sensor clock that was ahead.
        what, episode = CLEARED, msgspec.structs.replace(episode, cleared=max(time, episode.raised or time))
    else:
        due_levels = (level for level, due in _levels_to_raise(kind_state, limits) if due <= time + RESOLUTION_S)
        what = RAISED if episode.raised is None else WORSENED if episode.cleared is None else REOPENED
        raised = time if episode.raised is None else episode.raised
        level = max(episode.level, *due_levels)
        episode = msgspec.structs.replace(episode, level=level, raised=raised, cleared=None)
    return KindState(episode, kind_state.violated_since), Change(what, time, episode)


def _next_due(kind_state: KindState, limits: Limits) -> float:
    """Return the time of the next change of an episode if the value stays the same.

    Return infinity if the episode then never changes.
    """
    if kind_state.episode is None:
        return math.inf
    if kind_state.normal_since is not None:
        return kind_state.normal_since + limits[kind_state.episode.level].clear_delay
    return min((due for _, due in _levels_to_raise(kind_state, limits)), default=math.inf)


def _levels_to_raise(kind_state: KindState, limits: Limits) -> Iterator[tuple[int, float]]:
    """Yield two values for each violated limit: its index in `limits`, and the time at which its delay is over.

    Leave out limits for which the alarm is already raised.
    """
    episode = kind_state.episode
    raised_level = episode.level if episode is not None and episode.state == ACTIVE else -1
    for level, (since, limit) in enumerate(zip(kind_state.violated_since, limits, strict=True)):
        if since is not None and level > raised_level:
            yield level, since + limit.delay
