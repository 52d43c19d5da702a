"""The states of sensors in the alarm evaluation stay correct while the clock is set forward and back."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from alarm_service.sensor_states import SensorStates
from alarms import rules
from ask.readings import Reading
from ask.sensors import Sensor

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()
MINUTE, HOUR = 60.0, 3600.0
SENSOR = Sensor(1, 7, "T", "temperature", "°C", MINUTE, (1, None))


class JudgedSensor:
    """One sensor with a limit.

    The clock that gives the times of readings and the time of their evaluation may be wrong.
    """

    def __init__(self, **kinds: object) -> None:
        self.states = SensorStates(rules.parse([{"scope": {}, "high": 5, "no_data": "3m"} | kinds]), defaults=False)
        self.states.set_sensors([SENSOR])
        self.changes: list[tuple[str, str]] = []

    def add_readings(self, start: float, *values: float) -> float:
        """Evaluate one reading for each minute from `start` on. Return the time of the last reading."""
        for now, value in self._each(start, values):
            reading = Reading(1, None, datetime.fromtimestamp(now, UTC), value, 0)
            judged = [*self.states.judge_readings([reading], now), *self.states.judge_time(self.states.keys(), now)]
            self.changes += [(each.what, each.episode.kind) for each in judged if each.what != "refreshed"]
        return now

    def advance(self, now: float) -> None:
        """Evaluate the delays and the no-data limit of the sensor up to the time `now`."""
        judged = self.states.judge_time(self.states.keys(), now)
        self.changes += [(each.what, each.episode.kind) for each in judged]

    @staticmethod
    def _each(start: float, values: tuple[float, ...]) -> Iterator[tuple[float, float]]:
        return ((start + minute * MINUTE, value) for minute, value in enumerate(values))


ALARM = [("pending", "high"), ("raised", "high"), ("cleared", "high")]


@pytest.mark.parametrize("leap", [HOUR, 24 * HOUR])
def test_alarms_work_after_a_fast_clock_is_corrected(leap: float) -> None:
    sensor = JudgedSensor(high={"limit": 5, "delay": "2m"})
    sensor.add_readings(NOON, 4, 4)
    sensor.add_readings(NOON + 2 * MINUTE + leap, *[4] * 5)
    sensor.changes.clear()
    sensor.add_readings(NOON + 7 * MINUTE, 4, 6, 6, 6, 6)
    assert sensor.changes == ALARM[:2]
    sensor.add_readings(NOON + 12 * MINUTE, 4)
    assert sensor.changes == ALARM


@pytest.mark.parametrize("readings", [5, 300])
def test_alarms_work_while_the_clock_is_slow(readings: int) -> None:
    sensor = JudgedSensor()
    last = sensor.add_readings(NOON, *[4] * readings)
    sensor.add_readings(last + MINUTE - HOUR, 4, 6, 6, 4)
    assert sensor.changes == ALARM[1:]


@pytest.mark.parametrize("reopen", [0, "10m"])
def test_a_second_violation_on_a_slow_clock_raises_another_alarm(reopen: object) -> None:
    sensor = JudgedSensor(high={"limit": 5, "reopen": reopen})
    last = sensor.add_readings(NOON, 4, 6)
    sensor.add_readings(last + MINUTE - HOUR, 6, 4, 6, 4)
    assert sensor.changes == [*ALARM[1:], *ALARM[1:]]


def test_an_alarm_raised_by_a_fast_clock_continues_and_clears() -> None:
    sensor = JudgedSensor()
    sensor.add_readings(NOON + HOUR, 6)
    sensor.add_readings(NOON + MINUTE, 6, 6)
    assert sensor.changes == ALARM[1:2]
    sensor.add_readings(NOON + 3 * MINUTE, 4)
    assert sensor.changes == ALARM[1:]


def test_a_delay_started_by_a_fast_clock_is_not_longer() -> None:
    sensor = JudgedSensor(high={"limit": 5, "delay": "10m"})
    sensor.add_readings(NOON + HOUR, 6)
    sensor.add_readings(NOON + MINUTE, *[6] * 11)
    assert sensor.changes == ALARM[:2]


def test_no_data_is_raised_in_time_after_a_fast_clock() -> None:
    sensor = JudgedSensor()
    sensor.add_readings(NOON + HOUR, 4)
    sensor.advance(NOON + MINUTE)
    assert sensor.changes == []
    sensor.advance(NOON + 5 * MINUTE)
    assert sensor.changes == [("raised", "no_data")]


def test_a_reading_slightly_in_the_future_is_no_clock_change() -> None:
    sensor = JudgedSensor(high={"limit": 5, "delay": "2m"})
    ahead = Reading(1, None, datetime.fromtimestamp(NOON + 59, UTC), 6.0, 0)
    sensor.states.judge_readings([ahead], NOON)
    before = sensor.states.encode(sensor.states.keys())
    sensor.advance(NOON)
    assert sensor.states.encode(sensor.states.keys()) == before
