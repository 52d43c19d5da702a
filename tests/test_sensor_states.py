"""What the judge knows of its sensors, when the clock is set back and forth."""

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


class Watch:
    """One sensor with a limit, judged by a clock that may be wrong; its readings are timed by the same clock."""

    def __init__(self, **kinds: object) -> None:
        self.states = SensorStates(rules.parse([{"scope": {}, "high": 5, "no_data": "3m"} | kinds]), defaults=False)
        self.states.set_sensors([SENSOR])
        self.changes: list[tuple[str, str]] = []

    def minute_by_minute(self, start: float, *values: float) -> float:
        """Let a reading come each minute, and return when the last did."""
        for now, value in self._each(start, values):
            reading = Reading(1, None, datetime.fromtimestamp(now, UTC), value, 0)
            judged = [*self.states.judge_readings([reading], now), *self.states.judge_time(self.states.keys(), now)]
            self.changes += [(each.what, each.episode.kind) for each in judged if each.what != "refreshed"]
        return now

    def wait(self, now: float) -> None:
        """Let it be this time."""
        judged = self.states.judge_time(self.states.keys(), now)
        self.changes += [(each.what, each.episode.kind) for each in judged]

    @staticmethod
    def _each(start: float, values: tuple[float, ...]) -> Iterator[tuple[float, float]]:
        return ((start + minute * MINUTE, value) for minute, value in enumerate(values))


OCCURRENCE = [("pending", "high"), ("raised", "high"), ("cleared", "high")]


@pytest.mark.parametrize("leap", [HOUR, 24 * HOUR])
def test_after_a_clock_that_was_fast_is_right_again_an_alarm_rings_until_it_is_over(leap: float) -> None:
    watch = Watch(high={"limit": 5, "delay": "2m"})
    watch.minute_by_minute(NOON, 4, 4)
    watch.minute_by_minute(NOON + 2 * MINUTE + leap, *[4] * 5)
    watch.changes.clear()
    watch.minute_by_minute(NOON + 7 * MINUTE, 4, 6, 6, 6, 6)
    assert watch.changes == OCCURRENCE[:2]
    watch.minute_by_minute(NOON + 12 * MINUTE, 4)
    assert watch.changes == OCCURRENCE


@pytest.mark.parametrize("readings", [5, 300])
def test_while_the_clock_is_slow_alarms_ring_and_end(readings: int) -> None:
    watch = Watch()
    last = watch.minute_by_minute(NOON, *[4] * readings)
    watch.minute_by_minute(last + MINUTE - HOUR, 4, 6, 6, 4)
    assert watch.changes == OCCURRENCE[1:]


@pytest.mark.parametrize("reopen", [0, "10m"])
def test_after_an_alarm_that_the_slower_clock_has_ended_another_breach_is_another_alarm(reopen: object) -> None:
    watch = Watch(high={"limit": 5, "reopen": reopen})
    last = watch.minute_by_minute(NOON, 4, 6)
    watch.minute_by_minute(last + MINUTE - HOUR, 6, 4, 6, 4)
    assert watch.changes == [*OCCURRENCE[1:], *OCCURRENCE[1:]]


def test_an_alarm_that_began_while_the_clock_was_fast_goes_on_and_ends() -> None:
    watch = Watch()
    watch.minute_by_minute(NOON + HOUR, 6)
    watch.minute_by_minute(NOON + MINUTE, 6, 6)
    assert watch.changes == OCCURRENCE[1:2]
    watch.minute_by_minute(NOON + 3 * MINUTE, 4)
    assert watch.changes == OCCURRENCE[1:]


def test_a_delay_does_not_last_longer_because_the_clock_was_fast_when_it_began() -> None:
    watch = Watch(high={"limit": 5, "delay": "10m"})
    watch.minute_by_minute(NOON + HOUR, 6)
    watch.minute_by_minute(NOON + MINUTE, *[6] * 11)
    assert watch.changes == OCCURRENCE[:2]


def test_after_a_clock_that_was_fast_missing_data_is_noticed_in_time() -> None:
    watch = Watch()
    watch.minute_by_minute(NOON + HOUR, 4)
    watch.wait(NOON + MINUTE)
    assert watch.changes == []
    watch.wait(NOON + 5 * MINUTE)
    assert watch.changes == [("raised", "no_data")]


def test_a_reading_of_a_logger_that_runs_a_little_ahead_is_no_clock_set_back() -> None:
    watch = Watch(high={"limit": 5, "delay": "2m"})
    ahead = Reading(1, None, datetime.fromtimestamp(NOON + 59, UTC), 6.0, 0)
    watch.states.judge_readings([ahead], NOON)
    before = watch.states.encode(watch.states.keys())
    watch.wait(NOON)
    assert watch.states.encode(watch.states.keys()) == before
