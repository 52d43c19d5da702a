"""The judge: readings and the passing of time in, changes of alarm episodes out.

Each sensor has its own state. The caller passes the sensor's readings and, as time passes, the time up to which all
readings have come. It must not pass a reading whose time lies ahead of the clock: that sensor's clock is wrong.
Readings are judged by their own time: a late one, or one whose value was corrected, is put in its place, and the
differences are returned as changes. A duplicate changes nothing. A reading older than the history is not judged.
"""

import math
import struct
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import msgspec

from alarms.late_readings import differences, evaluate
from alarms.model import CLEARED, DISMISSED, NO_DATA, REFRESHED, Change, Episode, Reading
from alarms.no_data import clear_no_data, raise_no_data
from alarms.rules import Terms
from alarms.state_machine import Evaluation, KindState, Limits, Origin, advance, apply_reading
from ask.answers import Id
from ask.readings import Key
from ask.sensors import Sensor

HISTORY_READINGS = 64
"""The history keeps at least this many readings, and up to twice as many: an hour of one reading a minute."""
MAX_LATE_S = 7 * 86_400
"""A reading this much older than the newest is not judged, however short the history is."""

_PACKED_READING = struct.Struct("<ddq")
"""Time, value, rank: a history as bytes takes a tenth of the memory of one as objects."""
_MAX_HISTORY_BYTES = 2 * HISTORY_READINGS * _PACKED_READING.size

Order = tuple[float, int]
"""Time and rank of a reading."""
NEVER: Order = (-math.inf, 0)


class State(msgspec.Struct, frozen=True, array_like=True):
    """State of one sensor. A snapshot is made of it with `msgspec.msgpack.encode`.

    `fingerprint`: that of the terms it was last judged by. `base`, `start`: the evaluation after the readings before
    the history, and the last of those readings. `evaluation`, `end`: the same after all readings, at the time `now`.
    `no_data`: the state of the no-data alarm, which depends on when readings arrive and so is no part of `evaluation`.
    """

    store_house_id: Id
    key: Key
    fingerprint: int | None = None
    base: Evaluation = Evaluation()
    start: Order = NEVER
    history: bytes = b""
    evaluation: Evaluation = Evaluation()
    end: Order = NEVER
    now: float = -math.inf
    no_data: KindState | None = None

    @property
    def origin(self) -> Origin:
        """The storehouse and the sensor of its episodes."""
        return self.store_house_id, self.key


def initial_state(sensor: Sensor) -> State:
    """Return the state of a sensor that has sent nothing yet."""
    return State(sensor.store_house_id, sensor.key)


def judge(terms: Terms, state: State, event: Reading | float) -> tuple[State, list[Change]]:
    """Judge a reading; or that it is this time now, and all readings up to it have come."""
    if state.fingerprint != terms.fingerprint:
        time = event.time if isinstance(event, Reading) else event
        state, changes = _apply_terms(terms, state, time)
        state, new_changes = judge(terms, state, event)
        return state, changes + new_changes
    if not isinstance(event, Reading):
        return _advance(terms, state, event)
    if event.value is None and not terms.holds:
        return state, []
    order = (event.time, event.rank)
    if order <= state.end or (terms.holds and event.time < state.now):
        return _insert_late(terms, state, event)
    return _append_newest(terms, state, event)


def set_clock_back(state: State, time: float) -> State:
    """Continue from `time`, after the clock was set back from a later one: open episodes stay open.

    Readings of that later time do not block those that come; how long a limit has been violated, or kept, counts from
    `time` on.
    """
    kind_states = {
        kind: KindState(
            kind_state.episode,
            tuple(None if since is None else min(since, time) for since in kind_state.violated_since),
            None if kind_state.normal_since is None else min(kind_state.normal_since, time),
        )
        for kind, kind_state in state.evaluation.kind_states.items()
    }
    last, unknown_since = state.evaluation.time, state.evaluation.unknown_since
    evaluation = Evaluation(
        None if last is None else min(last, time),
        state.evaluation.value,
        kind_states,
        unknown_since=None if unknown_since is None else min(unknown_since, time),
    )
    end, now = min(state.end, (time, 0)), min(state.now, time)
    return _without_history(msgspec.structs.replace(state, evaluation=evaluation, end=end, now=now))


def adopt(state: State, episode: Episode) -> State:
    """Return the state with an open or pending episode that the database has and the state lacks.

    The readings up to its start were judged; they are not judged again.
    """
    violated_since = tuple(episode.since if level <= episode.level else None for level in range(len(episode.limits)))
    end = max(state.end, (episode.since, sys.maxsize))
    kind_state = KindState(episode, violated_since)
    return _with_kind_state(msgspec.structs.replace(state, end=end), episode.kind, kind_state)


