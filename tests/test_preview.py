"""A preview and the evaluation of live readings give the same alarms if the readings and the rules are the same."""

import math
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from alarms import rules
from alarms.__main__ import main
from alarms.model import Reading
from alarms.preview import HOUR_S, WARM_UP_S, Comparison, Trial, preview, slot_length_s
from alarms.replay import replay
from ask.readings import Key
from ask.replay_readings import Hour, Measured, ReplayReadings, Span
from ask.sensors import Sensor, sensors
from ask.site_mapping import subjects_of
from settings import Source
from tests.support.clients import Client, connected
from tests.support.judged import MARK, RULES, Course, kept, outcome
from tests.support.serving import Serve
from tests.support.serving_inside import until
from tests.support.sites import ZONE, Site, site

MINUTE = 60.0
DAY = timedelta(days=1)
TIMEOUT_S = 60.0  # seconds; a wait takes this long only if the test fails
STRICT: list[dict[str, Any]] = [{"scope": {"metric": "temperature"}, "high": 4.5, "low": {"limit": 2, "delay": "2m"}}]
SENSOR = Sensor(1, 1, "T", "temperature", "°C", MINUTE, (1, None))
SWITCH = Sensor(2, 1, "D", "door", "", None, (2, None))
START = float(2 * WARM_UP_S)


