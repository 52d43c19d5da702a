"""The command `python -m ingest csv`: the imported data, the messages and the exit codes."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
import yaml

import settings
from db import database, tables
from db.limits import BATCH_LIMITS
from tests.support.clients import connected
from tests.support.serving import ROOT, Serve, clean_environment, with_defaults

CHICAGO = ("--time-zone", "America/Chicago")


class Target:
    """A database to import into, and a settings file for this database."""

    def __init__(self, folder: Path, database_settings: dict[str, Any]) -> None:
        self.database_settings = database_settings
        self.config = folder / "settings.yaml"
        self.config.write_text(yaml.safe_dump(with_defaults({"database": database_settings})), encoding="utf-8")
        self.database = database.Database(msgspec.convert(database_settings, settings.Database), BATCH_LIMITS, 1)

    def command(self, file: Path | str, *options: str) -> list[str]:
        to = ["--config", str(self.config), "--store-house", "Cold store"]
        return [sys.executable, "-m", "ingest", "csv", str(file), *to, *options]

    def ingest(self, file: Path | str, *options: str) -> subprocess.CompletedProcess[str]:
        return run(self.command(file, *options))

    def rows(self, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
        with self.database.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def count(self) -> int:
        return int(self.rows(sa.select(sa.func.count()).select_from(tables.reading))[0][0])

    def readings(self) -> list[tuple[str, str, float]]:
        """Return the sensor's name, the time in UTC and the value of each reading, in chronological order."""
        reading, sensor = tables.reading.c, tables.sensor.c
        query = sa.select(sensor.sensor_name, reading.time, reading.value).where(sensor.sensor_id == reading.sensor_id)
        rows = self.rows(query.order_by(reading.time, reading.sensor_id))
        return [(name, at.strftime("%Y-%m-%d %H:%M:%S"), value) for name, at, value in rows]

    def values(self, sensor_name: str, *times: str) -> list[float]:
        """Return the sensor's values at these times in UTC, in chronological order."""
        instants = [datetime.fromisoformat(f"{time}+00:00") for time in times]
        reading, sensor = tables.reading.c, tables.sensor.c
        query = sa.select(reading.value).where(
            sensor.sensor_id == reading.sensor_id, sensor.sensor_name == sensor_name, reading.time.in_(instants)
        )
        return [value for (value,) in self.rows(query.order_by(reading.time))]


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=clean_environment() | {"PYTHONIOENCODING": "utf-8"} | environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    target = Target(tmp_path, {"kind": "sqlite", "path": str(tmp_path / "storewatch.db")})
    yield target
    target.database.close()


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.faults)])
def each_target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    if request.param == "sqlite":
        target = Target(tmp_path, {"kind": "sqlite", "path": str(tmp_path / "storewatch.db")})
    else:
        target = Target(tmp_path, request.getfixturevalue("mariadb_database"))
    yield target
    target.database.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "readings.csv"


def write(file: Path, *lines: str, encoding: str = "utf-8") -> Path:
    file.write_text("\n".join(lines) + "\n", encoding=encoding)
    return file


def complaints(stderr: str) -> list[str]:
    """Return the lines of stderr without the progress bar, which appears if the machine is slow."""
    return [line for line in stderr.replace("\r", "\n").splitlines() if line.strip() and "%|" not in line]


@pytest.mark.slow
async def test_a_year_of_readings_is_imported_once_and_shown(
    each_target: Target, coldstore: Path, serve: Serve
) -> None:
    first = each_target.ingest(coldstore / "readings.csv", *CHICAGO)
    assert (first.returncode, complaints(first.stderr)) == (0, [])
    assert "31,648 rows: 316,480 readings added, 0 already there." in first.stdout
    assert "From 2021-06-24 16:45-05:00 to 2022-05-20 08:45-05:00, a row every 15 min." in first.stdout
    assert (
        "back by 1 h to 2021-11-07 01:00; forward by 1 h to 2022-03-13 03:00: the import took this into account"
        in first.stdout
    )
    assert "80 readings in repeated hours: 4 rows in the first pass, 4 rows in the second." in first.stdout
    assert "1 gap; the longest: 30 min without a row before 2022-03-16" in first.stdout
    second = each_target.ingest(coldstore / "readings.csv", *CHICAGO)
    assert second.returncode == 0
    assert "0 readings added, 316,480 already there." in second.stdout
    assert each_target.count() == 316_480
    # The comments at the ends of the lines are the local times.
    assert each_target.values("platform_1", "2021-11-07 06:00", "2021-11-07 07:00") == [2.6, 2.7]  # 01:00, twice
    assert each_target.values("platform_1", "2022-03-13 07:45", "2022-03-13 08:00") == [2.8, 3.0]  # 01:45, then 03:00
    header, *_, last = (line.split(",") for line in (coldstore / "readings.csv").read_text().splitlines())
    async with serve({"database": each_target.database_settings}) as server, connected("node4", server.url) as client:
        envs = (await client.call("register", {"store_house_id": 1}))["data"]["envs"]
    assert [(env["sensor_name"], env["value"]) for env in envs] == [
        (name, float(value)) for name, value in zip(header[1:], last[1:], strict=True)
    ]
    assert {env["time"] for env in envs} == {"2022-05-20T13:45:00Z"}