def close(terms: Terms, state: State, kind: str, time: float) -> tuple[State, list[Change]]:
    """Apply that the episode of this kind was closed by hand at `time`: nothing is raised until all is normal again.

    Later readings may have been judged already, as part of that episode: a violation after a return to normal is
    another episode.
    """
    now = max(state.now, time)
    if kind == NO_DATA or state.fingerprint != terms.fingerprint:  # by other terms nothing is judged again
        kind_state = state.no_data if kind == NO_DATA else state.evaluation.kind_states.get(kind)
        return _with_kind_state(msgspec.structs.replace(state, now=now), kind, _closed(kind_state)), []
    readings = list(_unpack(state.history))
    index = bisect_right(readings, time, key=lambda reading: reading.time)
    before = evaluate(terms, state.origin, state.base, readings[:index], min(state.now, time)).evaluation
    base = _evaluation_with(before, kind, _closed(before.kind_states.get(kind)))
    after = evaluate(terms, state.origin, base, readings[index:], state.now)
    start = (readings[index - 1].time, readings[index - 1].rank) if index else state.start
    history = b"".join(map(_pack, readings[index:]))
    state = msgspec.structs.replace(
        state, base=base, start=start, history=history, evaluation=after.evaluation, now=now
    )
    return state, [change for change in after.changes if change.episode.kind == kind]


def _closed(kind_state: KindState | None) -> KindState | None:
    """Return the state of a kind after its episode was closed by hand; None where all is normal already."""
    is_normal = kind_state is None or (kind_state.episode is not None and kind_state.episode.cleared is not None)
    return None if is_normal else KindState(None)


def _with_kind_state(state: State, kind: str, kind_state: KindState | None) -> State:
    if kind == NO_DATA:
        return _without_history(msgspec.structs.replace(state, no_data=kind_state))
    evaluation = _evaluation_with(state.evaluation, kind, kind_state)
    return _without_history(msgspec.structs.replace(state, evaluation=evaluation))


def _evaluation_with(evaluation: Evaluation, kind: str, kind_state: KindState | None) -> Evaluation:
    """Return the evaluation with this state of a kind; None: it is normal."""
    others = {name: other for name, other in evaluation.kind_states.items() if name != kind}
    return msgspec.structs.replace(
        evaluation, kind_states=others if kind_state is None else {**others, kind: kind_state}
    )


def _without_history(state: State) -> State:
    """Drop the history: episodes stay as they are, and the terms are applied anew."""
    return msgspec.structs.replace(state, fingerprint=None, base=state.evaluation, start=state.end, history=b"")


def _apply_terms(terms: Terms, state: State, time: float) -> tuple[State, list[Change]]:
    """Judge by other terms from `time` on: open episodes stay open, by the new limits, if there still are any."""
    changes = []
    kind_states = {}
    for kind, kind_state in state.evaluation.kind_states.items():
        new_state, change = _with_new_limits(kind_state, terms.of(kind), time)
        if new_state is not None:
            kind_states[kind] = new_state
        if change is not None:
            changes.append(change)
    no_data = state.no_data
    if no_data is not None:
        no_data, change = _with_new_limits(no_data, terms.no_data, time)
        if change is not None:
            changes.append(change)
    evaluation = msgspec.structs.replace(state.evaluation, kind_states=kind_states)
    if (
        terms.holds
        and evaluation.time is not None
        and evaluation.unknown_since is None
        and time <= evaluation.time + terms.no_data_after_s
    ):
        # The value that holds is judged now: the next reading may be long in coming.
        held = Reading(max(time, evaluation.time), evaluation.value)
        judged, new_changes = apply_reading(terms, state.origin, evaluation, held)
        evaluation = msgspec.structs.replace(judged, time=evaluation.time)
        changes += new_changes
    state = _without_history(msgspec.structs.replace(state, evaluation=evaluation, no_data=no_data))
    return msgspec.structs.replace(state, fingerprint=terms.fingerprint), changes


def _with_new_limits(kind_state: KindState, limits: Limits, time: float) -> tuple[KindState | None, Change | None]:
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
    violated_since = (*kind_state.violated_since, *(None for _ in limits))[: len(limits)]
    episode = msgspec.structs.replace(episode, limits=limits, level=min(episode.level, len(limits) - 1))
    change = Change(REFRESHED, time, episode) if episode.cleared is None else None
    return KindState(episode, violated_since, kind_state.normal_since), change


