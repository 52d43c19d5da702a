"""The judge: readings and the passing of time in, what has happened to episodes out.

Each sensor has a state of its own. Whoever judges sends it the sensor's readings and, as time passes, the time up to
which all readings have come; a reading whose time lies ahead of the clock is not to be sent, since its clock is wrong.
Readings are judged by their own time: one that comes late is put in its place, and what this changes is told. So is
one whose value was corrected; one that came before changes nothing. What is older than the history is not judged.
"""

import math
import struct
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import msgspec

from alarms.late_readings import differences, outcome
from alarms.model import CLEARED, DISMISSED, NO_DATA, REFRESHED, Change, Episode, Reading
from alarms.no_data import hear, miss
from alarms.rules import Terms
from alarms.state_machine import Evaluation, KindState, Limits, Origin, hold, take
from ask.answers import Id
from ask.readings import Key
from ask.sensors import Sensor

KEPT = 64
"""Readings that are kept at least, and up to twice as many: of a sensor that reads each minute, an hour."""
LONGEST_S = 7 * 86_400
"""A reading so much older than the newest is not judged, however few are kept."""

_PACKED = struct.Struct("<ddq")
"""Time, value, rank: a history in one piece costs a tenth of one in objects."""
_MOST_BYTES = 2 * KEPT * _PACKED.size

Order = tuple[float, int]
NEVER: Order = (-math.inf, 0)


class State(msgspec.Struct, frozen=True, array_like=True):
    """All that is known of a sensor. A snapshot of it is `msgspec.msgpack.encode`'s.

    `mark`: that of the terms it was last judged by. `base`, `start`: what is known after the readings before the
    history, and the last of them. `fold`, `end`: the same after all readings, and at the time `now`. `silence`: where
    no data stands, which is about when readings come and so not part of the fold.
    """

    store_house_id: Id
    key: Key
    mark: int | None = None
    base: Evaluation = Evaluation()
    start: Order = NEVER
    history: bytes = b""
    evaluation: Evaluation = Evaluation()
    end: Order = NEVER
    now: float = -math.inf
    silence: KindState | None = None

    @property
    def origin(self) -> Origin:
        """What its episodes are episodes of."""
        return self.store_house_id, self.key


def begin(sensor: Sensor) -> State:
    """Return the state of a sensor of which nothing is known."""
    return State(sensor.store_house_id, sensor.key)


def judge(terms: Terms, state: State, event: Reading | float) -> tuple[State, list[Change]]:
    """Judge a reading, or that it is this time now and all readings up to it have come."""
    if state.mark != terms.mark:
        time = event.time if isinstance(event, Reading) else event
        state, changes = _under(terms, state, time)
        state, more = judge(terms, state, event)
        return state, changes + more
    if not isinstance(event, Reading):
        return _pass(terms, state, event)
    if event.value is None and not terms.holds:
        return state, []
    order = (event.time, event.rank)
    if order <= state.end or (terms.holds and event.time < state.now):
        return _insert(terms, state, event)
    return _append(terms, state, event)


def set_back(state: State, time: float) -> State:
    """Go on from `time`, after the clock was set back from a later one: what is open stays open.

    Readings of that later time are not in the way of those that come; how long a limit has been broken, or kept, counts
    from `time` on.
    """
    kind_states = {
        kind: KindState(
            kind_state.episode,
            tuple(None if begin is None else min(begin, time) for begin in kind_state.begins),
            None if kind_state.back is None else min(kind_state.back, time),
        )
        for kind, kind_state in state.evaluation.kind_states.items()
    }
    last, unknown = state.evaluation.time, state.evaluation.unknown
    evaluation = Evaluation(
        None if last is None else min(last, time),
        state.evaluation.value,
        kind_states,
        unknown=None if unknown is None else min(unknown, time),
    )
    end, now = min(state.end, (time, 0)), min(state.now, time)
    return _rebased(msgspec.structs.replace(state, evaluation=evaluation, end=end, now=now))


def adopt(state: State, episode: Episode) -> State:
    """Return the state with an open or pending episode of this sensor that the database knows, and the state does not.

    What is adopted was judged: readings up to its beginning are not judged again.
    """
    begins = tuple(episode.since if level <= episode.level else None for level in range(len(episode.limits)))
    end = max(state.end, (episode.since, sys.maxsize))
    return _replaced(msgspec.structs.replace(state, end=end), episode.kind, KindState(episode, begins))