def test_bad_rows_and_cells_are_reported_and_the_rest_imported(each_target: Target, file: Path) -> None:
    write(
        file,
        "time,a,b",
        "2024-01-31 10:00,1,2",
        "2024-01-31 10:15,x,4",
        "yesterday,5,6",
        "2024-01-31 10:45,7",
        '2024-01-31 11:00,"8,9',
        "2024-01-31 11:15,10,nan",
        ",,",
        "",
        "2024-01-31 11:30,,14",
    )
    done = each_target.ingest(file)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "line 3, column a: 'x' is not a number",
        "line 4, column time: 'yesterday' is not a time like 2024-01-31 13:45",
        "line 5: 2 cells where the header has 3",
        "line 6: its quotes are wrong: unexpected end of data",
        "line 7, column b: 'nan' is not a number",
    ]
    assert "7 rows: 5 readings added, 0 already there." in done.stdout
    assert "Left out: 3 bad rows, 2 bad cells." in done.stdout
    assert each_target.readings() == [
        ("a", "2024-01-31 10:00:00", 1),
        ("b", "2024-01-31 10:00:00", 2),
        ("b", "2024-01-31 10:15:00", 4),
        ("a", "2024-01-31 11:15:00", 10),
        ("b", "2024-01-31 11:30:00", 14),
    ]


def test_errors_after_the_twentieth_are_only_counted(target: Target, file: Path) -> None:
    write(file, "time,a", "2024-01-31 10:00,1", *["2024-01-31 10:15,x"] * 30)
    done = target.ingest(file)
    assert len(done.stderr.splitlines()) == 21
    assert "more than 20 faults" in done.stderr
    assert "30 bad cells" in done.stdout


def test_a_local_time_skipped_by_daylight_saving_is_bad(target: Target, file: Path) -> None:
    write(file, "time,a", "2022-03-13 01:45,1", "2022-03-13 02:15,2", "2022-03-13 03:00,3")
    done = target.ingest(file, *CHICAGO)
    assert done.returncode == 1
    assert "line 3: 2022-03-13 02:15:00 does not exist in America/Chicago: clocks went forward" in done.stderr
    assert [value for _, _, value in target.readings()] == [1, 3]


@pytest.mark.slow
def test_the_report_names_where_time_goes_back(target: Target, file: Path) -> None:
    write(file, "time,a", "2021-11-07 01:00,1", "2021-11-07 01:30,2", "2021-11-07 01:00,3", "2021-11-07 01:30,4")
    done = target.ingest(file)
    assert "2 readings added, 2 already there" in done.stdout
    assert "Time does not advance in 1 place, first at 2021-11-07 01:00+00:00" in done.stdout