def _advance(terms: Terms, state: State, now: float) -> tuple[State, list[Change]]:
    changes: list[Change] = []
    evaluation, no_data = state.evaluation, state.no_data
    if terms.holds and evaluation.kind_states:
        evaluation, changes = advance(terms, evaluation, now)
    if evaluation.time is not None and evaluation.time + terms.no_data_after_s <= now:
        no_data, new_changes = raise_no_data(state.origin, terms.no_data, no_data, evaluation.time)
        changes += new_changes
    if not changes and no_data is None:
        return state, changes
    return msgspec.structs.replace(state, evaluation=evaluation, no_data=no_data, now=max(state.now, now)), changes


def _append_newest(terms: Terms, state: State, reading: Reading) -> tuple[State, list[Change]]:
    """Judge a reading that is the newest."""
    time, value, rank = reading
    evaluation, no_data = state.evaluation, state.no_data
    changes: list[Change] = []
    no_gap = no_data is None and (evaluation.time is None or time - evaluation.time <= terms.no_data_after_s)
    lowest, highest = terms.normal_range
    if no_gap and value is not None and not evaluation.kind_states and lowest <= value <= highest:
        evaluation = Evaluation(time, value)
    else:
        evaluation, changes = apply_reading(terms, state.origin, evaluation, reading)
        no_data, no_data_changes = _update_no_data(terms, state, evaluation)
        changes = no_data_changes + changes
    history = state.history + _pack(reading)
    # Built at once and by position, which is fastest: this is done for each reading.
    state = State(
        state.store_house_id,
        state.key,
        state.fingerprint,
        state.base,
        state.start,
        history,
        evaluation,
        (time, rank),
        state.now,
        no_data,
    )
    return (state if len(history) < _MAX_HISTORY_BYTES else _with_short_history(terms, state)), changes


def _update_no_data(terms: Terms, state: State, evaluation: Evaluation) -> tuple[KindState | None, list[Change]]:
    """Return the state of the no-data alarm after a reading; in a gap that was not reported yet, it is raised first."""
    last, time = state.evaluation.time, evaluation.time
    if time is None or time == last or (last is not None and time < last):
        return state.no_data, []
    no_data = state.no_data
    changes: list[Change] = []
    if last is not None and time - last > terms.no_data_after_s:
        no_data, changes = raise_no_data(state.origin, terms.no_data, no_data, last)
    no_data, clear_changes = clear_no_data(terms.no_data, no_data, time, state.now)
    return no_data, changes + clear_changes


def _with_short_history(terms: Terms, state: State) -> State:
    """Move the older half of the history into `base`."""
    older, newer = state.history[: _MAX_HISTORY_BYTES // 2], state.history[_MAX_HISTORY_BYTES // 2 :]
    readings = list(_unpack(older))
    base = state.base
    for reading in readings:
        base, _ = apply_reading(terms, state.origin, base, reading)
    start = (readings[-1].time, readings[-1].rank)
    return msgspec.structs.replace(state, base=base, start=start, history=newer)


def _pack(reading: Reading) -> bytes:
    time, value, rank = reading
    return _PACKED_READING.pack(time, math.nan if value is None else value, rank)


def _unpack(history: bytes) -> Iterator[Reading]:
    for time, value, rank in _PACKED_READING.iter_unpack(history):
        yield Reading(time, None if math.isnan(value) else value, rank)


def _insert_late(terms: Terms, state: State, reading: Reading) -> tuple[State, list[Change]]:
    """Judge a reading that came after others of the same time or later."""
    order = (reading.time, reading.rank)
    if order <= state.start or reading.time < state.end[0] - MAX_LATE_S:
        return state, []
    readings = list(_unpack(state.history))
    index = bisect_left(readings, order, key=lambda other: (other.time, other.rank))
    present = readings[index : index + 1]
    is_present = bool(present) and (present[0].time, present[0].rank) == order
    if is_present and present[0].value == reading.value:
        return state, []
    before = evaluate(terms, state.origin, state.base, readings, state.now)
    readings[index : index + is_present] = [reading]
    after = evaluate(terms, state.origin, state.base, readings, state.now)
    no_data, no_data_changes = _update_no_data(terms, state, after.evaluation)
    history = b"".join(map(_pack, readings))
    state = msgspec.structs.replace(
        state, history=history, evaluation=after.evaluation, end=max(state.end, order), no_data=no_data
    )
    if len(history) >= _MAX_HISTORY_BYTES:
        state = _with_short_history(terms, state)
    return state, no_data_changes + differences(before.episodes, after, reading.time)