def close(terms: Terms, state: State, kind: str, time: float) -> tuple[State, list[Change]]:
    """Go on after the episode of this kind was closed by hand at `time`: quiet until all is normal again.

    What came later may have been judged already, as of that episode: a breach since it was normal again is another.
    """
    now = max(state.now, time)
    if kind == NO_DATA or state.mark != terms.mark:  # by other terms nothing is judged again
        kind_state = state.silence if kind == NO_DATA else state.evaluation.kind_states.get(kind)
        return _replaced(msgspec.structs.replace(state, now=now), kind, _closed(kind_state)), []
    readings = list(_unpacked(state.history))
    place = bisect_right(readings, time, key=lambda each: each.time)
    before = outcome(terms, state.origin, state.base, readings[:place], min(state.now, time)).evaluation
    base = _with(before, kind, _closed(before.kind_states.get(kind)))
    after = outcome(terms, state.origin, base, readings[place:], state.now)
    start = (readings[place - 1].time, readings[place - 1].rank) if place else state.start
    history = b"".join(map(_packed, readings[place:]))
    state = msgspec.structs.replace(
        state, base=base, start=start, history=history, evaluation=after.evaluation, now=now
    )
    return state, [change for change in after.changes if change.episode.kind == kind]


def _closed(kind_state: KindState | None) -> KindState | None:
    """What is left of a track whose episode was closed by hand: nothing, where all is normal already."""
    is_over = kind_state is None or (kind_state.episode is not None and kind_state.episode.cleared is not None)
    return None if is_over else KindState(None)


def _replaced(state: State, kind: str, kind_state: KindState | None) -> State:
    if kind == NO_DATA:
        return _rebased(msgspec.structs.replace(state, silence=kind_state))
    return _rebased(msgspec.structs.replace(state, evaluation=_with(state.evaluation, kind, kind_state)))


def _with(evaluation: Evaluation, kind: str, kind_state: KindState | None) -> Evaluation:
    """Return the fold with this track of a kind; None: it is normal."""
    kind_states = {each: other for each, other in evaluation.kind_states.items() if each != kind}
    return msgspec.structs.replace(
        evaluation, kind_states=kind_states if kind_state is None else {**kind_states, kind: kind_state}
    )


def _rebased(state: State) -> State:
    """Forget the history: what was judged stays as it is, and the terms are compared anew."""
    return msgspec.structs.replace(state, mark=None, base=state.evaluation, start=state.end, history=b"")


def _under(terms: Terms, state: State, time: float) -> tuple[State, list[Change]]:
    """Go on under other terms from `time` on: what is open stays open, by the new limits, if there still are any."""
    changes = []
    kind_states = {}
    for kind, kind_state in state.evaluation.kind_states.items():
        renewed, change = _renewed(kind_state, terms.of(kind), time)
        if renewed is not None:
            kind_states[kind] = renewed
        if change is not None:
            changes.append(change)
    silence = state.silence
    if silence is not None:
        silence, change = _renewed(silence, terms.no_data, time)
        if change is not None:
            changes.append(change)
    evaluation = msgspec.structs.replace(state.evaluation, kind_states=kind_states)
    if (
        terms.holds
        and evaluation.time is not None
        and evaluation.unknown is None
        and time <= evaluation.time + terms.no_data_after_s
    ):
        # The next reading may be long in coming.
        judged, more = take(terms, state.origin, evaluation, Reading(max(time, evaluation.time), evaluation.value))
        evaluation = msgspec.structs.replace(judged, time=evaluation.time)
        changes += more
    state = _rebased(msgspec.structs.replace(state, evaluation=evaluation, silence=silence))
    return msgspec.structs.replace(state, mark=terms.mark), changes


def _renewed(kind_state: KindState, limits: Limits, time: float) -> tuple[KindState | None, Change | None]:
    episode = kind_state.episode
    if not limits:
        if episode is None or episode.cleared is not None:
            return None, None
        if episode.raised is None:
            return None, Change(DISMISSED, time, episode)
        ended = msgspec.structs.replace(episode, cleared=max(time, episode.raised))
        return None, Change(CLEARED, time, ended)
    if episode is None or episode.limits == limits:
        return kind_state, None
    begins = (*kind_state.begins, *(None for _ in limits))[: len(limits)]
    episode = msgspec.structs.replace(episode, limits=limits, level=min(episode.level, len(limits) - 1))
    return KindState(episode, begins, kind_state.back), Change(
        REFRESHED, time, episode
    ) if episode.cleared is None else None


