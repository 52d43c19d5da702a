"""Readings in the order of their own time become episodes. Late ones are put in their place before (`alarms.judge`)."""

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

EXACT = 9
"""Digits after the point to which values are compared, so that 5 - 0.1 is 4.9."""
TICK_S = 0.001
"""Times are known to the millisecond."""

Limits = tuple[Limit, ...]
Origin = tuple[Id, Key]
"""The storehouse and the sensor that an episode is one of."""
Begins = tuple[float | None, ...]


class Sort(NamedTuple):
    """The alarms of one kind at one sensor, and what they are raised by."""

    origin: Origin
    kind: str
    limits: Limits


class KindState(msgspec.Struct, frozen=True, array_like=True):
    """Where one kind stands that is not simply normal.

    `episode`: pending, open, or cleared so lately that a breach goes on with it; None: closed by hand, and quiet
    until all is normal. `begins`: for each limit the time from which its delay counts, None where it is not broken.
    `back`: the time from which the delay before clearing counts. Time without data moves both on.
    """

    episode: Episode | None
    begins: Begins = ()
    back: float | None = None


class Evaluation(msgspec.Struct, frozen=True, array_like=True):
    """What is known after some readings: the last good one, and each kind that is not simply normal.

    `recent`: the readings in the span of a rate. `unknown`: since when a value that holds is not known any more.
    """

    time: float | None = None
    value: float | None = None
    kind_states: Mapping[str, KindState] = {}
    recent: tuple[tuple[float, float], ...] = ()
    unknown: float | None = None


def take(terms: Terms, origin: Origin, evaluation: Evaluation, reading: Reading) -> tuple[Evaluation, list[Change]]:
    """Take in a reading, later than all before. With a fault a value that holds is not known any more."""
    time, value, _ = reading
    if value is None:
        evaluation, changes = hold(terms, evaluation, time)
        return (
            evaluation if evaluation.unknown is not None else msgspec.structs.replace(evaluation, unknown=time)
        ), changes
    changes = []
    if terms.holds:
        evaluation, changes = hold(terms, evaluation, time)
    uncounted = _uncounted(terms, evaluation, time)
    recent = _recent(terms, evaluation, time, value)
    kind_states = {}
    for kind, limits in terms.judged:
        shown = value if kind != RATE else _change(recent)
        kind_state = evaluation.kind_states.get(kind)
        if kind_state is None and not _beyond(kind, limits[0], shown):
            continue
        if kind_state is not None and uncounted:
            kind_state = _moved_on(kind_state, uncounted)
        kind_state, change = _step(Sort(origin, kind, limits), kind_state, time, shown)
        if kind_state is not None:
            kind_states[kind] = kind_state
        if change is not None:
            changes.append(change)
    return Evaluation(time, value, kind_states, recent), changes


def hold(terms: Terms, evaluation: Evaluation, until: float) -> tuple[Evaluation, list[Change]]:
    """Let time pass for a sensor whose value holds: what falls due happens at its own time."""
    changes = []
    kind_states = dict(evaluation.kind_states)
    known = min(until, _known_until(terms, evaluation))
    while True:
        due, kind = min(
            ((_due(kind_state, terms.of(kind)), kind) for kind, kind_state in kind_states.items()),
            default=(math.inf, ""),
        )
        if due > known:
            break
        kind_states[kind], change = _settle(kind_states[kind], terms.of(kind), due)
        if change is not None:
            changes.append(change)
    return (msgspec.structs.replace(evaluation, kind_states=kind_states) if changes else evaluation), changes


def _known_until(terms: Terms, evaluation: Evaluation) -> float:
    """Until when a value that holds is known."""
    silent = math.inf if evaluation.time is None else evaluation.time + terms.no_data_after_s
    return silent if evaluation.unknown is None else min(silent, evaluation.unknown)


def _uncounted(terms: Terms, evaluation: Evaluation, time: float) -> float:
    """How much of the time since the last good reading was silence, which counts towards no delay."""
    if evaluation.time is None:
        return 0.0
    if terms.holds:
        return max(0.0, time - _known_until(terms, evaluation))
    gap = time - evaluation.time
    return gap if gap > terms.no_data_after_s else 0.0


def _moved_on(kind_state: KindState, by: float) -> KindState:
    begins = tuple(None if begin is None else begin + by for begin in kind_state.begins)
    return KindState(kind_state.episode, begins, None if kind_state.back is None else kind_state.back + by)


def _recent(terms: Terms, evaluation: Evaluation, time: float, value: float) -> tuple[tuple[float, float], ...]:
    if not terms.rate:
        return ()
    start = time - terms.rate[0].within - TICK_S
    return (*(each for each in evaluation.recent if each[0] >= start), (time, value))


def _change(recent: tuple[tuple[float, float], ...]) -> float:
    """The largest change to the newest from any of the others, with its sign."""
    newest = recent[-1][1]
    furthest = max(recent, key=lambda each: abs(newest - each[1]))
    return round(newest - furthest[1], EXACT)


def _beyond(kind: str, limit: Limit, value: float, inward: float = 0.0) -> bool:
    """Whether the value is out of the limit, or not yet so far inside."""
    if kind == HIGH:
        return value > (round(limit.limit - inward, EXACT) if inward else limit.limit)
    if kind == LOW:
        return value < (round(limit.limit + inward, EXACT) if inward else limit.limit)
    if kind == RATE:
        return abs(value) > (round(limit.limit - inward, EXACT) if inward else limit.limit)
    return (value != 0) == (limit.limit != 0)


