"""The newest reading of each sensor, and the quality of this reading."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from ask.answers import Env, Storehouse
from ask.readings import Reading
from ask.sensors import Sensor
from common.clock import AHEAD
from live.newest import INTERVALS, Newest

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
INSTANT = timedelta(microseconds=1)
INTERVAL_S = 60.0
AGE = INTERVALS * timedelta(seconds=INTERVAL_S)
"""Age above which a reading is stale."""


def storehouse(store_house_id: int) -> Storehouse:
    return Storehouse(store_house_id, f"Storehouse {store_house_id}", 1, "UTC")


def sensor(sensor_id: int, interval_s: float | None = INTERVAL_S, name: str = "T", store_house_id: int = 1) -> Sensor:
    return Sensor(sensor_id, store_house_id, name, "temperature", "°C", interval_s, (sensor_id, None))


def reading(value: float | None, time: datetime = NOW, sensor_id: int = 1, rank: int = 0) -> Reading:
    return Reading(sensor_id, None, time, value, rank)


@pytest.fixture
def newest() -> Newest:
    """Return a `Newest` of one storehouse with two sensors. One sensor reports each minute.

    The other sensor reports only changes.
    """
    newest = Newest()
    newest.set_directory([storehouse(1)], [sensor(1), sensor(2, None)], NOW)
    return newest


def env(newest: Newest, now: datetime = NOW, sensor_id: int = 1) -> Env:
    told = newest.envs(1, now)
    assert [msgspec.json.decode(encoded, type=Env) for encoded in newest.encoded(1, now)] == told
    return next(env for env in told if env.sensor_id == sensor_id)


def test_a_late_reading_does_not_replace_a_newer_one(newest: Newest) -> None:
    assert newest.add_readings([reading(1.0)], NOW) == {1}
    assert newest.add_readings([reading(2.0, NOW - SECOND)], NOW) == set()
    assert newest.add_readings([reading(4.0, NOW + SECOND), reading(3.0, NOW)], NOW) == {1}
    assert (env(newest).value, env(newest).time) == (4.0, NOW + SECOND)


def test_at_equal_times_the_highest_rank_counts(newest: Newest) -> None:
    newest.add_readings([reading(2.0, rank=2), reading(1.0, rank=1)], NOW)
    assert newest.add_readings([reading(0.0, rank=0)], NOW) == set()
    assert env(newest).value == 2.0
    newest.add_readings([reading(3.0, rank=3)], NOW)
    assert env(newest).value == 3.0


def test_at_equal_times_without_ranks_the_last_reading_counts(newest: Newest) -> None:
    newest.add_readings([reading(1.0), reading(2.0)], NOW)
    newest.add_readings([reading(3.0)], NOW)
    assert env(newest).value == 3.0


def test_the_same_reading_again_changes_nothing(newest: Newest) -> None:
    newest.add_readings([reading(1.0)], NOW)
    assert newest.add_readings([reading(1.0)], NOW) == set()


def test_a_reading_too_far_in_the_future_is_ignored(newest: Newest) -> None:
    newest.add_readings([reading(1.0)], NOW)
    assert newest.add_readings([reading(2.0, NOW + AHEAD + INSTANT)], NOW) == set()
    assert env(newest, NOW + 2 * AHEAD).value == 1.0
    assert newest.add_readings([reading(2.0, NOW + AHEAD)], NOW) == {1}
    assert env(newest).value == 2.0


def test_new_readings_count_after_the_clock_was_set_back(newest: Newest) -> None:
    newest.add_readings([reading(1.0)], NOW)
    back = NOW - timedelta(hours=1)
    assert newest.add_readings([reading(2.0, back)], back) == {1}
    assert newest.envs(1, back)[0].value == 2.0


def test_a_reading_older_than_three_intervals_is_stale(newest: Newest) -> None:
    newest.add_readings([reading(1.0)], NOW)
    assert env(newest, NOW + AGE).quality == "good"
    assert env(newest, NOW + AGE + INSTANT).quality == "stale"


def test_a_sensor_without_an_interval_never_goes_stale(newest: Newest) -> None:
    newest.add_readings([reading(1.0, sensor_id=2)], NOW)
    later = NOW + timedelta(days=1_000)
    assert env(newest, later, sensor_id=2).quality == "good"
    assert newest.gone_stale(later) == set()


def test_a_fault_or_a_missing_reading_is_bad(newest: Newest) -> None:
    assert (env(newest).quality, env(newest).value, env(newest).time) == ("bad", None, None)
    newest.add_readings([reading(None)], NOW)
    for now in (NOW, NOW + 2 * AGE):
        assert (env(newest, now).quality, env(newest, now).value, env(newest, now).time) == ("bad", None, NOW)


def test_a_reading_that_goes_stale_is_reported_once(newest: Newest) -> None:
    newest.add_readings([reading(1.0)], NOW)
    assert newest.gone_stale(NOW + AGE) == set()
    assert newest.gone_stale(NOW + AGE + INSTANT) == {1}
    assert newest.gone_stale(NOW + AGE + SECOND) == set()


def test_a_reading_replaced_in_time_is_not_reported_stale(newest: Newest) -> None:
    newest.add_readings([reading(1.0)], NOW)
    newest.add_readings([reading(1.0, NOW + SECOND)], NOW)
    assert newest.gone_stale(NOW + AGE + SECOND) == set()
    assert newest.gone_stale(NOW + AGE + 2 * SECOND) == {1}


def test_readings_of_an_unknown_sensor_are_kept_for_later(newest: Newest) -> None:
    assert newest.add_readings([reading(1.0, sensor_id=3)], NOW) == set()
    assert not newest.knows((3, None))
    assert newest.set_directory([storehouse(1)], [sensor(1), sensor(2, None), sensor(3)], NOW) == {1}
    assert env(newest, sensor_id=3).value == 1.0
    assert newest.gone_stale(NOW + AGE + SECOND) == {1}


def test_adding_renaming_or_removing_a_sensor_changes_its_storehouse(newest: Newest) -> None:
    both = [storehouse(1), storehouse(2)]
    assert newest.set_directory(both, [sensor(1), sensor(2, None)], NOW) == {2}
    assert newest.set_directory(both, [sensor(1), sensor(2, None)], NOW) == set()
    assert newest.set_directory(both, [sensor(1, name="New"), sensor(2, None)], NOW) == {1}
    assert env(newest).sensor_name == "New"
    assert newest.set_directory(both, [sensor(1, name="New")], NOW) == {1}
    assert newest.set_directory(both, [sensor(1, name="New", store_house_id=2)], NOW) == {1, 2}


def test_a_changed_interval_determines_when_a_reading_is_stale(newest: Newest) -> None:
    newest.add_readings([reading(1.0)], NOW)
    newest.set_directory([storehouse(1)], [sensor(1, 2 * INTERVAL_S), sensor(2, None)], NOW)
    assert newest.gone_stale(NOW + AGE + SECOND) == set()
    assert newest.gone_stale(NOW + 2 * AGE + SECOND) == {1}


def test_a_removed_storehouse_is_reported_and_not_found(newest: Newest) -> None:
    assert newest.set_directory([], [], NOW) == {1}
    assert newest.storehouse(1) is None
    assert newest.envs(1, NOW) == []


def test_a_string_of_digits_finds_an_integer_id(newest: Newest) -> None:
    assert newest.storehouse("1") == storehouse(1)
    for unknown in ("2", "١", "1.0", "", " 1"):
        assert newest.storehouse(unknown) is None