class FakeHistory:
    """A source of past readings that are stored in lists instead of a database.

    `read` contains the readings that the preview read one by one.
    """

    def __init__(self, readings: Mapping[Key, Sequence[Measured]]) -> None:
        self._readings = readings
        self.read: list[Measured] = []

    def hours(self, wanted: Sequence[Sensor], slot_s: int, start: int, end: float) -> dict[Key, dict[int, Hour]]:
        return {sensor.key: dict(self._hours(sensor.key, slot_s, start, end)) for sensor in wanted}

    def readings(self, sensor: Sensor, spans: Sequence[Span]) -> Iterable[Measured]:
        readings = self._readings[sensor.key]
        in_spans = [reading for reading in readings if any(start <= reading[0] < end for start, end in spans)]
        self.read += in_spans
        return in_spans

    def _hours(self, key: Key, slot_s: int, start: int, end: float) -> Iterable[tuple[int, Hour]]:
        for second in range(start, int(end) - HOUR_S + 1, HOUR_S):
            good = [
                (time, value)
                for time, value, _ in self._readings[key]
                if value is not None and second <= time < second + HOUR_S
            ]
            if len({time // slot_s for time, _ in good}) == HOUR_S // slot_s:
                values = [value for _, value in good]
                yield second, Hour(min(values), max(values), good[-1][0])


def ranked(readings: Iterable[tuple[float, float | None]]) -> list[Measured]:
    return [(time, value, rank) for rank, (time, value) in enumerate(sorted(readings, key=lambda each: each[0]))]


def compared(
    sensor: Sensor, readings: Sequence[Measured], proposed: Any, in_force: Any = (), hours: float = 30
) -> tuple[list[Comparison], FakeHistory]:
    fake = FakeHistory({sensor.key: readings})
    trial = Trial(rules.parse(list(proposed)), rules.parse(list(in_force)), True, START, START + hours * HOUR_S)
    return list(preview(trial, [sensor], fake)), fake


TERMS = st.fixed_dictionaries(
    {"limit": st.sampled_from([1.0, 2.0, 3.0])},
    optional={
        "delay": st.sampled_from([60, 300, 3000]),
        "clear_delay": st.sampled_from([60, 600, 7200]),
        "hysteresis": st.sampled_from([0.5, 1.0]),
        "reopen": st.sampled_from([0, 600, 10_000]),
    },
)
RULE = st.fixed_dictionaries(
    {},
    optional={
        "high": TERMS,
        "high_high": st.just(3.5),
        "low": st.sampled_from([-1.0, -3.0]),
        "rate": st.just({"limit": 2.5, "within": "10m"}),
        "no_data": st.sampled_from([None, 120, 600, 9000]),
    },
)
STRETCH = st.tuples(
    st.sampled_from([0.0, 0.0, 0.0, 2.2, 3.2, 4.0, -2.0, None]),  # values, mostly within the limits
    st.integers(1, 200),  # number of readings
    st.sampled_from([60.0, 60.0, 59.5, 61.7, 300.0]),  # seconds between two readings
    st.sampled_from([0.0, 0.0, 0.0, 170.0, 4000.0, 30_000.0]),  # gap after the stretch, in seconds
)


@pytest.mark.slow
@examples(max_examples=200)
@given(st.lists(STRETCH, max_size=20), RULE, RULE, st.sampled_from([SENSOR, SWITCH]), st.integers(0, 3599))
def test_whole_hours_give_the_same_alarms_as_individual_readings(
    stretches: list[tuple[float | None, int, float, float]],
    proposed: dict[str, Any],
    in_force: dict[str, Any],
    sensor: Sensor,
    offset: int,
) -> None:
    values, time = [], START - 2 * HOUR_S + offset
    for value, count, step, gap in stretches:
        for number in range(count):
            values.append((time, None if value is None else value + 0.1 * (number % 3)))
            time += step
        time += gap
    readings, end = ranked(values), START + 30 * HOUR_S
    comparisons, _ = compared(sensor, readings, [proposed], [in_force])
    for which, rule in (("proposed", proposed), ("in_force", in_force)):
        terms = rules.terms(rules.parse([rule]), sensor)
        expected = [
            episode
            for episode in replay(terms, sensor, [Reading(*each) for each in readings if each[0] < end], end)
            if episode.raised is not None and START <= episode.raised < end
        ]
        raised = [episode for comparison in comparisons for episode in getattr(comparison, which)]
        assert sorted(raised, key=repr) == sorted(expected, key=repr)


def test_a_quiet_day_is_not_read_reading_by_reading() -> None:
    readings = ranked((START - WARM_UP_S + MINUTE * minute, 3.0) for minute in range(54 * 60))
    (high, no_data), fake = compared(SENSOR, readings, [{"high": 5}])
    assert (high.proposed, no_data.proposed) == ([], [])
    assert len(fake.read) <= 120  # only the readings of the first two hours


def test_a_gap_before_a_quiet_hour_raises_no_data() -> None:
    minutes = [*range(-180, 30), *range(60, 300)]
    (no_data,), _ = compared(SENSOR, ranked((START + MINUTE * minute, 3.0) for minute in minutes), [{}], hours=5)
    assert [episode.raised for episode in no_data.proposed] == [START + 32 * MINUTE]


def test_each_alarm_counts_for_the_rule_that_set_its_limit() -> None:
    values = {60: 6.0, 180: 9.0, 300: -5.0}
    readings = ranked((START + MINUTE * minute, values.get(minute, 3.0)) for minute in range(600))
    proposed = [
        {"low": 0, "high": 4},
        {"scope": {"sensor_id": 1}, "high": {"limit": 5, "reopen": 0}},
        {"scope": {"metric": "temperature"}, "high_high": 8},
    ]
    comparisons, _ = compared(SENSOR, readings, proposed)
    rule_numbers = {comparison.kind: comparison.rule_numbers for comparison in comparisons}
    assert rule_numbers == {"high": [1, 2], "low": [0], "no_data": [None]}


def test_two_slots_fit_into_the_no_data_limit() -> None:
    for no_data_after_s in (1.0, 120.0, 180.0, 200.0, 2700.0, 100_000.0):
        terms = rules.terms(rules.parse([{"no_data": no_data_after_s}]), SENSOR)
        width = slot_length_s([terms])
        assert HOUR_S % max(width, 1) == 0
        assert 2 * width <= no_data_after_s
    assert slot_length_s([rules.terms([], SENSOR)]) == 90
    assert slot_length_s([rules.terms(rules.parse([{"no_data": None}]), SENSOR)]) == HOUR_S


@pytest.fixture
async def built(each_database: dict[str, Any]) -> AsyncIterator[Site]:
    with site(each_database) as built:
        built.settings = {"database": each_database, "rules": RULES, "poll_interval": 0.1}
        yield built


async def ask(
    client: Client, built: Site, proposed: Any, start: datetime, end: datetime, other: dict[str, Any] | None = None
) -> Any:
    question = {"store_house_id": built.ids["north"], "rules": proposed, "start": start, "end": end} | (other or {})
    plain = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in question.items()}
    return await client.call("previewAlarms", plain)


def alarms(answer: Any, which: str) -> set[tuple[Any, ...]]:
    assert answer["ok"], answer
    return {
        (kind["sensor_name"], kind["kind"], alarm["severity"], alarm["raised"], alarm["cleared"])
        for kind in answer["data"]["sensors"]
        for alarm in kind[which]["alarms"]
        if kind["sensor_name"] != MARK
    }


def iso_time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")


@pytest.mark.slow
async def test_a_preview_returns_the_alarms_of_a_running_server(built: Site, serve: Serve) -> None:
    course = Course(300, seed=11)
    course.add_sensors(built)
    async with serve(built.settings) as server:
        built.add("temperature", 9.0)
        await until(lambda: kept(built), TIMEOUT_S)
        for step in range(course.length):
            built.add_all(course.rows(built, step))
        await until(lambda: outcome(built) >= course.episodes(), TIMEOUT_S)
        live = {
            (episode.sensor_name, episode.kind, episode.severity, iso_time(episode.raised), iso_time(episode.cleared))
            for episode in outcome(built)
        }
        assert len(live) > 20
        async with connected("python", server.url) as client:
            answer = await ask(client, built, RULES, course.start, datetime.now(UTC))
            other = await ask(client, built, STRICT, course.start, datetime.now(UTC))
    assert alarms(answer, "in_force") == alarms(answer, "proposed") == alarms(other, "in_force") == live
    assert alarms(other, "proposed") != live
    counts = [kind["proposed"]["count"] for kind in other["data"]["sensors"]]
    assert other["data"]["rules"] == [{"count": sum(counts), "duration_s": pytest.approx(durations(other))}]


def durations(answer: Any) -> float:
    return sum(float(kind["proposed"]["duration_s"]) for kind in answer["data"]["sensors"])


async def test_every_database_returns_correct_hours_and_readings(built: Site) -> None:
    chance = random.Random(5)
    end = datetime.now(UTC).replace(minute=20, second=0, microsecond=0) - DAY
    rows: list[Any] = []
    for minute in range(60 * 60):
        if chance.random() > 0.002:
            value = None if chance.random() < 0.002 else chance.uniform(2, 4)
            time = end - timedelta(minutes=minute, milliseconds=chance.randrange(20_000))
            rows.append((built.ids["temperature"], time, value))
    chance.shuffle(rows)
    built.add_all([*rows, rows[0]])
    with built.database.engine.connect() as connection:
        of_site = subjects_of(built.database.settings, Source(None), connection)
        sensor = sensors(connection, of_site, built.ids["north"])[0]
        history = ReplayReadings(connection, of_site, datetime.now(UTC))
        first = math.floor((end - 2 * DAY).timestamp()) // HOUR_S * HOUR_S
        whole = [(float(first), end.timestamp())]
        readings = list(history.readings(sensor, whole))
        hours = history.hours([sensor], 90, first, end.timestamp())[sensor.key]
    fake = FakeHistory({sensor.key: [(time, value, 0) for time, value, _ in readings]})
    assert hours == fake.hours([sensor], 90, first, end.timestamp())[sensor.key]
    assert 10 < len(hours) < 48
    wanted = [row for row in [*rows, rows[0]] if first <= row[1].timestamp() < end.timestamp()]
    inserted = sorted((round(row[1].timestamp(), 3), row[2] if row[2] is not None else -1.0) for row in wanted)
    assert sorted((round(time, 3), -1.0 if value is None else value) for time, value, _ in readings) == inserted


async def test_an_invalid_preview_is_refused_with_its_field(built: Site, serve: Serve) -> None:
    now = datetime.now(UTC)
    async with serve(built.settings) as server, connected("python", server.url) as client:
        wrong: dict[str, dict[str, Any]] = {
            "rules": {"rules": [{"high": 1, "high_high": 0}]},
            "end": {"end": now - 500 * DAY},
            "start": {"start": now + DAY, "end": now + 2 * DAY},
            "store_house_id": {"store_house_id": 12345},
        }
        for field, question in wrong.items():
            answer = await ask(client, built, [], now - DAY, now, question)
            assert answer["error"]["field"] == field, answer
        too_long = await ask(client, built, [], now - 400 * DAY, now)
        assert too_long["error"]["field"] == "end"
        assert (await ask(client, built, [], now - DAY, now))["ok"]


def preview_workers(server: int) -> list[int]:
    """Return the process ids of the server's preview workers."""
    processes = subprocess.run(
        ["pgrep", "-P", str(server), "-f", "alarm_service.preview_worker"], capture_output=True, check=False
    )
    return [int(pid) for pid in processes.stdout.split()]


@pytest.mark.slow
async def test_a_preview_worker_is_replaced_and_ends_with_the_server(built: Site, serve: Serve) -> None:
    now = datetime.now(UTC)
    async with serve(built.settings) as server, connected("python", server.url) as client:
        assert (await ask(client, built, STRICT, now - DAY, now))["ok"]
        first = preview_workers(server.pid)
        assert len(first) == 1
        os.kill(first[0], signal.SIGKILL)
        await until(lambda: not preview_workers(server.pid), TIMEOUT_S)
        answers = [await ask(client, built, STRICT, now - DAY, now) for _ in range(2)]
        assert answers[-1]["ok"]
        assert preview_workers(server.pid) != first
        last = preview_workers(server.pid)
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in last), TIMEOUT_S)


