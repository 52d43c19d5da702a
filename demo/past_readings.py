"""Simulated readings of the past, in five-minute steps."""

from collections.abc import Sequence
from dataclasses import dataclass

from demo import simulation
from demo.simulation import Value
from demo.site import Sensor, Storehouse

STEP_S = 300
MONTH_S = 30 * 86_400
STOPPED_S = 4 * 86_400
"""One sensor of the demo stopped reporting this number of seconds before the first start of the demo."""


@dataclass(frozen=True)
class SensorSeries:
    """Readings of a sensor: their times in seconds since 1970, and their values."""

    instants_s: Sequence[int]
    values: Sequence[Value]


def month(storehouse: Storehouse, now_s: int, seed: int) -> dict[Sensor, SensorSeries]:
    """Return the readings of the month before the first start of the demo.

    They include the readings of a sensor that stopped during this month, and each door's state at the month's start.
    """
    instants_s = _grid(storehouse, now_s - MONTH_S, now_s)
    values = simulation.values(storehouse, instants_s, seed)
    series = {sensor: SensorSeries(instants_s, values[sensor]) for sensor in storehouse.reporting}
    for sensor in storehouse.stopped:
        reported = len(instants_s) - STOPPED_S // STEP_S
        series[sensor] = SensorSeries(instants_s[:reported], values[sensor][:reported])
    for sensor in storehouse.doors:
        changes = simulation.changes(storehouse, instants_s[0], instants_s[-1], seed)
        series[sensor] = _as_series([(instants_s[0], values[sensor][0]), *changes])
    return series


def since(storehouse: Storehouse, last_s: int, now_s: int, seed: int) -> dict[Sensor, SensorSeries]:
    """Return the readings after `last_s`, but no readings that are older than a month."""
    start_s = max(last_s, now_s - MONTH_S)
    instants_s = _grid(storehouse, start_s, now_s)
    values = simulation.values(storehouse, instants_s, seed)
    # Door readings end at the last reading of the other sensors, because the next start continues after that reading.
    changes = simulation.changes(storehouse, start_s, instants_s[-1] if instants_s else start_s, seed)
    return {sensor: SensorSeries(instants_s, values[sensor]) for sensor in storehouse.reporting} | {
        sensor: _as_series(changes) for sensor in storehouse.doors
    }


def _grid(storehouse: Storehouse, since_s: int, until_s: int) -> range:
    """Return the times of a storehouse's readings after `since_s` and up to `until_s`, in steps of five minutes."""
    return range(since_s + STEP_S - (since_s - storehouse.phase_s) % STEP_S, until_s + 1, STEP_S)


def _as_series(readings: Sequence[tuple[int, Value]]) -> SensorSeries:
    return SensorSeries([instant for instant, _ in readings], [value for _, value in readings])
