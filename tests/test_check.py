"""`python main.py --check` says what a site's settings find in its database, or what is wrong and where."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import settings
from db import tables
from db.migrate import migrate
from tests.support.command import check, run
from tests.support.services.mariadb import MariaDB
from tests.support.site_tables import SiteTables

SITE = (
    "CREATE TABLE organisation (org_id INT, org_name TEXT)",
    "CREATE TABLE storehouse (store_house_id INT, org_id INT, store_house_name TEXT, time_zone TEXT)",
    "CREATE TABLE sensor (sensor_id INT, store_house_id INT, sensor_name TEXT, metric TEXT, interval_s INT)",
    "CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, probe INT, t DATETIME, seconds INT, stamp TIMESTAMP NULL,"
    " name VARCHAR(9), v DOUBLE)",
    "INSERT INTO organisation VALUES (1, 'Owner')",
    "INSERT INTO log VALUES (1, 1, UTC_TIMESTAMP() - INTERVAL 3 DAY, 1, NOW(), 'x', 1)",
)
READING: dict[str, Any] = {
    "table": "log",
    "columns": {"reading_id": "id", "sensor_id": "probe", "time": "t", "value": "v"},
}


@pytest.fixture(scope="module")
def site(mariadb: MariaDB) -> SiteTables:
    built = SiteTables(mariadb)
    built.execute(*SITE)
    return built


def reading(part: str | None = None, /, **changes: Any) -> dict[str, Any]:
    """The map of readings that is right, with changes: to its parts, or within one of them."""
    return READING | ({part: READING.get(part, {}) | changes} if part else changes)


def without(name: str, part: str = "columns") -> dict[str, Any]:
    return READING | {part: {ours: theirs for ours, theirs in READING[part].items() if ours != name}}


def test_a_good_file_is_told_what_there_is_per_subject(tmp_path: Path, site: SiteTables) -> None:
    status, output = check(tmp_path, {"database": site.settings(reading=READING)})
    assert status == 0
    first, *lines = output.splitlines()
    assert first == f"database: mysql {site.account}@127.0.0.1:{site.port}/{site.name}: open"
    newest = datetime.now(UTC) - timedelta(days=3)
    assert lines[:3] == ["organisation: 1 rows", "storehouse: 0 rows", "sensor: 0 rows"]
    assert lines[3].startswith(f"reading: 1 rows, newest {newest:%Y-%m-%d}")
    assert lines[3].endswith("Z, 3 days old")
    assert lines[4:] == ["alarm: not mapped: none will be shown", "all is well"]


def test_what_a_good_file_costs_is_noted(tmp_path: Path, site: SiteTables) -> None:
    mapping = {
        "reading": without("reading_id") | {"late_window": "30m"},
        "sensor": {"sql": "SELECT 1 AS sensor_id, 2 AS store_house_id, 'x' AS sensor_name"},
        "storehouse": {"sql": "SELECT 2 AS store_house_id, 1 AS org_id, 'x' AS store_house_name"},
    }
    status, output = check(tmp_path, {"database": site.settings(**mapping)})
    assert status == 0
    assert "note: no reading_id that grows: readings are asked for again over late_window (0.5 h)" in output
    assert "note: no interval_s" in output
    assert "note: no metric" in output
    assert "note: no time_zone" in output


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    # what is wrong: the map, the line at fault in the file, what is said of it
    "a misnamed column": (
        {"reading": reading("columns", value="vv")},
        "value: vv",
        "database.map.reading.columns.value: there is no column 'vv' in table 'log', which has"
        " id, probe, t, seconds, stamp, name, v",
    ),
    "a column that is needed and not there under our name": (
        {"reading": without("value")},
        "reading:",
        "database.map.reading: say in columns what value is called; there is no column 'value' in table 'log'",
    ),
    "a missing table": (
        {"reading": reading(table="logs")},
        "table: logs",
        "database.map.reading.table: Table '{name}.logs' doesn't exist",
    ),
    "broken SQL": (
        {"reading": {"sql": "SELEC * FROM log"}},
        "sql: SELEC * FROM log",
        "database.map.reading.sql: You have an error in your SQL syntax",
    ),
    "a field that is missing from the sql": (
        {"sensor": {"sql": "SELECT 1 AS sensor_id"}},
        "sensor:",
        "database.map.sensor: say in columns what store_house_id is called; there is no column 'store_house_id' in the"
        " sql, which has sensor_id",
    ),
    "an unknown time zone": (
        {"reading": reading(time_zone="Asia/Peking")},
        "time_zone: Asia/Peking",
        "database.map.reading.time_zone: 'Asia/Peking' is not a time zone",
    ),
    "a time that is a number": (
        {"reading": reading("columns", time="seconds")},
        "time: seconds",
        "database.map.reading.columns.time: '1' is no date and time",
    ),
    "a time that is text of another kind": (
        {"reading": reading("columns", time="name")},
        "time: name",
        "database.map.reading.columns.time: 'x' is no date and time",
    ),
    "an expression that makes no time": (
        {"reading": without("time") | {"expressions": {"time": "seconds * 2"}}},
        "time: seconds * 2",
        "database.map.reading.expressions.time: '2' is no date and time",
    ),
    "a TIMESTAMP with a time zone": (
        {"reading": reading("columns", time="stamp") | {"time_zone": "Asia/Shanghai"}},
        "time: stamp",
        "database.map.reading.columns.time: a TIMESTAMP tells its time in UTC, so time_zone would shift it",
    ),
    "a misnamed wide column": (
        {"reading": without("value") | {"wide": {"temperature": "v", "humidity": "h"}}},
        "humidity: h",
        "database.map.reading.wide.humidity: there is no column 'h' in table 'log'",
    ),
    "an expression of a column that is not there": (
        {"reading": without("value") | {"expressions": {"value": "tenths / 10"}}},
        "value: tenths / 10",
        "database.map.reading.expressions.value: Unknown column 'tenths' in",
    ),
    "a field that we do not have": (
        {"reading": reading("columns", val="v")},
        "val: v",
        "database.map.reading.columns.val: reading has no such field; it has"
        " reading_id, sensor_id, time, metric, value",
    ),
    "ids that cannot meet": (
        {"reading": without("sensor_id") | {"expressions": {"sensor_id": "CAST(probe AS CHAR)"}}},
        "reading:",
        "database.map.reading: sensor_id is text here, and not so in sensor",
    ),
    "metrics that sensors do not have": (
        {
            "reading": reading("columns", metric="name"),
            "sensor": {"sql": "SELECT 1 AS sensor_id, 1 AS store_house_id, 'x' AS sensor_name"},
        },
        "sensor:",
        "database.map.sensor: the readings tell their metric, so each sensor needs one",
    ),
    "alarms of no place": (
        {"alarm": {"sql": "SELECT 1 AS alarm_id, UTC_TIMESTAMP() AS raised"}},
        "alarm:",
        "database.map.alarm: say in columns what store_house_id, or else sensor_id, is called",
    ),
}


@pytest.mark.parametrize(("mapping", "line", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named_with_its_line(
    mapping: dict[str, Any], line: str, message: str, tmp_path: Path, site: SiteTables
) -> None:
    status, output = check(tmp_path, {"database": site.settings(**({"reading": READING} | mapping))})
    config = tmp_path / "settings.yaml"
    number = 1 + [text.strip() for text in config.read_text(encoding="utf-8").splitlines()].index(line)
    assert status == 2
    assert f"WRONG: {config}:{number} {message.format(name=site.name)}" in output
    assert "organisation: 1 rows\n" in output
    assert output.endswith("1 wrong; nothing was changed\n")


def test_a_server_says_the_same_and_does_not_start(tmp_path: Path, site: SiteTables) -> None:
    mapping, _, message = WRONG["a misnamed column"]
    check(tmp_path, {"database": site.settings(**mapping)})
    done = run(tmp_path, "0", "--config", "settings.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("storewatch: settings.yaml:")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_each_mistake_is_told_in_one_run(tmp_path: Path, site: SiteTables) -> None:
    mapping = {"reading": reading(table="logs"), "sensor": {"table": "sensors"}, "alarm": {}}
    status, output = check(tmp_path, {"database": site.settings(**mapping)})
    assert status == 2
    assert [line.split(":")[0] for line in output.splitlines() if "WRONG" in line] == ["sensor", "reading", "alarm"]
    assert output.endswith("3 wrong; nothing was changed\n")


def test_rows_that_cannot_be_used_are_counted(tmp_path: Path, mariadb: MariaDB) -> None:
    site = SiteTables(mariadb)
    site.execute(
        *SITE,
        "SET STATEMENT sql_mode='' FOR INSERT INTO log (probe, t, v) VALUES (1, '0000-00-00 00:00:00', 1),"
        " (1, NULL, 1), (NULL, NOW(), 1), (1, UTC_TIMESTAMP() + INTERVAL 8 HOUR, 1)",
    )
    status, output = check(tmp_path, {"database": site.settings(reading=READING)})
    assert status == 0
    assert "reading: 5 rows, newest" in output
    assert "; 1 lie in the future: is time_zone right?" in output
    assert "; 3 have no sensor or no time and are left out" in output


@pytest.mark.parametrize("journal_mode", ["DELETE", "WAL"])
def test_a_sites_own_sqlite_file_stays_as_it_is(journal_mode: str, tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    tables.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.text(f"PRAGMA journal_mode={journal_mode}"))
        connection.execute(sa.text("INSERT INTO organisation (org_name) VALUES ('Owner')"))
    engine.dispose()
    before = path.read_bytes()
    status, output = check(tmp_path, {"database": {"path": str(path), "map": {}}})
    assert status == 0, output
    assert "organisation: 1 rows\n" in output
    assert path.read_bytes() == before
    beside = {each.name: each.stat().st_size for each in tmp_path.glob("site.db?*")}
    # In WAL mode whoever reads needs these two, though the first stays empty.
    assert beside in ({}, {"site.db-wal": 0, "site.db-shm": 32768})


def test_our_own_tables_are_made_and_told_of(tmp_path: Path) -> None:
    status, output = check(tmp_path, {"database": {"path": "own.db"}})
    assert status == 0
    assert "reading: 0 rows, none with a time till now\n" in output


def test_a_database_made_by_a_newer_version_is_refused_in_one_line(tmp_path: Path) -> None:
    migrate(settings.Database(path=str(tmp_path / "own.db")))
    engine = sa.create_engine(f"sqlite:///{tmp_path}/own.db")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE storewatch_version SET version_num = '9999'"))
    engine.dispose()
    (tmp_path / "settings.yaml").write_text("access: open\ndatabase: {path: own.db}\n")
    done = run(tmp_path, "--check", "--config", "settings.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("storewatch: database: sqlite own.db was made by a newer Storewatch")
    assert done.stderr.count("\n") == 1
