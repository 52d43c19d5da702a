"""The judge: evaluates the alarm rules for one sensor and returns the changes of the sensor's alarm episodes.

An alarm episode is a violation of a limit, from start to end. Each sensor has its own state. The caller passes the
sensor's readings and, as time passes, the time up to which all readings have arrived. The caller must not pass a
reading whose time is in the future. Such a reading comes from a sensor with a wrong clock.

The judge evaluates readings in the order of their times. It keeps the newest readings of a sensor as a history. It
inserts a late or corrected reading at its place in this history, and returns the resulting differences as changes. A
duplicate reading changes nothing. Readings that are older than the history are ignored.
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
"""If a sensor's history grows to twice this number of readings, the judge keeps only the newer half.

With one reading a minute, the shortened history still covers at least an hour.
"""
MAX_LATE_S = 7 * 86_400
"""A late reading may be at most this number of seconds older than the sensor's newest reading.

The judge ignores older readings.
"""

_PACKED_READING = struct.Struct("<ddq")
"""Binary format of a reading: time, value and rank. The rank orders readings with the same time.

A history of readings in this format takes a tenth of the memory that Python objects would take.
"""
_MAX_HISTORY_BYTES = 2 * HISTORY_READINGS * _PACKED_READING.size

Order = tuple[float, int]
"""Sort key of a reading: its time and its rank. The rank orders readings with the same time."""
NEVER: Order = (-math.inf, 0)


class State(msgspec.Struct, frozen=True, array_like=True):
    """The judge's state of one sensor. Snapshots store it in the encoding of `msgspec.msgpack.encode`.

    - `fingerprint`: checksum of the limits that were in force at the last evaluation.
    - `history`: the sensor's newest readings, in the binary format `_PACKED_READING`.
    - `base`: the result of evaluating all readings before the history.
    - `start`: the sort key of the newest reading before the history.
    - `evaluation`: the result of evaluating all readings, and also the passing of time up to the time `now`.
    - `end`: the sort key of the newest reading.
    - `no_data`: the state of the no-data alarm. It is not part of `evaluation`, because a no-data alarm depends on when
      readings arrive.
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
        """The storehouse id and the sensor key. Together they identify the sensor of an alarm episode."""
        return self.store_house_id, self.key


def initial_state(sensor: Sensor) -> State:
    """Return the judge's state of a sensor without readings."""
    return State(sensor.store_house_id, sensor.key)


def judge(terms: Terms, state: State, event: Reading | float) -> tuple[State, list[Change]]:
    """Evaluate one event of a sensor. Return the sensor's new state and the changes of its alarm episodes.

    The event is a reading or a time. A time means that all readings up to this time have arrived.
    """
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
    """Return the state of a sensor after the server's clock was set back to `time`. Open episodes stay open.

    The judge then accepts new readings even if they are older than readings that arrived before the clock was set back.
    If a delay started later than `time`, its start is moved to `time`.
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
    """Add an open or pending alarm episode, which is in the database but not in the state. Return the new state.

    The judge then ignores readings up to the start of the episode, because these readings have already been evaluated.
    """
    violated_since = tuple(episode.since if level <= episode.level else None for level in range(len(episode.limits)))
    end = max(state.end, (episode.since, sys.maxsize))
    kind_state = KindState(episode, violated_since)
    return _with_kind_state(msgspec.structs.replace(state, end=end), episode.kind, kind_state)


def close(terms: Terms, state: State, kind: str, time: float) -> tuple[State, list[Change]]:
    """Close the alarm episode of this kind, because a user closed the alarm at `time`.

    Return the sensor's new state and the resulting changes. The judge raises no alarm of this kind until the value is
    back to normal. Readings later than `time` may already have been evaluated as part of the closed episode. These
    readings are evaluated again. They may contain a return to normal and then a violation that starts a new episode.
    """
    now = max(state.now, time)
    if kind == NO_DATA or state.fingerprint != terms.fingerprint:  # new terms do not apply to earlier readings
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
    """Return the state of a kind of alarm after a user closed its episode.

    Return None if the value is already back to normal.
    """
    is_normal = kind_state is None or (kind_state.episode is not None and kind_state.episode.cleared is not None)
    return None if is_normal else KindState(None)


def _with_kind_state(state: State, kind: str, kind_state: KindState | None) -> State:
    if kind == NO_DATA:
        return _without_history(msgspec.structs.replace(state, no_data=kind_state))
    evaluation = _evaluation_with(state.evaluation, kind, kind_state)
    return _without_history(msgspec.structs.replace(state, evaluation=evaluation))


def _evaluation_with(evaluation: Evaluation, kind: str, kind_state: KindState | None) -> Evaluation:
    """Return the evaluation with `kind_state` as the new state of one kind of alarm.

    If `kind_state` is None, this kind of alarm is normal.
    """
    others = {name: other for name, other in evaluation.kind_states.items() if name != kind}
    return msgspec.structs.replace(
        evaluation, kind_states=others if kind_state is None else {**others, kind: kind_state}
    )


def _without_history(state: State) -> State:
    """Return the state without its history of readings.

    At the next event (a reading or a time), the judge then applies the limits again. Episodes do not change.
    """
    return msgspec.structs.replace(state, fingerprint=None, base=state.evaluation, start=state.end, history=b"")


def _apply_terms(terms: Terms, state: State, time: float) -> tuple[State, list[Change]]:
    """Apply new limits (`terms`) from `time` on. Return the sensor's new state and the changes of its episodes.

    An open episode stays open with the new limits of its kind of alarm. If this kind no longer has a limit, the episode
    ends.
    """
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
        # Evaluate the held value now, because the next reading may arrive much later.
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
    """Evaluate a reading that is newer than all earlier readings. Return the new state and the changes of episodes."""
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
    # This code runs for each reading, and one constructor call with positional arguments is the fastest way.
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
    """Return the new state of the no-data alarm after a reading, and the changes of this alarm.

    If the gap before the reading is longer than the no-data limit, and no alarm was raised for this gap, the alarm is
    raised first.
    """
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
    """Return the state with only the newer half of its history. `base` then includes the readings of the older half."""
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
    """Evaluate a late reading: it arrived after a reading with the same or a later time.

    Return the sensor's new state and the changes of its episodes.
    """
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