@pytest.mark.slow
def test_the_command_prints_alarms_by_rule_and_sensor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = {"path": str(tmp_path / "site.db")}
    with site(where) as built:
        day = datetime(2026, 3, 5, tzinfo=ZoneInfo(ZONE))
        values = {100: 6.0, 101: 6.0, 102: 9.0}
        rows = [(built.ids["temperature"], day + timedelta(minutes=n), values.get(n, 3.0)) for n in range(-60, 1500)]
        built.add_all(rows)
    config, proposed = tmp_path / "settings.yaml", tmp_path / "rules.yaml"
    config.write_text(yaml.safe_dump({"access": "open", "database": where, "rules": [{"high": 8}]}), encoding="utf-8")
    proposed.write_text("rules: [{high: {limit: 5, delay: 1m}}]", encoding="utf-8")
    arguments = ["preview", "--config", str(config), "--rules", str(proposed), "--from", "2026-03-05", "--alarms"]
    assert main([*arguments, "--to", "2026-03-05", "--store-house", "一号库"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "rule 1: 1 alarms, 0.0 h",
        "温度 1, high: 1 alarms, 0.0 h; with the rules in force 1 alarms, 0.0 h",
        "  2026-03-05 01:41:00 to 2026-03-05 01:43:00  warning",
    ]
    assert main([*arguments, "--to", "2026-03-04", "--store-house", "一号库"]) == 2
    assert main([*arguments, "--to", "2026-03-05", "--store-house", "二号库"]) == 2
    assert "the storehouses are: South, 一号库" in capsys.readouterr().err