def _further(kind: str, one: float | None, other: float) -> float:
    """The one further out."""
    if one is None:
        return other
    if kind == LOW:
        return min(one, other)
    return max(one, other, key=abs) if kind == RATE else max(one, other)


def _step(
    sort: Sort, kind_state: KindState | None, time: float, value: float
) -> tuple[KindState | None, Change | None]:
    """Take a reading to one kind that is out of limits, or lately was."""
    kind, limits = sort.kind, sort.limits
    if kind_state is None:
        return _begin(sort, time, value)
    if kind_state.episode is None:
        return (kind_state if _beyond(kind, limits[0], value, limits[0].hysteresis) else None), None
    begins = tuple(
        (time if begin is None else begin) if _beyond(kind, limit, value) else None
        for limit, begin in zip(limits, kind_state.begins, strict=True)
    )
    if kind_state.episode.cleared is not None:
        return _after(sort, kind_state, begins, time, value)
    seen, back = _seen(kind, kind_state.episode, value), None
    if seen.raised is None and begins[0] is None:
        return None, Change(DISMISSED, time, seen)
    if seen.raised is not None and _is_back(sort, seen, value):
        back = time if kind_state.back is None else kind_state.back
    return _settled(KindState(seen, begins, back), limits, time, None if seen == kind_state.episode else REFRESHED)


def _begin(sort: Sort, time: float, value: float) -> tuple[KindState, Change | None]:
    begins = tuple(time if _beyond(sort.kind, limit, value) else None for limit in sort.limits)
    episode = Episode(*sort.origin, sort.kind, time, sort.limits, 0, value, value)
    return _settled(KindState(episode, begins), sort.limits, time, PENDING)


def _after(
    sort: Sort, kind_state: KindState, begins: Begins, time: float, value: float
) -> tuple[KindState | None, Change | None]:
    """Take a reading after the end of an episode: a breach that begins soon goes on with it, once its delay is over.

    Until then there is nothing to tell.
    """
    episode = kind_state.episode
    is_soon = episode is not None and _goes_on_with(episode, sort.limits, time)
    if begins[0] is None:
        return (KindState(episode, begins) if is_soon else None), None
    if episode is None or (kind_state.begins[0] is None and not is_soon):
        return _begin(sort, time, value)
    return _settled(KindState(_seen(sort.kind, episode, value), begins), sort.limits, time, None)


def _goes_on_with(episode: Episode, limits: Limits, time: float) -> bool:
    """Whether a breach at this time goes on with an episode that is over.

    Not where its end lies ahead: no episode ends before it was raised, which may have been by a clock that ran ahead.
    """
    cleared = episode.cleared
    return cleared is not None and cleared - TICK_S <= time <= cleared + limits[episode.level].reopen + TICK_S


def _is_back(sort: Sort, episode: Episode, value: float) -> bool:
    broken = sort.limits[: episode.level + 1]
    return not any(_beyond(sort.kind, limit, value, limit.hysteresis) for limit in broken)


def _seen(kind: str, episode: Episode, value: float) -> Episode:
    peak = _further(kind, episode.peak, value)
    if value == episode.value and peak == episode.peak:
        return episode
    return msgspec.structs.replace(episode, value=value, peak=peak)


def _settled(
    kind_state: KindState, limits: Limits, time: float, otherwise: str | None
) -> tuple[KindState, Change | None]:
    kind_state, change = _settle(kind_state, limits, time)
    if change is None and otherwise is not None and kind_state.episode is not None:
        change = Change(otherwise, time, kind_state.episode)
    return kind_state, change


def _settle(kind_state: KindState, limits: Limits, time: float) -> tuple[KindState, Change | None]:
    """Raise, worsen, reopen or clear, if that is due."""
    episode = kind_state.episode
    if episode is None or _due(kind_state, limits) > time + TICK_S:
        return kind_state, None
    if kind_state.back is not None:
        # Not before it was raised, which may have been by a clock that ran ahead.
        what, episode = CLEARED, msgspec.structs.replace(episode, cleared=max(time, episode.raised or time))
    else:
        ripe = (level for level, due in _dues(kind_state, limits) if due <= time + TICK_S)
        what = RAISED if episode.raised is None else WORSENED if episode.cleared is None else REOPENED
        raised = time if episode.raised is None else episode.raised
        level = max(episode.level, *ripe)
        episode = msgspec.structs.replace(episode, level=level, raised=raised, cleared=None)
    return KindState(episode, kind_state.begins), Change(what, time, episode)


def _due(kind_state: KindState, limits: Limits) -> float:
    """When something happens next if the value stays as it is."""
    if kind_state.episode is None:
        return math.inf
    if kind_state.back is not None:
        return kind_state.back + limits[kind_state.episode.level].clear_delay
    return min((due for _, due in _dues(kind_state, limits)), default=math.inf)


def _dues(kind_state: KindState, limits: Limits) -> Iterator[tuple[int, float]]:
    """The limits that are broken and not yet told of, and when the delay of each is over."""
    told = kind_state.episode.level if kind_state.episode is not None and kind_state.episode.state == ACTIVE else -1
    for level, (begin, limit) in enumerate(zip(kind_state.begins, limits, strict=True)):
        if begin is not None and level > told:
            yield level, begin + limit.delay
