"""Tests of the simulated site of the demo: the data, the behaviour, and how the demo writes the database."""

import asyncio
import itertools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean, median
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

import settings
from db import database, tables
from db.limits import BATCH_LIMITS, Limits
from db.migrate import migrate
from demo import history, live, past_readings, rooms, simulation, thinning
from demo.schedule import Schedule
from demo.site import CHINESE_NAMES, REPORT_INTERVAL_S, STOREHOUSES, Condition, Storehouse
from record import readings, sites
from tests.support.clients import connected
from tests.support.serving import StorewatchServer

NOW = datetime(2026, 3, 5, 6, 7, 8, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
WEEK = range(NOW_S - 7 * 86_400, NOW_S, 300)
SEVEN_METRICS = {"temperature", "humidity", "light", "co2", "smoke", "door", "water"}

DAY = timedelta(days=1)

FREEZER = STOREHOUSES[0]
COLD = [storehouse for storehouse in STOREHOUSES if storehouse.room in (rooms.FREEZER, rooms.COOLER, rooms.PHARMACY)]


def name_of(storehouse: Storehouse) -> str:
    return storehouse.name


def numbers(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


class Site:
    """A database that holds the demo."""

    def __init__(self, path: Path) -> None:
        self.settings = settings.Database(path=str(path))
        migrate(self.settings)

    def prepare(self, now: datetime = NOW, seed: int = simulation.SEED) -> None:
        history.prepare(self.settings, now, seed)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        opened = database.Database(self.settings, BATCH_LIMITS, 1, writes=True)
        try:
            with opened.engine.begin() as connection:
                yield connection
        finally:
            opened.close()

    def rows(self, question: str, *parameters: Any) -> list[Any]:
        with sqlite3.connect(self.settings.path) as connection:
            return connection.execute(question, parameters).fetchall()

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {table}")[0][0])

    def everything(self) -> dict[str, list[Any]]:
        return {table: self.rows(f"SELECT * FROM {table}") for table in tables.metadata.tables}


class FakeTime:
    """A clock that only `sleep` advances. A `sleep` that would pass `end` waits until `go_on` is called."""

    def __init__(self, start: datetime, lasting: timedelta) -> None:
        self.now = start
        self.end = start + lasting
        self.over = asyncio.Event()
        self._more = asyncio.Event()

    def clock(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        while self.now + timedelta(seconds=seconds) > self.end:
            self.over.set()
            self._more.clear()
            await self._more.wait()
        self.now += timedelta(seconds=seconds)

    def go_on(self, lasting: timedelta) -> None:
        self.end += lasting
        self.over.clear()
        self._more.set()


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The demo after its first start, for tests that only read."""
    site = Site(tmp_path_factory.mktemp("demo") / "month.db")
    site.prepare()
    return site


@pytest.fixture
def short_month(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_readings, "MONTH_S", 5 * 86_400)


@pytest.fixture
def site(tmp_path: Path, short_month: None) -> Site:
    """An empty database for which `prepare` writes only a short history."""
    return Site(tmp_path / "site.db")


async def live_for(site: Site, lasting: timedelta, start: datetime = NOW) -> None:
    time = FakeTime(start, lasting)
    task = asyncio.create_task(live.run(site.settings, time.clock, time.sleep))
    await asyncio.wait_for(time.over.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def neighbour(connection: sa.Connection) -> int:
    """Add a sensor of another organisation. The sensor and its storehouse have the same names as in the demo."""
    org_id = sites.ensure_organisation(connection, "邻居 Neighbour")
    store_house_id = sites.ensure_storehouse(connection, org_id, FREEZER.name, "UTC")
    return sites.ensure_sensor(connection, store_house_id, FREEZER.sensors[0].name, "temperature", unit="°C")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Contents


@pytest.mark.slow
def test_the_demo_has_twelve_storehouses_and_150_sensors(month: Site) -> None:
    assert month.count("organisation") == 3
    assert month.count("storehouse") >= 12
    assert month.count("sensor") >= 150
    assert {metric for (metric,) in month.rows("SELECT DISTINCT metric FROM sensor")} >= SEVEN_METRICS


def test_the_storehouses_lie_in_several_time_zones() -> None:
    zones = {storehouse.time_zone for storehouse in STOREHOUSES}
    assert zones == {"Asia/Shanghai", "Europe/Berlin", "America/Chicago"}


def test_sensors_have_units_and_distinct_positions() -> None:
    for storehouse in STOREHOUSES:
        positions = [sensor.position for sensor in storehouse.sensors]
        assert len(set(positions)) == len(positions)
        assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in positions)
        assert {sensor.unit for sensor in storehouse.sensors if sensor.metric == "temperature"} == {"°C"}
        assert {sensor.unit for sensor in storehouse.sensors if sensor.metric in ("door", "smoke")} == {""}


@pytest.mark.slow
def test_the_history_is_a_month_in_five_minute_steps(month: Site) -> None:
    of_one = month.rows("SELECT time FROM reading WHERE sensor_id = 1 ORDER BY time")
    times = [at(time) for (time,) in of_one]
    assert NOW - times[0] > timedelta(days=29, hours=23)
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {timedelta(minutes=5)}


def stopped_sensor(site: Site) -> list[tuple[Any, ...]]:
    """Return one row with the `sensor_id` of the demo's sensor that has stopped reporting."""
    ((storehouse, sensor),) = [
        (storehouse.name, sensor.name) for storehouse in STOREHOUSES for sensor in storehouse.stopped
    ]
    question = (
        "SELECT sensor_id FROM sensor JOIN storehouse USING (store_house_id) "
        "WHERE store_house_name = ? AND sensor_name = ?"
    )
    return site.rows(question, storehouse, sensor)


def last_report_of_stopped(site: Site) -> datetime:
    """Return the time of the last report of the demo's sensor that has stopped reporting."""
    ((sensor_id,),) = stopped_sensor(site)
    ((last,),) = site.rows("SELECT max(time) FROM reading WHERE sensor_id = ?", sensor_id)
    return at(last)


def test_no_healthy_sensor_is_stale_after_a_start(month: Site) -> None:
    last = month.rows("SELECT sensor_id, interval_s, max(time) FROM reading JOIN sensor USING (sensor_id) GROUP BY 1")
    assert len(last) == month.count("sensor")
    stale = [
        (sensor_id,)
        for sensor_id, interval_s, time in last
        if interval_s is not None and NOW - at(time) > timedelta(seconds=3 * interval_s)
    ]
    assert stale == stopped_sensor(month)


def test_the_state_of_every_door_is_known_from_the_start(month: Site) -> None:
    doors = month.rows(
        "SELECT count(DISTINCT sensor_id) FROM reading JOIN sensor USING (sensor_id) WHERE metric = 'door'"
    )
    assert doors == [(len(STOREHOUSES),)]


# Behaviour


@pytest.mark.slow
def test_two_runs_write_the_same_data(tmp_path: Path, short_month: None) -> None:
    first, second = Site(tmp_path / "one.db"), Site(tmp_path / "other.db")
    first.prepare()
    second.prepare()
    assert first.everything() == second.everything()


def test_another_seed_makes_other_values() -> None:
    assert simulation.values(FREEZER, WEEK, seed=1) != simulation.values(FREEZER, WEEK, seed=2)


@pytest.mark.parametrize("storehouse", STOREHOUSES, ids=name_of)
def test_single_values_equal_the_values_of_a_series(storehouse: Storehouse) -> None:
    series = simulation.values(storehouse, WEEK)
    for index in (1999, 3, 1200, 0, 777):
        alone = simulation.values(storehouse, [WEEK[index]])
        assert alone == {sensor: [values[index]] for sensor, values in series.items()}


@pytest.mark.parametrize(
    ("name", "low", "high"), [("Freezer", -24, -21), ("Cooler", 2, 5), ("Medicine", 4, 6), ("Dry Goods", 15, 25)]
)
def test_each_room_has_its_expected_temperature(name: str, low: float, high: float) -> None:
    for storehouse in (storehouse for storehouse in STOREHOUSES if name in storehouse.name):
        values = simulation.values(storehouse, WEEK)[storehouse.watched("temperature")]
        assert low < median(numbers(values)) < high


def test_a_freezer_cools_only_while_its_compressor_runs() -> None:
    # At this time nobody works in Shanghai, and no freezer defrosts.
    sunday_s = int(datetime(2026, 3, 1, 2, tzinfo=UTC).timestamp())
    values = simulation.values(FREEZER, range(sunday_s, sunday_s + 3600))
    running = [power > 4 for power in numbers(values[FREEZER.watched("power")])]
    temperature = numbers(values[FREEZER.watched("temperature")])
    starts = [second for second in range(1, 3600) if running[second] and not running[second - 1]]
    stops = [second for second in range(1, 3600) if running[second - 1] and not running[second]]
    assert starts
    assert stops
    assert min(temperature[start] for start in starts) > max(temperature[stop] for stop in stops) + 0.5


def test_a_freezer_warms_during_its_three_daily_defrosts() -> None:
    today = Schedule(FREEZER, simulation.SEED).defrosts(NOW_S, NOW_S)[-3:]
    assert {datetime.fromtimestamp(start, UTC).date() for start, _ in today} <= {NOW.date(), NOW.date() - DAY}
    for start, end in today:
        before, after = numbers(simulation.values(FREEZER, [int(start), int(end)])[FREEZER.watched("temperature")])
        assert after > before + 2


@pytest.mark.parametrize(("metric", "least"), [("temperature", 0.1), ("humidity", 0.5), ("light", 20)])
@pytest.mark.parametrize("storehouse", COLD, ids=name_of)
def test_an_open_door_lets_in_warmth_light_and_moisture(storehouse: Storehouse, metric: str, least: float) -> None:
    gains = []
    for start, end in Schedule(storehouse, simulation.SEED).openings(WEEK[0], WEEK[-1]):
        values = simulation.values(storehouse, [int(start) - 1, int(end) - 1])
        before, after = numbers(values[storehouse.watched(metric)])
        gains.append(after - before)
    assert mean(gains) > least


@pytest.mark.parametrize("storehouse", STOREHOUSES, ids=name_of)
def test_doors_open_in_local_working_hours(storehouse: Storehouse) -> None:
    opened = [time for time, state in simulation.changes(storehouse, WEEK[0], WEEK[-1]) if state == 1]
    hours = {datetime.fromtimestamp(time, ZoneInfo(storehouse.time_zone)).hour for time in opened}
    assert len(opened) > 40
    assert hours <= set(range(8, 18))


def test_a_door_reports_only_changes(month: Site) -> None:
    (door,) = month.rows("SELECT sensor_id FROM sensor WHERE metric = 'door' LIMIT 1")[0]
    states = [value for (value,) in month.rows("SELECT value FROM reading WHERE sensor_id = ? ORDER BY time", door)]
    assert len(states) > 100
    assert all(earlier != later for earlier, later in itertools.pairwise(states))


def test_only_the_failing_sensor_reports_faults() -> None:
    for storehouse in STOREHOUSES:
        for sensor, values in simulation.values(storehouse, WEEK).items():
            faults = values.count(None) / len(values)
            assert 0.02 < faults < 0.2 if sensor.condition is Condition.FAILING else faults == 0


# Alarms


def test_the_demo_has_alarms_of_every_kind(month: Site) -> None:
    assert 10 <= month.count("alarm") <= 25
    kinds = {kind for (kind,) in month.rows("SELECT DISTINCT kind FROM alarm")}
    assert kinds == {"high", "low", "switch"}
    assert month.rows("SELECT count(*) FROM alarm WHERE acknowledged")[0][0] >= 1


@pytest.mark.parametrize("later", range(0, 60, 7))
def test_every_mishap_occurs_in_every_month(later: int) -> None:
    for storehouse in STOREHOUSES:
        schedule = Schedule(storehouse, simulation.SEED)
        end = NOW_S + later * 86_400
        for mishap in storehouse.mishaps:
            spans = schedule.mishaps(mishap, end - past_readings.MONTH_S + 86_400, end - 86_400)
            assert spans, (storehouse.name, mishap)


@pytest.mark.parametrize(("kind", "sign"), [("high", 1), ("low", -1)])
def test_all_readings_of_an_alarm_are_beyond_its_limit(month: Site, kind: str, sign: int) -> None:
    question = "SELECT sensor_id, value, `limit`, raised, cleared FROM alarm WHERE kind = ?"
    for sensor_id, worst, limit, raised, cleared in month.rows(question, kind):
        during = "SELECT value FROM reading WHERE sensor_id = ? AND time >= ? AND time < ?"
        values = [sign * value for (value,) in month.rows(during, sensor_id, raised, cleared)]
        assert len(values) >= 2
        assert min(values) > sign * limit
        assert max(values) == sign * worst


def test_a_switch_is_on_as_long_as_its_alarm_lasts(month: Site) -> None:
    for sensor_id, raised, cleared in month.rows("SELECT sensor_id, raised, cleared FROM alarm WHERE kind = 'switch'"):
        on = "SELECT min(time), max(time) FROM reading WHERE sensor_id = ? AND value = 1 AND time BETWEEN ? AND ?"
        ((first, last),) = month.rows(on, sensor_id, raised, cleared)
        assert first == raised
        assert last < cleared


def test_the_demo_writes_only_cleared_alarms(month: Site) -> None:
    assert month.rows("SELECT * FROM alarm WHERE cleared IS NULL OR state != 'cleared'") == []


def test_the_stopped_sensor_has_not_reported_for_days(month: Site) -> None:
    assert NOW - last_report_of_stopped(month) >= timedelta(days=4)


@pytest.mark.slow
async def test_the_judge_uses_the_limits_of_the_room(demo_server: StorewatchServer) -> None:
    async with connected("python", demo_server.url) as client:
        sensors = (await client.call("querySensors", {"store_house_id": 4}))["data"]
        limits = {sensor["limits"]["high"] for sensor in sensors if sensor["metric"] == "temperature"}
    assert limits == {-15.0}


# Starts


@pytest.mark.slow
def test_a_killed_first_start_leaves_no_data(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    add_bulk, calls, before = readings.add_bulk, itertools.count(), site.everything()

    def killed(*rows: Any) -> None:
        add_bulk(*rows)
        if next(calls) == 100:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(readings, "add_bulk", killed)
        with pytest.raises(KeyboardInterrupt):
            site.prepare()
    assert site.everything() == before
    site.prepare()
    assert site.count("organisation") == 3


@pytest.mark.slow
def test_a_restart_fills_the_gap(site: Site) -> None:
    site.prepare()
    site.prepare(NOW + timedelta(hours=3))
    times = [at(time) for (time,) in site.rows("SELECT time FROM reading WHERE sensor_id = 1 ORDER BY time")]
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {timedelta(minutes=5)}
    assert NOW + timedelta(hours=3) - times[-1] < timedelta(minutes=5)


@pytest.mark.slow
def test_starts_on_two_days_write_the_same_as_one(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.prepare()
    site.prepare(NOW + timedelta(days=1))
    monkeypatch.setattr(past_readings, "MONTH_S", past_readings.MONTH_S + 86_400)
    monkeypatch.setattr(past_readings, "STOPPED_S", past_readings.STOPPED_S + 86_400)
    at_once = Site(tmp_path / "at_once.db")
    at_once.prepare(NOW + timedelta(days=1))
    question = "SELECT sensor_id, time, value FROM reading ORDER BY sensor_id, time"
    assert site.rows(question) == at_once.rows(question)


@pytest.mark.slow
def test_a_second_start_writes_nothing_again(site: Site) -> None:
    site.prepare()
    before = site.everything()
    site.prepare()
    assert site.everything() == before


@pytest.mark.slow
def test_a_start_after_a_long_stop_fills_a_month(site: Site) -> None:
    site.prepare()
    site.prepare(NOW + 400 * DAY)
    filled = "SELECT count(*) FROM reading WHERE sensor_id = 1 AND time > ?"
    assert site.rows(filled, readings.text(NOW)) == [(past_readings.MONTH_S // past_readings.STEP_S,)]


@pytest.mark.slow
def test_an_older_database_gets_english_names(site: Site) -> None:
    site.prepare()
    before = site.everything()
    former = "UPDATE {table} SET {column} = ? WHERE {column} = ?"
    with sqlite3.connect(site.settings.path) as connection:
        for table, column in (
            ("organisation", "org_name"),
            ("storehouse", "store_house_name"),
            ("sensor", "sensor_name"),
            ("episode", "sensor_name"),
        ):
            for english, chinese in CHINESE_NAMES.items():
                connection.execute(former.format(table=table, column=column), (f"{chinese} {english}", english))
        rule = json.dumps({"scope": {"sensor_name": "{}"}, "high": 8.0}, ensure_ascii=False)
        bilingual = f"{CHINESE_NAMES['Door temperature']} Door temperature"
        connection.execute("INSERT INTO rule (rule_id, rule) VALUES (1, ?)", (rule.replace("{}", bilingual),))
    assert site.everything() != before
    site.prepare()
    assert site.everything() | {"rule": []} == before
    assert site.rows("SELECT rule FROM rule") == [(rule.replace("{}", "Door temperature"),)]


@pytest.mark.slow
def test_other_organisations_in_the_database_stay_unchanged(site: Site) -> None:
    with site.transaction() as connection:
        theirs = neighbour(connection)
        readings.add(connection, [(theirs, NOW - DAY, 7.5)])
    site.prepare()
    assert site.count("organisation") == 4
    of_theirs = site.rows("SELECT time, value FROM reading WHERE sensor_id = ?", theirs)
    assert of_theirs == [(readings.text(NOW - DAY), 7.5)]


# Live


@pytest.mark.slow
async def test_every_reporting_sensor_reports_once_per_interval(site: Site) -> None:
    site.prepare()
    before = site.count("reading")
    await live_for(site, timedelta(seconds=2 * REPORT_INTERVAL_S))
    new = site.rows(
        "SELECT store_house_id, time, count(*), count(DISTINCT sensor_id) FROM reading JOIN sensor USING (sensor_id)"
        " WHERE reading_id > ? AND metric <> 'door' GROUP BY store_house_id, time",
        before,
    )
    assert len(new) == 2 * len(STOREHOUSES)
    for store_house_id, time, rows, sensors in new:
        storehouse = STOREHOUSES[store_house_id - 1]
        assert rows == sensors == len(storehouse.reporting)
        assert NOW < at(time) <= NOW + timedelta(seconds=2 * REPORT_INTERVAL_S)
        assert at(time).timestamp() % REPORT_INTERVAL_S == storehouse.phase_s


@pytest.mark.slow
async def test_the_stopped_sensor_stays_stopped(site: Site) -> None:
    site.prepare()
    site.prepare(NOW + timedelta(hours=1))
    await live_for(site, timedelta(seconds=REPORT_INTERVAL_S), NOW + timedelta(hours=1))
    assert NOW - last_report_of_stopped(site) >= timedelta(days=4)


@pytest.mark.slow
async def test_a_door_reports_its_first_state_and_then_changes(site: Site) -> None:
    morning = datetime(2026, 3, 5, 1, 0, tzinfo=UTC)  # 09:00 in Shanghai
    site.prepare(morning)
    before = site.count("reading")
    await live_for(site, timedelta(minutes=15), morning)
    states = site.rows(
        "SELECT sensor_id, value FROM reading JOIN sensor USING (sensor_id)"
        " WHERE reading_id > ? AND metric = 'door' ORDER BY reading_id",
        before,
    )
    by_door = {sensor_id: [state for door, state in states if door == sensor_id] for sensor_id, _ in states}
    assert len(by_door) == len(STOREHOUSES)
    assert all(earlier != later for door in by_door.values() for earlier, later in itertools.pairwise(door))
    assert len(states) > len(STOREHOUSES)


@pytest.mark.slow
async def test_a_reading_is_written_every_second(site: Site) -> None:
    site.prepare()
    await live_for(site, timedelta(seconds=REPORT_INTERVAL_S))
    new = site.rows("SELECT DISTINCT time FROM reading WHERE time > ? ORDER BY time", readings.text(NOW))
    times = [at(time) for (time,) in new]
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {timedelta(seconds=1)}


@pytest.mark.slow
async def test_a_locked_database_does_not_stop_the_demo(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live, "QUESTION_LIMITS", Limits(statement=0.05))
    site.prepare()
    before = site.count("reading")
    time = FakeTime(NOW, timedelta(seconds=REPORT_INTERVAL_S))
    with sqlite3.connect(site.settings.path, isolation_level=None) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(live.run(site.settings, time.clock, time.sleep))
        await time.over.wait()
        blocker.execute("ROLLBACK")
    assert "could not write" in caplog.text
    assert site.count("reading") == before
    async with asyncio.timeout(60):
        while site.count("reading") == before:  # on a busy machine, even an unlocked database may exceed the limit
            time.go_on(timedelta(seconds=REPORT_INTERVAL_S))
            await time.over.wait()
    task.cancel()


@pytest.mark.parametrize(
    ("second", "now_s", "expected"),
    [(100, 100, 101), (100, 103, 101), (100, 5000, 5000 - REPORT_INTERVAL_S), (5000, 100, 101)],
    ids=["on time", "slightly late", "after a pause", "clock set back"],
)
def test_the_next_second_follows_the_clock(second: int, now_s: int, expected: int) -> None:
    assert live.next_second(second, now_s) == expected


# Thinning


def live_readings(connection: sa.Connection, sensor_id: int, start: datetime, lasting: timedelta, phase_s: int) -> None:
    seconds = range(phase_s, int(lasting.total_seconds()), REPORT_INTERVAL_S)
    readings.add(connection, [(sensor_id, start + timedelta(seconds=second), 1.0) for second in seconds])


def test_thinning_affects_only_its_own_sensors_and_hour(site: Site) -> None:
    start = datetime(2026, 3, 1, 10, tzinfo=UTC)
    with site.transaction() as connection:
        for sensor_id in (1, 2):
            live_readings(connection, sensor_id, start, timedelta(hours=2), phase_s=4)
        thinning.thin(connection, [1], start, phase_s=4)
    times = "SELECT time FROM reading WHERE sensor_id = ? AND time < ? ORDER BY time"
    end = readings.text(start + timedelta(hours=1))
    kept = [at(time) - start for (time,) in site.rows(times, 1, end)]
    assert kept == [timedelta(minutes=minute, seconds=4) for minute in range(0, 60, 5)]
    in_each_hour = "SELECT sensor_id, time < ?, count(*) FROM reading GROUP BY 1, 2 ORDER BY 1, 2 DESC"
    assert site.rows(in_each_hour, end) == [(1, 1, 12), (1, 0, 360), (2, 1, 360), (2, 0, 360)]


@pytest.mark.slow
async def test_readings_older_than_a_day_are_thinned(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MONTH_S", 2 * 86_400)
    now = datetime(2026, 3, 5, 6, tzinfo=UTC)
    with site.transaction() as connection:
        theirs = neighbour(connection)
        ours = history.install(connection)[0].sensor_ids[FREEZER.reporting[0]]
        for sensor_id in (ours, theirs):
            live_readings(connection, sensor_id, now - 2 * DAY, timedelta(hours=25), FREEZER.phase_s)
    await live_for(site, timedelta(seconds=24 * REPORT_INTERVAL_S), now)  # each turn thins one hour
    younger = "SELECT time >= ?, count(*) FROM reading WHERE sensor_id = ? AND time < ? GROUP BY 1"
    of_ours, of_theirs = (
        site.rows(younger, readings.text(now - DAY), sensor_id, readings.text(now)) for sensor_id in (ours, theirs)
    )
    assert of_ours == [(0, 24 * 12), (1, 360)]
    assert of_theirs == [(0, 24 * 360), (1, 360)]
