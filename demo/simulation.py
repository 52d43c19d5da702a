"""Simulates the readings of a storehouse. A reading depends only on its time and on a seed, so no state is stored.

All metrics of a room depend on the same few influences, such as the open door. `rooms.Response` contains the effect of
each influence on a metric. The influences are computed once for all sensors of the storehouse.
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import cos, exp, tau

from demo.rooms import Response
from demo.schedule import DAY_S, Schedule, Span, is_within, offset_s
from demo.site import METRICS, SWITCHES, Condition, Sensor, Storehouse

SEED = 1

Series = list[float]
Value = float | None

WARMEST_HOUR = 15
RUNNING = 0.4
"""Fraction of the compressor's cycle during which the compressor runs."""
FADED = 6
"""An event has no more effect `FADED * fall_s` seconds after its end. `fall_s` is the time constant of the decay."""
FAULT_S, FAULTLESS = 900, 0.85
"""Time is divided into periods of `FAULT_S` seconds. A failing sensor has a fault in some of these periods.

It has a fault if the pseudo-random number of the period, from -1 to 1, is above `FAULTLESS`.
"""
DRIFT, DRIFT_S = 4.0, 10 * DAY_S
"""Total drift of a failing sensor before it is calibrated again, and the duration of this drift in seconds."""
LOCATION_SPREAD = 1.5
"""Maximum constant offset of a sensor from the room's value, as a multiple of the measurement noise of the metric."""


def values(storehouse: Storehouse, instants_s: Sequence[int], seed: int = SEED) -> dict[Sensor, list[Value]]:
    """Return the values of each sensor at these instants (seconds since 1970, in order)."""
    if not instants_s:
        return {sensor: [] for sensor in storehouse.sensors}
    schedule = Schedule(storehouse, seed)
    influences = _influences(schedule, instants_s)
    rooms = {
        metric: _room(schedule, metric, response, influences, instants_s)
        for metric, response in storehouse.room.responses.items()
    }
    return {
        sensor: _switch(schedule, sensor.metric, instants_s)
        if sensor.metric in SWITCHES
        else _measured(schedule, sensor, rooms[sensor.metric], influences["door"], instants_s)
        for sensor in storehouse.sensors
    }


def changes(storehouse: Storehouse, start: int, end: int, seed: int = SEED) -> list[tuple[int, float]]:
    """Return the changes of the door's state after `start` and up to `end`, as pairs of time and state.

    The state is 1 if the door was opened, and 0 if it was closed.
    """
    openings = Schedule(storehouse, seed).openings(start, end)
    events = [(int(instant), state) for span in openings for instant, state in zip(span, (1.0, 0.0), strict=True)]
    return [(instant, state) for instant, state in events if start < instant <= end]


def _influences(schedule: Schedule, instants_s: Sequence[int]) -> dict[str, Series]:
    """Return the strength of each influence, such as an open door, at each instant. Most values are from 0 to 1.

    The keys are the names of the fields of `rooms.Response`.
    """
    start, end = instants_s[0], instants_s[-1]
    openings, defrosts = schedule.openings(start, end), schedule.defrosts(start, end)
    shifts = schedule.shifts(start, end)
    late, weather = schedule.number("cycle"), schedule.number("weather")
    cycle = [_phase(instant + late, schedule.storehouse.room.cycle_s) for instant in instants_s]
    return {
        "day": [_day(schedule.storehouse.time_zone, instant) for instant in instants_s],
        "weather": [_wander(weather, instant, DAY_S) for instant in instants_s],
        "people": _echo(instants_s, shifts, rise_s=3600, fall_s=3600),
        "lit": _during(instants_s, shifts),
        "open": _during(instants_s, openings),
        "door": _echo(instants_s, openings, rise_s=1500, fall_s=1000),
        "cycle": [_saw(phase) for phase in cycle],
        "running": [float(phase < RUNNING) for phase in cycle],
        "heater": _during(instants_s, defrosts),
        "defrost": _echo(instants_s, defrosts, rise_s=900, fall_s=1100),
    }