@pytest.mark.slow
def test_a_file_may_list_the_newest_readings_first(target: Target, file: Path) -> None:
    lines = [
        "2021-11-07 02:00,5",
        "2021-11-07 01:30,4",
        "2021-11-07 01:00,3",
        "2021-11-07 01:30,2",
        "2021-11-07 01:00,1",
    ]
    done = target.ingest(write(file, "time,a", *lines), *CHICAGO)
    assert done.returncode == 0
    assert target.readings() == [
        ("a", "2021-11-07 06:00:00", 1),
        ("a", "2021-11-07 06:30:00", 2),
        ("a", "2021-11-07 07:00:00", 3),
        ("a", "2021-11-07 07:30:00", 4),
        ("a", "2021-11-07 08:00:00", 5),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_chinese_headers_are_read_in_each_encoding(each_target: Target, file: Path, encoding: str) -> None:
    write(file, "时间;冷库一号;冷库二号", "2024/1/31 8:00;-18,5;-20", encoding=encoding)
    done = each_target.ingest(file, "--org", "华东物流", "--time-zone", "Asia/Shanghai")
    assert done.returncode == 0, done.stderr
    assert each_target.readings() == [
        ("冷库一号", "2024-01-31 00:00:00", -18.5),
        ("冷库二号", "2024-01-31 00:00:00", -20),
    ]


@pytest.mark.slow
def test_the_import_creates_the_storehouse_and_its_sensors(target: Target, file: Path) -> None:
    write(file, "time,a,b", "2024-01-31 10:00,1,2", "2024-01-31 10:05,1,2", "2024-01-31 10:10,1,2")
    target.ingest(file, "--time-zone", "Europe/Berlin", "--org", "Frost Ltd")
    assert target.rows(sa.select(tables.organisation.c.org_name)) == [("Frost Ltd",)]
    storehouse, sensor = tables.storehouse.c, tables.sensor.c
    assert target.rows(sa.select(storehouse.store_house_name, storehouse.time_zone)) == [
        ("Cold store", "Europe/Berlin")
    ]
    rows = target.rows(sa.select(sensor.sensor_name, sensor.metric, sensor.unit, sensor.interval_s))
    assert rows == [("a", "temperature", "°C", 300), ("b", "temperature", "°C", 300)]


@pytest.mark.slow
def test_the_same_column_with_another_metric_is_another_sensor(target: Target, file: Path) -> None:
    write(file, "time,a", "2024-01-31 10:00,1")
    target.ingest(file)
    target.ingest(file, "--metric", "humidity", "--unit", "%")
    sensor = tables.sensor.c
    assert target.rows(sa.select(sensor.metric, sensor.unit)) == [("temperature", "°C"), ("humidity", "%")]
    assert target.count() == 2


@pytest.mark.slow
def test_milliseconds_are_stored_and_recognised_again(each_target: Target, file: Path) -> None:
    write(file, "time,a", "2024-01-31 10:00:00.123456,1", "2024-01-31 10:00:00.6239,2")
    assert "2 readings added, 0 already there" in each_target.ingest(file).stdout
    assert "0 readings added, 2 already there" in each_target.ingest(file).stdout


@pytest.mark.slow
def test_a_storehouse_keeps_its_time_zone_without_the_option(target: Target, file: Path) -> None:
    target.ingest(write(file, "time,a", "2024-01-31 10:00,1"), *CHICAGO)
    done = target.ingest(file)
    assert "0 readings added, 1 already there" in done.stdout
    assert "read as America/Chicago, the zone of the storehouse" in done.stdout


@pytest.mark.slow
def test_a_new_storehouse_without_a_time_zone_uses_utc(target: Target, file: Path) -> None:
    done = target.ingest(write(file, "time,a", "2024-01-31 10:00,1"))
    assert "Times without an offset were read as UTC, the zone of the storehouse" in done.stdout


@pytest.mark.slow
def test_times_with_an_offset_need_no_time_zone(target: Target, file: Path) -> None:
    done = target.ingest(write(file, "time,a", "2024-01-31T10:00+08:00,1", "2024-01-31T02:15Z,2"))
    assert "without an offset" not in done.stdout
    assert [at for _, at, _ in target.readings()] == ["2024-01-31 02:00:00", "2024-01-31 02:15:00"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--time-zone", "UTC"], "is in America/Chicago, not UTC"),
        (["--unit", "°F"], "'a' already exists, in °C"),
        (["--time-zone", "Mars/Olympus"], "'Mars/Olympus' is not a time zone"),
        (["--speed", "0"], "'0' is not a number above 0"),
        (["--speed", "nan"], "'nan' is not a number above 0"),
        (["--store-house", " "], "must have 1 to 255 characters"),
        (["--colour", "red"], "unrecognized arguments: --colour"),
    ],
)
def test_contradictory_or_invalid_options_are_refused_in_one_line(
    target: Target, file: Path, options: list[str], says: str
) -> None:
    target.ingest(write(file, "time,a", "2024-01-31 10:00,1"), *CHICAGO)
    done = target.ingest(file, *options)
    assert_refused(done, says)
    assert target.count() == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "names no sensor"),
        (b"time\n2024-01-31 10:00\n", "names no sensor"),
        (b"time,a\n", "no rows below the header"),
        (b"time,a\n12,1\n13,2\n", "line 2, column time: '12' is not a time"),
        (b"time,a,a\n2024-01-31 10:00,1,2\n", "two columns are named 'a'"),
        (b'"time,a\n2024-01-31 10:00,1\n', "the header cannot be read"),
        (b"\xff\xfet\x00i\x00m\x00e\x00", "neither UTF-8 nor GB18030"),
    ],
)
def test_an_invalid_file_is_refused_before_the_database_is_created(
    target: Target, file: Path, tmp_path: Path, content: bytes | None, says: str
) -> None:
    if content is not None:
        file.write_bytes(content)
    assert_refused(target.ingest(file), says)
    assert not (tmp_path / "storewatch.db").exists()


