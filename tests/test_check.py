"""The command `python main.py --check` reports the number of rows in the site's database.

If the settings have errors, it reports each error with the line of the settings file.
"""

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
    """Return a copy of the settings READING with `changes` in the section `part`.

    If `part` is None, the changes apply to the top level.
    """
    return READING | ({part: READING.get(part, {}) | changes} if part else changes)


def without(name: str, part: str = "columns") -> dict[str, Any]:
    return READING | {part: {ours: theirs for ours, theirs in READING[part].items() if ours != name}}


def test_a_valid_file_gets_a_row_count_per_subject(tmp_path: Path, site: SiteTables) -> None:
    status, output = check(tmp_path, {"database": site.settings(reading=READING)})
    assert status == 0
    first, *lines = output.splitlines()
    assert first == f"database: mysql {site.account}@127.0.0.1:{site.port}/{site.name}: open"
    newest = datetime.now(UTC) - timedelta(days=3)
    assert lines[:3] == ["organisation: 1 rows", "storehouse: 0 rows", "sensor: 0 rows"]
    assert lines[3].startswith(f"reading: 1 rows, newest {newest:%Y-%m-%d}")
    assert lines[3].endswith("Z, 3 days old")
    assert lines[4:] == ["alarm: not mapped; the pages show none", "no errors"]


def test_a_valid_file_gets_notes_on_missing_fields(tmp_path: Path, site: SiteTables) -> None:
    mapping = {
        "reading": without("reading_id") | {"late_window": "30m"},
        "sensor": {"sql": "SELECT 1 AS sensor_id, 2 AS store_house_id, 'x' AS sensor_name"},
        "storehouse": {"sql": "SELECT 2 AS store_house_id, 1 AS org_id, 'x' AS store_house_name"},
    }
    status, output = check(tmp_path, {"database": site.settings(**mapping)})
    assert status == 0
    assert "no increasing reading_id: each poll queries the readings of the last late_window (0.5 h) again" in output
    assert "note: no interval_s" in output
    assert "note: no metric" in output
    assert "note: no time_zone" in output


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    # description of the error: the map, the wrong line of the file, the message
    "a misnamed column": (
        {"reading": reading("columns", value="vv")},
        "value: vv",
        "database.map.reading.columns.value: there is no column 'vv' in table 'log', which has"
        " id, probe, t, seconds, stamp, name, v",
    ),
    "a required column without a mapping": (
        {"reading": without("value")},
        "reading:",
        "database.map.reading: map value in columns: there is no column 'value' in table 'log'",
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
    "a field missing from the SQL": (
        {"sensor": {"sql": "SELECT 1 AS sensor_id"}},
        "sensor:",
        "database.map.sensor: map store_house_id in columns: there is no column 'store_house_id' in the"
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
        "database.map.reading.columns.time: '1' is not a date and time",
    ),
    "a time that is other text": (
        {"reading": reading("columns", time="name")},
        "time: name",
        "database.map.reading.columns.time: 'x' is not a date and time",
    ),
    "an expression whose result is not a time": (
        {"reading": without("time") | {"expressions": {"time": "seconds * 2"}}},
        "time: seconds * 2",
        "database.map.reading.expressions.time: '2' is not a date and time",
    ),
    "a TIMESTAMP with a time zone": (
        {"reading": reading("columns", time="stamp") | {"time_zone": "Asia/Shanghai"}},
        "time: stamp",
        "database.map.reading.columns.time: a TIMESTAMP column returns times in UTC, so time_zone would shift them",
    ),
    "a misnamed wide column": (
        {"reading": without("value") | {"wide": {"temperature": "v", "humidity": "h"}}},
        "humidity: h",
        "database.map.reading.wide.humidity: there is no column 'h' in table 'log'",
    ),
    "an expression with a missing column": (
        {"reading": without("value") | {"expressions": {"value": "tenths / 10"}}},
        "value: tenths / 10",
        "database.map.reading.expressions.value: Unknown column 'tenths' in",
    ),
    "an unknown field": (
        {"reading": reading("columns", val="v")},
        "val: v",
        "database.map.reading.columns.val: reading has no such field; it has"
        " reading_id, sensor_id, time, metric, value",
    ),
    "ids of different types": (
        {"reading": without("sensor_id") | {"expressions": {"sensor_id": "CAST(probe AS CHAR)"}}},
        "reading:",
        "database.map.reading: sensor_id is text here but not in sensor",
    ),
    "readings with a metric and sensors without": (
        {
            "reading": reading("columns", metric="name"),
            "sensor": {"sql": "SELECT 1 AS sensor_id, 1 AS store_house_id, 'x' AS sensor_name"},
        },
        "sensor:",
        "database.map.sensor: the readings have a metric, so each sensor needs one too",
    ),
    "alarms without storehouse or sensor": (
        {"alarm": {"sql": "SELECT 1 AS alarm_id, UTC_TIMESTAMP() AS raised"}},
        "alarm:",
        "database.map.alarm: map store_house_id or sensor_id in columns",
    ),
}