def _pass(terms: Terms, state: State, now: float) -> tuple[State, list[Change]]:
    changes: list[Change] = []
    evaluation, silence = state.evaluation, state.silence
    if terms.holds and evaluation.kind_states:
        evaluation, changes = hold(terms, evaluation, now)
    if evaluation.time is not None and evaluation.time + terms.no_data_after_s <= now:
        silence, missed = miss(state.origin, terms.no_data, silence, evaluation.time)
        changes += missed
    if not changes and silence is None:
        return state, changes
    return msgspec.structs.replace(state, evaluation=evaluation, silence=silence, now=max(state.now, now)), changes


def _append(terms: Terms, state: State, reading: Reading) -> tuple[State, list[Change]]:
    """Judge a reading that is the newest."""
    time, value, rank = reading
    evaluation, silence = state.evaluation, state.silence
    changes: list[Change] = []
    quiet = silence is None and (evaluation.time is None or time - evaluation.time <= terms.no_data_after_s)
    lowest, highest = terms.calm
    if quiet and value is not None and not evaluation.kind_states and lowest <= value <= highest:
        evaluation = Evaluation(time, value)
    else:
        evaluation, changes = take(terms, state.origin, evaluation, reading)
        silence, more = _heard(terms, state, evaluation)
        changes = more + changes
    history = state.history + _packed(reading)
    # In one piece and by position: this is done for each reading.
    state = State(
        state.store_house_id,
        state.key,
        state.mark,
        state.base,
        state.start,
        history,
        evaluation,
        (time, rank),
        state.now,
        silence,
    )
    return (state if len(history) < _MOST_BYTES else _cut(terms, state)), changes


def _heard(terms: Terms, state: State, evaluation: Evaluation) -> tuple[KindState | None, list[Change]]:
    """Where no data stands after a reading; in a gap that nobody has told of yet, it was there."""
    last, time = state.evaluation.time, evaluation.time
    if time is None or time == last or (last is not None and time < last):
        return state.silence, []
    silence = state.silence
    changes: list[Change] = []
    if last is not None and time - last > terms.no_data_after_s:
        silence, changes = miss(state.origin, terms.no_data, silence, last)
    silence, more = hear(terms.no_data, silence, time, state.now)
    return silence, changes + more


def _cut(terms: Terms, state: State) -> State:
    """Fold the older half of the history into its base."""
    older, newer = state.history[: _MOST_BYTES // 2], state.history[_MOST_BYTES // 2 :]
    readings = list(_unpacked(older))
    base = state.base
    for reading in readings:
        base, _ = take(terms, state.origin, base, reading)
    start = (readings[-1].time, readings[-1].rank)
    return msgspec.structs.replace(state, base=base, start=start, history=newer)


def _packed(reading: Reading) -> bytes:
    time, value, rank = reading
    return _PACKED.pack(time, math.nan if value is None else value, rank)


def _unpacked(history: bytes) -> Iterator[Reading]:
    for time, value, rank in _PACKED.iter_unpack(history):
        yield Reading(time, None if math.isnan(value) else value, rank)


def _insert(terms: Terms, state: State, reading: Reading) -> tuple[State, list[Change]]:
    """Judge a reading that others of the same time or later came before."""
    order = (reading.time, reading.rank)
    if order <= state.start or reading.time < state.end[0] - LONGEST_S:
        return state, []
    readings = list(_unpacked(state.history))
    place = bisect_left(readings, order, key=lambda each: (each.time, each.rank))
    known = readings[place : place + 1]
    same = bool(known) and (known[0].time, known[0].rank) == order
    if same and known[0].value == reading.value:
        return state, []
    before = outcome(terms, state.origin, state.base, readings, state.now)
    readings[place : place + same] = [reading]
    after = outcome(terms, state.origin, state.base, readings, state.now)
    silence, heard = _heard(terms, state, after.evaluation)
    history = b"".join(map(_packed, readings))
    state = msgspec.structs.replace(
        state, history=history, evaluation=after.evaluation, end=max(state.end, order), silence=silence
    )
    if len(history) >= _MOST_BYTES:
        state = _cut(terms, state)
    return state, heard + differences(before.episodes, after, reading.time)