@pytest.mark.slow
def test_a_folder_is_refused(target: Target, tmp_path: Path) -> None:
    assert_refused(target.ingest(tmp_path), "is not a file")


@pytest.mark.slow
def test_the_import_never_writes_to_the_sites_tables(tmp_path: Path, file: Path) -> None:
    database_settings = {"kind": "sqlite", "path": str(tmp_path / "theirs.db"), "map": {"sensor": {"table": "probes"}}}
    done = Target(tmp_path, database_settings).ingest(write(file, "time,a", "2024-01-31 10:00,1"))
    assert_refused(done, "database.map: Storewatch never writes to the site's tables")
    assert not (tmp_path / "theirs.db").exists()


def test_a_refused_database_login_is_reported_in_one_line(
    mariadb_database: dict[str, Any], tmp_path: Path, file: Path
) -> None:
    target = Target(tmp_path, mariadb_database | {"password": "wrong"})
    done = target.ingest(write(file, "time,a", "2024-01-31 10:00,1"))
    assert_refused(done, "Access denied")
    assert "wrong" not in done.stderr


def test_sensor_names_the_database_treats_as_equal_are_refused(
    mariadb_database: dict[str, Any], tmp_path: Path, file: Path
) -> None:
    target = Target(tmp_path, mariadb_database)
    done = target.ingest(write(file, "time,Freezer,freezer", "2024-01-31 10:00,1,2"))
    assert_refused(done, "treats the columns 'Freezer' and 'freezer' as one sensor")


def test_without_settings_the_import_uses_the_demo_database(tmp_path: Path, file: Path) -> None:
    write(file, "time,a", "2024-01-31 10:00,1")
    command = [sys.executable, "-m", "ingest", "csv", str(file), "--store-house", "Cold store"]
    done = subprocess.run(
        command, cwd=tmp_path, env=clean_environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "var" / "storewatch.db").exists()


@pytest.mark.slow
def test_a_replay_at_high_speed_imports_everything(each_target: Target, file: Path) -> None:
    write(file, "time,a", *(f"2024-01-31 10:{minute:02},{minute}" for minute in range(60)))
    assert "60 readings added" in each_target.ingest(file, "--speed", "1e9").stdout
    assert "60 already there" in each_target.ingest(file, "--speed", "1e-9").stdout  # existing readings take no time
    assert [value for _, _, value in each_target.readings()] == list(range(60))


def test_a_file_with_newest_first_cannot_be_replayed(target: Target, file: Path) -> None:
    write(file, "time,a", "2024-01-31 11:00,1", "2024-01-31 10:00,1")
    assert_refused(target.ingest(file, "--speed", "10"), "sort the file by time")


@pytest.mark.slow
def test_an_interrupted_import_continues_when_run_again(each_target: Target, file: Path) -> None:
    write(file, "time,a", "2024-01-31 10:00,1", "2024-01-31 10:00:01,2", "2024-02-28 10:00,3")
    # A background job ignores SIGINT, and a child process would inherit that.
    child = subprocess.Popen(
        each_target.command(file, "--speed", "1000"),
        cwd=ROOT,
        env=clean_environment(),
        stderr=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_for_readings(each_target, 2)
    child.send_signal(signal.SIGINT)
    _, message = child.communicate(timeout=30)
    assert child.returncode == 130
    assert (
        message.strip()
        == "ingest: interrupted. The readings imported so far are kept; run the same command again to continue."
    )
    assert "1 reading added, 2 already there" in each_target.ingest(file).stdout


@pytest.mark.slow
def test_a_long_import_shows_its_progress_on_a_terminal(target: Target, coldstore: Path) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        target.command(coldstore / "readings.csv"),
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = everything_from(ours)
    assert child.wait() == 0
    assert "100%" in shown


def everything_from(terminal: int) -> str:
    parts = []
    try:
        while part := os.read(terminal, 4096):
            parts.append(part)
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(terminal)
    return b"".join(parts).decode("utf-8", "replace")


def wait_for_readings(target: Target, count: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if target.count() >= count:
                return
        except sa.exc.DBAPIError:  # the table does not exist yet
            pass
        time.sleep(0.05)
    raise AssertionError(f"there are not {count} readings")


def assert_refused(done: subprocess.CompletedProcess[str], says: str) -> None:
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
