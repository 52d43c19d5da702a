"""Properties of the alarm evaluation (the judge) that hold for all readings, in any order of arrival."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alarms.judge import State, close, initial_state, judge
from alarms.model import (
    ACTIVE,
    CLEARED,
    DISMISSED,
    HIGH,
    LOW,
    NO_DATA,
    PENDING,
    RAISED,
    RATE,
    REOPENED,
    SWITCH,
    WITHDRAWN,
    WORSENED,
    Change,
    Episode,
    Limit,
    Reading,
)
from alarms.rules import Terms
from ask.sensors import Sensor

MINUTE = 60.0
QUICK = settings(derandomize=True, max_examples=200)

SPANS = st.sampled_from([0.0, MINUTE, 3 * MINUTE, 10 * MINUTE])
VALUES = st.one_of(st.none(), *[st.sampled_from([n / 2]) for n in range(-2, 20)])


def limits(*at: float, rate: bool = False) -> st.SearchStrategy[tuple[Limit, ...]]:
    terms_of_limit = st.tuples(SPANS, SPANS, st.sampled_from([0.0, 0.5, 2.0]), st.sampled_from([0.0, 5 * MINUTE]))
    return st.tuples(*[terms_of_limit for _ in at]).map(
        lambda terms: tuple(
            Limit(limit, "warning", delay, clear_delay, hysteresis, reopen, 5 * MINUTE if rate else 0.0)
            for limit, (delay, clear_delay, hysteresis, reopen) in zip(at, terms, strict=True)
        )
    )


@st.composite
def terms(draw: st.DrawFn, *, no_data: bool = True) -> Terms:
    """Draw random limits of a sensor. The limits of values are near 0 and 6. The alarm state of a switch is 1."""
    holds = draw(st.booleans())
    return Terms(
        high=draw(st.one_of(st.just(()), limits(6.0), limits(5.0, 8.0))),
        low=draw(st.one_of(st.just(()), limits(0.0))),
        rate=() if holds else draw(st.one_of(st.just(()), limits(4.0, rate=True))),
        switch=draw(st.one_of(st.just(()), limits(1.0))),
        no_data=draw(st.one_of(st.just(()), st.just((Limit(4 * MINUTE, "warning"),)))) if no_data else (),
        holds=holds,
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Reading]:
    """Draw readings in chronological order, mostly one minute apart, with gaps.

    Readings may have the same time. They then differ in `rank`, which gives their order.
    """
    steps = draw(st.lists(st.tuples(st.sampled_from([0, 1, 1, 1, 1, 1, 2, 9]), VALUES), max_size=40))
    time, readings = 1000 * MINUTE, []
    for rank, (minutes, value) in enumerate(steps):
        time += minutes * MINUTE
        readings.append(Reading(time, value, rank))
    return readings


SENSOR = Sensor(1, 7, "T", "temperature", "", MINUTE, (1, None))
Told = dict[tuple[str, float], Episode]


def run(terms: Terms, state: State, events: Sequence[Reading | float], told: Told) -> tuple[State, list[Change]]:
    """Evaluate the events. Return two results: the new state of the judge and all changes.

    Apply each change to `told`, as the database does. At most one episode of each kind is open.
    """
    said = []
    for event in events:
        state, changes = judge(terms, state, event)
        for change in changes:
            keep(told, change)
        said += changes
    return state, said


def keep(told: Told, change: Change) -> None:
    what, _, episode = change
    identity = episode.kind, episode.since
    before = told.get(identity)
    match what:
        case "dismissed":
            assert before is not None
            assert before.state == PENDING
        case "withdrawn":
            assert before is not None
            assert before.state != PENDING
        case "pending":
            assert before is None
            assert episode.state == PENDING
        case "raised":
            assert before is None or before.state == PENDING
        case "cleared":
            assert before is None or before.cleared is None
        case "reopened":
            assert before is not None
            assert before.cleared is not None
            assert episode.state == ACTIVE
        case "worsened":
            assert before is not None
            assert episode.level > before.level
        case _:
            assert before is not None
    if what in (DISMISSED, WITHDRAWN):
        del told[identity]
    else:
        told[identity] = episode
    opened = [each for (kind, _), each in told.items() if kind == episode.kind and each.cleared is None]
    assert len(opened) <= 1


def by_values(told: Told) -> Told:
    return {identity: episode for identity, episode in told.items() if identity[0] != NO_DATA}


@pytest.mark.slow
@QUICK
@given(terms(), histories(), st.randoms(use_true_random=False))
def test_the_order_of_late_and_duplicate_readings_changes_nothing(
    terms: Terms, history: list[Reading], random: Any
) -> None:
    in_order: Told = {}
    run(terms, initial_state(SENSOR), history, in_order)
    shuffled = history + random.choices(history, k=5) if history else []
    random.shuffle(shuffled)
    as_they_came: Told = {}
    run(terms, initial_state(SENSOR), shuffled, as_they_came)
    assert by_values(as_they_came) == by_values(in_order)


@pytest.mark.slow
@QUICK
@given(terms(no_data=False), histories(), st.lists(st.integers(0, 40)), st.randoms(use_true_random=False))
def test_the_order_changes_nothing_when_time_passes_in_between(
    terms: Terms, history: list[Reading], ticks: list[int], random: Any
) -> None:
    end = history[-1].time + 60 * MINUTE if history else 0.0
    in_order: Told = {}
    run(terms, initial_state(SENSOR), [*history, end], in_order)
    events: list[Reading | float] = [*history, *(1000 * MINUTE + tick * MINUTE for tick in ticks if history)]
    random.shuffle(events)
    as_they_came: Told = {}
    run(terms, initial_state(SENSOR), [*events, end], as_they_came)
    assert as_they_came == in_order


@pytest.mark.slow
@QUICK
@given(terms(), histories(), st.data())
def test_judging_again_from_a_snapshot_repeats_the_same_changes(
    terms: Terms, history: list[Reading], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(history)))
    early, _ = run(terms, initial_state(SENSOR), history[:at], {})
    state, said = early, []
    for reading in history[at:]:
        state, changes = judge(terms, state, reading)
        said += changes
    snapshot = msgspec.msgpack.encode(early)
    restored, said_again = msgspec.msgpack.decode(snapshot, type=State), []
    for reading in history[max(0, at - 5) :]:
        restored, changes = judge(terms, restored, reading)
        said_again += changes
    assert (restored, said_again) == (state, said)


def plain(terms: Terms) -> Terms:
    """Return the same limits without delays and hysteresis. Cleared episodes are not reopened with these limits."""

    def alone(limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
        return tuple(Limit(each.limit, each.severity, reopen=0.0, within=each.within) for each in limits)

    kinds = {kind: alone(terms.of(kind)) for kind in (HIGH, LOW, RATE, SWITCH)}
    return msgspec.structs.replace(terms, **kinds)


@pytest.mark.slow
@QUICK
@given(terms(), histories())
def test_hysteresis_and_delays_raise_no_additional_alarm(terms: Terms, history: list[Reading]) -> None:
    end = history[-1].time + 60 * MINUTE if history else 0.0
    _, said = run(terms, initial_state(SENSOR), [*history, end], {})
    bare: Told = {}
    run(plain(terms), initial_state(SENSOR), [*history, end], bare)
    for what, time, episode in said:
        if what in (RAISED, WORSENED, REOPENED) and episode.kind != NO_DATA:
            assert any(
                each.kind == episode.kind and each.since <= time and (each.cleared is None or time <= each.cleared)
                for each in bare.values()
            )


@pytest.mark.slow
@QUICK
@given(terms(), histories(), st.lists(st.tuples(st.integers(0, 500), st.booleans())))
def test_a_gap_never_clears_an_alarm(terms: Terms, history: list[Reading], gap: list[tuple[int, bool]]) -> None:
    told: Told = {}
    state, _ = run(terms, initial_state(SENSOR), history, told)
    before = by_values(told)
    start = history[-1].time if history else 0.0
    last = next((each.value for each in reversed(history) if each.value is not None), None)
    times = sorted((start + minutes * MINUTE, fault) for minutes, fault in gap)
    events = [Reading(time, None, 100) if fault else time for time, fault in times]
    _, said = run(terms, state, events, told)
    cleared = [change for change in said if change.what == CLEARED and change.episode.kind != NO_DATA]
    if terms.holds:
        # If the sensor holds its value, the value may have been within the limits for the whole clear delay.
        assert all(not out(change.episode, last) for change in cleared)
    else:
        assert by_values(told) == before


def out(episode: Episode, value: float | None) -> bool:
    if value is None:
        return True
    if episode.kind == HIGH:
        return value > episode.limits[0].limit
    if episode.kind == LOW:
        return value < episode.limits[0].limit
    return value != 0


@pytest.mark.slow
@QUICK
@given(terms(no_data=False), histories(), st.sampled_from([HIGH, LOW, RATE, SWITCH]), st.data())
def test_a_close_by_hand_learned_later_gives_the_same_changes(
    terms: Terms, history: list[Reading], kind: str, data: st.DataObject
) -> None:
    moments = sorted({reading.time for reading in history})
    time = data.draw(st.sampled_from(moments or [0.0]))
    before = [reading for reading in history if reading.time <= time]
    state, _ = close(terms, run(terms, initial_state(SENSOR), before, {})[0], kind, time)
    at_once: list[Change] = []
    for reading in history[len(before) :]:
        state, changes = judge(terms, state, reading)
        at_once += changes
    later, said = close(terms, run(terms, initial_state(SENSOR), history, {})[0], kind, time)
    assert said == [change for change in at_once if change.episode.kind == kind]
    assert later.evaluation == state.evaluation