@pytest.mark.parametrize(("mapping", "line", "message"), WRONG.values(), ids=WRONG.keys())
def test_each_error_names_its_line(
    mapping: dict[str, Any], line: str, message: str, tmp_path: Path, site: SiteTables
) -> None:
    status, output = check(tmp_path, {"database": site.settings(**({"reading": READING} | mapping))})
    config = tmp_path / "settings.yaml"
    number = 1 + [text.strip() for text in config.read_text(encoding="utf-8").splitlines()].index(line)
    assert status == 2
    assert f"ERROR: {config}:{number} {message.format(name=site.name)}" in output
    assert "organisation: 1 rows\n" in output
    assert output.endswith("errors: 1; nothing was changed\n")


def test_the_server_reports_the_same_error_and_stops(tmp_path: Path, site: SiteTables) -> None:
    mapping, _, message = WRONG["a misnamed column"]
    check(tmp_path, {"database": site.settings(**mapping)})
    done = run(tmp_path, "0", "--config", "settings.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("storewatch: settings.yaml:")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_all_errors_are_reported_in_one_run(tmp_path: Path, site: SiteTables) -> None:
    mapping = {"reading": reading(table="logs"), "sensor": {"table": "sensors"}, "alarm": {}}
    status, output = check(tmp_path, {"database": site.settings(**mapping)})
    assert status == 2
    assert [line.split(":")[0] for line in output.splitlines() if "ERROR" in line] == ["sensor", "reading", "alarm"]
    assert output.endswith("errors: 3; nothing was changed\n")


def test_unusable_rows_are_counted(tmp_path: Path, mariadb: MariaDB) -> None:
    site = SiteTables(mariadb)
    site.execute(
        *SITE,
        "SET STATEMENT sql_mode='' FOR INSERT INTO log (probe, t, v) VALUES (1, '0000-00-00 00:00:00', 1),"
        " (1, NULL, 1), (NULL, NOW(), 1), (1, UTC_TIMESTAMP() + INTERVAL 8 HOUR, 1)",
    )
    status, output = check(tmp_path, {"database": site.settings(reading=READING)})
    assert status == 0
    assert "reading: 5 rows, newest" in output
    assert "; 1 have a time in the future: check time_zone" in output
    assert "; 3 have no sensor or no time and are ignored" in output


@pytest.mark.parametrize("journal_mode", ["DELETE", "WAL"])
def test_check_does_not_change_the_sites_sqlite_file(journal_mode: str, tmp_path: Path) -> None:
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
    # In WAL mode, a reader creates these two files. The first of them stays empty.
    assert beside in ({}, {"site.db-wal": 0, "site.db-shm": 32768})


def test_storewatchs_own_tables_are_created_and_reported(tmp_path: Path) -> None:
    status, output = check(tmp_path, {"database": {"path": "own.db"}})
    assert status == 0
    assert "reading: 0 rows, none with a past time\n" in output


@pytest.mark.slow
def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    migrate(settings.Database(path=str(tmp_path / "own.db")))
    engine = sa.create_engine(f"sqlite:///{tmp_path}/own.db")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE storewatch_version SET version_num = '9999'"))
    engine.dispose()
    (tmp_path / "settings.yaml").write_text("access: open\ndatabase: {path: own.db}\n")
    done = run(tmp_path, "--check", "--config", "settings.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("storewatch: database: sqlite own.db was created by a newer version of Storewatch")
    assert done.stderr.count("\n") == 1
