"""The number of nuisance alarms, and the delay or the hysteresis with which they would not have been raised."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from alarms.__main__ import main
from alarms.judge import initial_state, judge
from alarms.model import Limit, Reading
from alarms.nuisance import AlarmOccurrence, NuisanceAlarms, Recommendation, nuisance_alarms
from alarms.rules import Terms
from ask.sensors import sensors
from ask.site_mapping import subjects_of
from record import episodes
from record.episode_rows import JudgedChange
from settings import Source
from tests.support.sites import site

MINUTE = 60.0
TEN = 10 * MINUTE
LIMIT = Limit(5.0, "warning", delay=MINUTE)


def alarm(minutes: float | None, *, acknowledged: bool = False, **other: Any) -> AlarmOccurrence:
    """Return an alarm whose value was out of limits for `minutes`, including the alarm's delay of one minute.

    If `minutes` is None, the alarm is still open.
    """
    cleared = None if minutes is None else minutes * MINUTE
    return AlarmOccurrence("T", "high", 0.0, MINUTE, cleared, acknowledged, LIMIT)._replace(**other)


def summary(*alarms: AlarmOccurrence) -> NuisanceAlarms:
    (of_sensor,) = nuisance_alarms(alarms, TEN)
    return of_sensor


def test_the_sensor_with_the_most_alarms_comes_first() -> None:
    alarms = [alarm(5), alarm(5, sensor="U"), alarm(5, sensor="U"), alarm(5, sensor="U", kind="low")]
    assert [(each.sensor, each.kind, each.alarms) for each in nuisance_alarms(alarms, TEN)] == [
        ("U", "high", 2),
        ("T", "high", 1),
        ("U", "low", 1),
    ]


@pytest.mark.parametrize(
    ("short_alarm", "nuisances"),
    [(alarm(10.9), 1), (alarm(11), 0), (alarm(3, acknowledged=True), 0), (alarm(None), 0)],
)
def test_a_short_alarm_never_acknowledged_is_a_nuisance(short_alarm: AlarmOccurrence, nuisances: int) -> None:
    assert summary(short_alarm).nuisances == nuisances


def test_the_recommended_delay_is_slightly_longer_than_nuisance_alarms() -> None:
    assert summary(alarm(3), alarm(4), alarm(5.5), alarm(60)).delay == Recommendation(6 * MINUTE, 3)


def test_the_recommended_delay_prevents_no_needed_alarm() -> None:
    assert summary(alarm(3), alarm(8), alarm(6, acknowledged=True)).delay == Recommendation(4 * MINUTE, 1)
    assert summary(alarm(8), alarm(6, acknowledged=True)).delay is None


def test_needed_alarms_keep_a_reading_outside_limits_after_the_delay() -> None:
    minute: dict[str, Any] = {"interval_s": MINUTE}
    assert summary(alarm(5, **minute), alarm(7, acknowledged=True, **minute)).delay == Recommendation(6 * MINUTE, 1)
    assert summary(alarm(6, **minute), alarm(7, acknowledged=True, **minute)).delay is None


def test_the_clear_delay_is_not_time_out_of_limits() -> None:
    assert summary(alarm(8, limit=Limit(5.0, "warning", MINUTE, clear_delay=5 * MINUTE))).delay == Recommendation(
        4 * MINUTE, 1
    )


def test_the_recommended_delay_for_no_data_replaces_its_limit() -> None:
    limit = Limit(3 * MINUTE, "warning")
    assert summary(alarm(5, kind="no_data", raised=3 * MINUTE, limit=limit)).delay == Recommendation(6 * MINUTE, 1)


def test_the_recommended_hysteresis_merges_alarms_with_the_previous_alarm() -> None:
    alarms = [
        alarm(5),
        alarm(5, inside_by=0.2),
        alarm(5, inside_by=0.55),
        alarm(5, inside_by=0.3),
        alarm(5, inside_by=9.0),
    ]
    assert summary(*alarms).hysteresis == Recommendation(0.6, 3)


def test_the_recommended_hysteresis_exceeds_the_distance_inside_the_limit() -> None:
    assert summary(alarm(5, inside_by=0.3)).hysteresis == Recommendation(0.4, 1)
    assert summary(alarm(5, inside_by=0.0)).hysteresis == Recommendation(0.1, 1)


def test_an_existing_or_excessive_hysteresis_is_not_recommended() -> None:
    assert summary(alarm(5, inside_by=0.2, limit=Limit(5.0, "warning", MINUTE, hysteresis=0.5))).hysteresis is None
    assert summary(alarm(5, inside_by=2.0)).hysteresis is None


def test_a_long_alarm_is_no_nuisance() -> None:
    assert summary(alarm(60, inside_by=0.1)) == NuisanceAlarms("T", "high", 1, 0, None, None)


def test_the_command_analyses_alarms_and_readings_in_the_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = {"path": str(tmp_path / "site.db")}
    start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=2)
    values = [4.0, 6.0, 6.0, 4.9, 6.0, 4.7, 4.0, 6.0, 6.0, 6.0, 4.0]
    times = [start + timedelta(minutes=minute) for minute in range(len(values))]
    with site(where) as built:
        built.add_all([(built.ids["temperature"], time, value) for time, value in zip(times, values, strict=True)])
        with built.database.engine.begin() as connection:
            all_sensors = sensors(connection, subjects_of(built.database.settings, Source(None), connection))
            (sensor,) = (sensor for sensor in all_sensors if sensor.sensor_id == built.ids["temperature"])
            state = initial_state(sensor)
            terms = Terms(high=(Limit(5.0, "warning", reopen=0.0),))
            for time, value in zip(times, values, strict=True):
                state, changes = judge(terms, state, Reading(time.timestamp(), value))
                said = [JudgedChange(change, "温度 1", "temperature") for change in changes]
                episodes.write(connection, said, time)
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump({"database": where, "access": "open"}), encoding="utf-8")
    assert main(["noise", "--config", str(config), "--days", "1", "--minutes", "5"]) == 0
    assert capsys.readouterr().out == (
        "3 alarms in the last 1 d; 3 nuisance alarms: shorter than 5 min, never acknowledged\n"
        "     3  一号库, 温度 1, high: 3 nuisance alarms; a delay of 4m would have prevented 3; "
        "a hysteresis of 1.1 would have prevented 2\n"
    )


@pytest.mark.parametrize("wrong", [["--days", "0"], ["--minutes", "x"], ["--config", "gone.yaml"]])
def test_wrong_arguments_are_reported_in_one_line(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["noise", *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_database_error_is_reported_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = {"path": str(tmp_path / "site.db")}
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump({"database": where, "access": "open"}), encoding="utf-8")
    with site(where) as built:
        built.execute("ALTER TABLE storehouse RENAME TO gone")
        assert main(["noise", "--config", str(config)]) == 2
    assert capsys.readouterr().err == "alarms: database: no such table: storehouse\n"
