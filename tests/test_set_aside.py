"""Data that the database rejects is set aside, and all other data is stored."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import ask.sensors
import ask.storehouses
from alarm_service.judge_store import JudgeStore
from alarms import judge
from alarms.judge import State
from alarms.model import Reading as Measured
from alarms.rules import Terms
from ask import Ask
from ask.ids import identity, stored_id
from ask.readings import Reading
from ask.rows import number
from ask.subjects import our_subjects
from common.texts import shortened, truncated
from db import tables
from db.dialects import dialect_for
from db.migrate import migrate
from errors import Unavailable
from live.rollups import Rollups
from record.set_aside import SetAside, write_separately
from tests.support.clients import connected
from tests.support.serving_inside import serving_inside, until
from tests.support.sites import Site, site
from tests.test_health import becomes
from web import health

DOUBLE_MAX = 1.7976931348623157e308
FAST = {"poll_interval": 0.05, "rules": [{"scope": {}, "high": 8}]}


@pytest.fixture
def built(each_database: dict[str, Any]) -> Iterator[Site]:
    with site(each_database) as site_built:
        site_built.settings = each_database
        yield site_built


@pytest.fixture
def sqlite_site(tmp_path: Path) -> Iterator[Site]:
    where = {"path": str(tmp_path / "site.db")}
    with site(where) as site_built:
        site_built.settings = where
        yield site_built


def add_target(connection: sa.Connection, names: Any) -> list[str]:
    """Insert a lease for each name. The column `holder` allows at most 64 characters and no null."""
    now = datetime.now(UTC)
    times = {"expires": now, "begun": now, "done": now}
    rows = [{"lease_name": name, "holder": None if name == "null" else name} | times for name in names]
    connection.execute(sa.insert(tables.lease), rows)
    return list(names)


def test_rejected_rows_are_left_out_and_the_others_stored(built: Site) -> None:
    names = [str(number) for number in range(20)]
    rejected = ["null", "3"]  # a null, and a second row with the same key
    names[7:7] = rejected
    left_out: list[str] = []
    with built.database.engine.begin() as connection:
        results = write_separately(
            connection,
            names,
            lambda part: add_target(connection, part),
            lambda name, _error: left_out.append(name),
        )
    assert left_out == rejected
    stored = [name for result in results for name in result]
    assert stored == [str(number) for number in range(20)]
    with built.database.engine.connect() as connection:
        assert set(connection.scalars(sa.select(tables.lease.c.lease_name))) >= set(stored)


def test_an_error_of_the_database_sets_nothing_aside(built: Site) -> None:
    with pytest.raises(sa.exc.DBAPIError), built.database.engine.begin() as connection:
        write_separately(
            connection,
            ["x"],
            lambda _: connection.execute(sa.text("SELECT * FROM no_such_table")),
            lambda name, _error: pytest.fail(f"set aside {name}"),
        )


def test_each_subject_is_logged_and_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    set_aside = SetAside()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            set_aside.add("alarm", "sensor 1", ValueError())
        set_aside.add("alarm", "sensor 2", ValueError())
        set_aside.add("site_alarm", "sensor 1", ValueError())
    assert set_aside.counts == {"alarm": 2, "site_alarm": 1}
    assert len(caplog.records) == 3


async def test_a_sensor_that_cannot_be_judged_stops_no_other(
    sqlite_site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    judge_correctly = judge.judge

    def fail_for_far(terms: Terms, state: State, event: Measured | float) -> Any:
        if state.key[0] == sqlite_site.ids["far"]:
            raise ZeroDivisionError
        return judge_correctly(terms, state, event)

    monkeypatch.setattr(judge, "judge", fail_for_far)
    async with (
        serving_inside({"database": sqlite_site.settings} | FAST) as inside,
        connected("python", inside.url) as client,
    ):
        await client.call("register", {"store_house_id": sqlite_site.ids["north"]})
        for _ in range(3):
            sqlite_site.add("far", 30)
            sqlite_site.add("temperature", 30)
        assert (await client.next("alarms"))["alarms"][0]["sensor_id"] == sqlite_site.ids["temperature"]
        await until(lambda: "set aside the reading" in caplog.text)
        await becomes(inside.url, 200, judge=True)
    assert caplog.text.count("set aside") == 1


async def test_readiness_is_false_while_judging_fails(sqlite_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ALARMS_LATE_S", 2.0)
    write = JudgeStore.write
    async with serving_inside({"database": sqlite_site.settings} | FAST) as inside:
        await becomes(inside.url, 200, judge=True)
        monkeypatch.setattr(JudgeStore, "write", fail)
        answer = await becomes(inside.url, 503, judge=False)
        assert health.REASONS["judge"] in answer["reasons"]
        monkeypatch.setattr(JudgeStore, "write", write)
        await becomes(inside.url, 200, judge=True)


async def test_readiness_is_false_while_site_alarms_fail(sqlite_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ALARMS_LATE_S", 2.0)
    recent_alarms = Ask.recent_alarms
    async with serving_inside({"database": sqlite_site.settings} | FAST) as inside:
        await becomes(inside.url, 200, site_alarms=True)
        monkeypatch.setattr(Ask, "recent_alarms", fail)
        answer = await becomes(inside.url, 503, site_alarms=False, judge=True)
        assert answer["reasons"] == [health.REASONS["site_alarms"]]
        monkeypatch.setattr(Ask, "recent_alarms", recent_alarms)
        await becomes(inside.url, 200, site_alarms=True)


async def fail(*_: object) -> None:
    await asyncio.sleep(0)
    raise ZeroDivisionError


async def test_an_invalid_entry_of_the_journal_is_ignored(sqlite_site: Site) -> None:
    now = datetime.now(UTC)
    row = {"alarm_key": '"x"', "step": 1, "store_house_key": "1", "written": now, "is_open": True, "alarm": '{"alarm_i'}
    with sqlite_site.database.engine.begin() as connection:
        connection.execute(sa.insert(tables.alarm_journal), [row])
    settings = {"database": sqlite_site.settings} | FAST
    async with serving_inside(settings) as inside, connected("python", inside.url) as client:
        await client.call("register", {"store_house_id": sqlite_site.ids["north"]})
        with sqlite_site.database.engine.begin() as connection:
            connection.execute(sa.insert(tables.alarm_journal), [row | {"step": 2}])
        sqlite_site.raise_alarm("temperature", now, kind="theirs")
        assert (await client.next("alarms"))["alarms"][0]["kind"] == "theirs"


def test_a_repeated_upgrade_to_long_ids_changes_nothing(built: Site) -> None:
    built.execute("UPDATE storewatch_version SET version_num = '0006'")
    migrate(built.database.settings)
    with built.database.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM storewatch_version")) >= "0007"
        columns = [column["name"] for column in sa.inspect(connection).get_columns("episode")]
    assert columns.count("ids") == 1


async def test_the_largest_double_stops_no_rollups(built: Site) -> None:
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    rows: list[tuple[int, datetime, float | None]] = [
        (built.ids["temperature"], start + timedelta(seconds=10 * index), DOUBLE_MAX) for index in range(4)
    ]
    rows += [(built.ids["far"], start, 20.0), (built.ids["far"], start + timedelta(seconds=1), 22.0)]
    rows += [(built.ids["far"], datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), 1.0)]
    rows += [(built.ids["far"], datetime(1, 1, 1, tzinfo=UTC), 1.0)]
    built.add_all(rows)
    rollups = Rollups(built.database, "test")
    await rollups.update()
    await rollups.consume([Reading(built.ids["far"], None, rows[-2][1], 1.0, 1)])  # recomputes its bucket
    await rollups.update()
    await Rollups(built.database, "test").update()  # recomputes the buckets of all recent readings
    rollup = tables.rollup.c
    with built.database.engine.connect() as connection:
        position = connection.scalar(sa.select(tables.rollup_position.c.reading_id))
        highest = connection.scalar(sa.select(sa.func.max(tables.reading.c.reading_id)))
        columns = (rollup.sensor_id, rollup.min, rollup.max, rollup.sum, rollup.count)
        at_start = rollup.start == int(start.timestamp())
        stored = connection.execute(sa.select(*columns).where(at_start, rollup.bucket_s == 300)).all()
    assert position == highest
    assert [tuple(row) for row in stored] == [(built.ids["far"], 20.0, 22.0, 42.0, 2)]


async def test_an_impossible_value_is_bad_and_raises_no_alarm(sqlite_site: Site) -> None:
    async with (
        serving_inside({"database": sqlite_site.settings} | FAST) as inside,
        connected("python", inside.url) as client,
    ):
        await client.call("register", {"store_house_id": sqlite_site.ids["north"]})
        sqlite_site.add("temperature", DOUBLE_MAX)
        env = (await client.next("envs"))["envs"][0]
        while env["quality"] != "bad":
            env = (await client.next("envs"))["envs"][0]
        assert env["value"] is None
        sqlite_site.add("temperature", 30)
        alarm = (await client.next("alarms"))["alarms"][0]
        assert (alarm["value"], alarm["peak"]) == (30, 30)


def test_only_the_answer_to_a_question_has_a_maximum(built: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    subjects = our_subjects(dialect_for(built.database.settings))
    for module in (ask.storehouses, ask.sensors):
        monkeypatch.setattr(module, "MOST", 1)
    monkeypatch.setattr(ask.sensors, "BATCH", 1)
    ids = built.ids
    with built.database.engine.connect() as connection:
        with pytest.raises(Unavailable):
            ask.storehouses.storehouses(connection, subjects, ids["owner"])
        assert len(ask.storehouses.all_storehouses(connection, subjects)) == 2
        assert len(ask.storehouses.owners(connection, subjects)) == 2
        assert len(ask.sensors.sensors(connection, subjects)) == 3
        assert len(ask.sensors.sensors_of_ids(connection, subjects, [ids["far"], ids["door"]])) == 2


@pytest.mark.parametrize("text", ["a", "a" * 1_000, "a" * 1_001, "*", "\\*", "\\\\*", "sw-1", "\\sw-1", "sw-1 ", ""])
@pytest.mark.parametrize("column", ["sensor_id", "store_house_id", "alarm_id"])
def test_an_id_leads_back_to_its_row(column: str, text: str) -> None:
    shown = identity(text, column)
    assert shown not in ({"store_house_id": "*", "alarm_id": "sw-1"}.get(column), None)
    assert (stored_id(shown, column, is_text=True) == text) == (len(text) <= 1_000)


def test_shortened_texts_fit_and_stay_different() -> None:
    texts = ["x" * 300, "x" * 300 + "1", "x" * 299 + "\ud800", "x" * 299 + "\ud801"]
    assert len({shortened(text, 255) for text in texts}) == len(texts)
    assert {len(shortened(text, 255)) for text in texts} == {255}
    assert shortened("x" * 255, 255) == truncated("x" * 255) == "x" * 255
    assert truncated("x" * 256) == "x" * 254 + "…"


@pytest.mark.parametrize("value", [DOUBLE_MAX, -DOUBLE_MAX, 1.1e15, "1e999", "9" * 400, "NaN", float("inf"), 10**400])
def test_numbers_that_no_sensor_can_measure_are_faults(value: object) -> None:
    assert number(value) is None


def test_greatest_number_is_a_value() -> None:
    assert (number(1e15), number("-1e15")) == (1e15, -1e15)