def _room(
    schedule: Schedule, metric: str, response: Response, influences: dict[str, Series], instants_s: Sequence[int]
) -> Series:
    series = [response.level] * len(instants_s)
    for name, influence in influences.items():
        gain = getattr(response, name)
        if gain:
            series = [value + gain * part for value, part in zip(series, influence, strict=True)]
    for mishap in schedule.storehouse.mishaps:
        if mishap.metric == metric:
            spans = schedule.mishaps(mishap, instants_s[0], instants_s[-1])
            influence = _echo(instants_s, spans, rise_s=1000, fall_s=1000)
            series = [value + mishap.amount * part for value, part in zip(series, influence, strict=True)]
    return series


def _measured(schedule: Schedule, sensor: Sensor, room: Series, door: Series, instants_s: Sequence[int]) -> list[Value]:
    metric, response = METRICS[sensor.metric], schedule.storehouse.room.responses[sensor.metric]
    low, high, digits, noise = metric.low, metric.high, metric.digits, response.noise
    key = schedule.number(sensor.name)
    apart = LOCATION_SPREAD * noise * _noise(key, 0)
    near = response.door * _nearness(sensor)
    if sensor.condition is Condition.FAILING:
        return _failing(room, key, instants_s)
    # This loop runs for every reading: 1.3 million times at the first start.
    return [
        round(min(max(value + apart + near * part + noise * _noise(key, instant), low), high), digits)
        for value, part, instant in zip(room, door, instants_s, strict=True)
    ]


def _failing(room: Series, key: int, instants_s: Sequence[int]) -> list[Value]:
    return [
        None
        if _noise(key, instant // FAULT_S) > FAULTLESS
        else round(value + _drift(instant) + _noise(key, instant), 1)
        for value, instant in zip(room, instants_s, strict=True)
    ]


def _drift(instant: int) -> float:
    return DRIFT * (instant % DRIFT_S) / DRIFT_S


def _switch(schedule: Schedule, metric: str, instants_s: Sequence[int]) -> list[Value]:
    return list(_during(instants_s, schedule.switch(metric, instants_s[0], instants_s[-1])))


def _nearness(sensor: Sensor) -> float:
    """Return how near a sensor is to the door: 0.5 at the door's wall, 0 in the middle, -0.5 at the rear wall."""
    return sensor.position[1] - 0.5


def _day(time_zone: str, instant: int) -> float:
    local = instant + offset_s(time_zone, instant)
    return cos(tau * (local / DAY_S - WARMEST_HOUR / 24))


def _phase(instant: int, period_s: int) -> float:
    return instant % period_s / period_s


def _saw(phase: float) -> float:
    """Return a value that falls from 0.5 to -0.5 while the compressor runs, then rises to 0.5 until the next run."""
    return 0.5 - phase / RUNNING if phase < RUNNING else (phase - RUNNING) / (1 - RUNNING) - 0.5


def _during(instants_s: Sequence[int], spans: Sequence[Span]) -> Series:
    return [float(is_within(instant, spans)) for instant in instants_s]


def _echo(instants_s: Sequence[int], spans: Sequence[Span], rise_s: float, fall_s: float) -> Series:
    """Return the effect of an event at each instant. The event happens during the time spans `spans`.

    The effect approaches 1 during a span, with the time constant `rise_s`, and decays after the span, with `fall_s`.
    """
    if not spans:
        return [0.0] * len(instants_s)
    return [_echo_at(instant, spans, rise_s, fall_s) for instant in instants_s]


def _echo_at(instant: int, spans: Sequence[Span], rise_s: float, fall_s: float) -> float:
    total = 0.0
    index = bisect_right(spans, (instant, 0.0))
    while index and (since := instant - spans[index - 1][1]) < FADED * fall_s:
        index -= 1
        start, end = spans[index]
        reached = 1 - exp((start - min(instant, end)) / rise_s)
        total += reached if since <= 0 else reached * exp(-since / fall_s)
    return total


def _wander(key: int, instant: int, period_s: int) -> float:
    """Return noise that changes slowly.

    The noise is interpolated between two random numbers: that of the current period and that of the next period.
    """
    period, rest = divmod(instant, period_s)
    before, after = _noise(key, period), _noise(key, period + 1)
    return before + (after - before) * rest / period_s


def _noise(key: int, step: int) -> float:
    """Return a pseudo-random number from -1 to 1, which depends only on `key` and `step`.

    The function computes an integer hash, because a random number generator would have to generate the numbers in the
    order of the steps.
    """
    mixed = (step * 0x9E3779B1 + key) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return (mixed ^ (mixed >> 16)) / 0x80000000 - 1
