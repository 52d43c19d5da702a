"""What the sensors of a storehouse reported in the past."""

from collections.abc import Sequence
from dataclasses import dataclass

from demo import simulation
from demo.simulation import Value
from demo.site import Sensor, Storehouse

STEP_S = 300
MONTH_S = 30 * 86_400
SILENCE_S = 4 * 86_400
"""The silent sensor fell silent so long before the first start."""


@dataclass(frozen=True)
class Course:
    """What a sensor reported: instants (seconds since 1970) and the values at them."""

    instants_s: Sequence[int]
    values: Sequence[Value]


def month(storehouse: Storehouse, now_s: int, seed: int) -> dict[Sensor, Course]:
    """The month before the first start: also of the silent sensor, and with the state each door began in."""
    instants_s = _grid(storehouse, now_s - MONTH_S, now_s)
    values = simulation.values(storehouse, instants_s, seed)
    courses = {sensor: Course(instants_s, values[sensor]) for sensor in storehouse.reporting}
    for sensor in storehouse.silent:
        spoken = len(instants_s) - SILENCE_S // STEP_S
        courses[sensor] = Course(instants_s[:spoken], values[sensor][:spoken])
    for sensor in storehouse.doors:
        changes = simulation.changes(storehouse, instants_s[0], instants_s[-1], seed)
        courses[sensor] = _course([(instants_s[0], values[sensor][0]), *changes])
    return courses


def since(storehouse: Storehouse, last_s: int, now_s: int, seed: int) -> dict[Sensor, Course]:
    """What came after `last_s`; at most a month of it."""
    start_s = max(last_s, now_s - MONTH_S)
    instants_s = _grid(storehouse, start_s, now_s)
    values = simulation.values(storehouse, instants_s, seed)
    # Doors go no further than the others, whose last reading is where the next start takes up.
    changes = simulation.changes(storehouse, start_s, instants_s[-1] if instants_s else start_s, seed)
    return {sensor: Course(instants_s, values[sensor]) for sensor in storehouse.reporting} | {
        sensor: _course(changes) for sensor in storehouse.doors
    }


def _grid(storehouse: Storehouse, since_s: int, until_s: int) -> range:
    """The five-minute steps of the storehouse after `since_s`, as far as `until_s`."""
    return range(since_s + STEP_S - (since_s - storehouse.phase_s) % STEP_S, until_s + 1, STEP_S)


def _course(readings: Sequence[tuple[int, Value]]) -> Course:
    return Course([instant for instant, _ in readings], [value for _, value in readings])
