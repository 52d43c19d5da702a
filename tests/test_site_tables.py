"""Storewatch answers every event from the site's own tables, whatever names and columns these tables have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support.clients import Client, connected
from tests.support.command import check
from tests.support.services.mariadb import MariaDB
from tests.support.serving import Serve
from tests.support.site_tables import SiteTables

SHANGHAI = ZoneInfo("Asia/Shanghai")
POLL = {"poll_interval": 0.05}


@pytest.fixture
def site(mariadb: MariaDB) -> SiteTables:
    return SiteTables(mariadb)


def ago(**span: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(**span)


def in_shanghai(time: datetime) -> datetime:
    return time.astimezone(SHANGHAI).replace(tzinfo=None)


def iso_time(time: datetime) -> str:
    """Return a UTC time as the server sends it."""
    return f"{time:%Y-%m-%dT%H:%M:%S}Z"


async def asks(client: Client, event: str, *payload: Any) -> Any:
    answer = await client.call(event, *payload)
    assert answer["ok"], answer
    return answer["data"]


async def code(client: Client, event: str, *payload: Any) -> str:
    answer = await client.call(event, *payload)
    return str(answer["error"]["code"]) if not answer["ok"] else f"ok: {answer['data']}"


async def pushed(client: Client, sensor_id: int | str, value: float) -> dict[str, Any]:
    """Wait for a push in which the sensor has this value. Return the sensor's object in the push."""
    while True:
        for env in (await client.next("envs"))["envs"]:
            if (env["sensor_id"], env["value"]) == (sensor_id, value):
                return dict(env)


CHINESE = (
    "CREATE TABLE 公司 (编号 INT PRIMARY KEY, 名称 VARCHAR(50))",
    "CREATE TABLE 仓库 (编号 INT PRIMARY KEY, 所属公司 INT, 名称 VARCHAR(50))",
    "CREATE TABLE 设备 (编号 INT PRIMARY KEY, 仓库编号 INT, 设备名称 VARCHAR(50), 上报间隔 INT)",
    "CREATE TABLE 温湿度记录 (序号 BIGINT PRIMARY KEY AUTO_INCREMENT, 设备编号 INT, 采集时间 DATETIME,"
    " 温度 DECIMAL(5,2), `湿度(%)` DECIMAL(5,2))",
    "CREATE TABLE 报警 (序号 INT PRIMARY KEY, 设备编号 INT, 指标 VARCHAR(20), 数值 DECIMAL(5,2),"
    " 触发时间 DATETIME, 恢复时间 DATETIME)",
    "INSERT INTO 公司 VALUES (1, '东方冷链'), (2, '空')",
    "INSERT INTO 仓库 VALUES (10, 1, '一号库'), (11, 1, '二号库')",
    "INSERT INTO 设备 VALUES (100, 10, '探头A', 60), (101, 11, '探头B', 60)",
)
CHINESE_MAP: dict[str, dict[str, Any]] = {
    "organisation": {"table": "公司", "columns": {"org_id": "编号", "org_name": "名称"}},
    "storehouse": {
        "table": "仓库",
        "columns": {"store_house_id": "编号", "org_id": "所属公司", "store_house_name": "名称"},
    },
    "sensor": {
        "table": "设备",
        "columns": {
            "sensor_id": "编号",
            "store_house_id": "仓库编号",
            "sensor_name": "设备名称",
            "interval_s": "上报间隔",
        },
    },
    "reading": {
        "table": "温湿度记录",
        "columns": {"reading_id": "序号", "sensor_id": "设备编号", "time": "采集时间"},
        "wide": {"temperature": "温度", "humidity": "湿度(%)"},
        "time_zone": "Asia/Shanghai",
    },
    "alarm": {
        "table": "报警",
        "columns": {
            "alarm_id": "序号",
            "sensor_id": "设备编号",
            "metric": "指标",
            "value": "数值",
            "raised": "触发时间",
            "cleared": "恢复时间",
        },
        "time_zone": "Asia/Shanghai",
    },
}


@pytest.fixture
def chinese(site: SiteTables) -> SiteTables:
    site.execute(*CHINESE)
    return site


def env(sensor_id: int | str, metric: str, value: float | None, time: datetime | None, **other: Any) -> dict[str, Any]:
    """Return the object that a push must contain for a sensor of the Chinese site. `other` adds or replaces keys."""
    units = {"temperature": "°C", "humidity": "%"}
    names = {100: "探头A", 101: "探头B"}
    return {
        "sensor_id": sensor_id,
        "sensor_name": names.get(sensor_id) if isinstance(sensor_id, int) else None,
        "metric": metric,
        "unit": units[metric],
        "value": value,
        "time": time and iso_time(time),
        "quality": "good" if time else "bad",
    } | other


async def test_a_chinese_site_with_wide_rows_answers_every_event(serve: Serve, chinese: SiteTables) -> None:
    before, now = ago(seconds=40), ago(seconds=10)
    raised, cleared = ago(hours=3), ago(hours=2)
    chinese.insert("温湿度记录", (1, 100, in_shanghai(before), 3.5, 80), (2, 100, in_shanghai(now), 4.25, None))
    chinese.insert(
        "报警",
        (7, 100, "temperature", 9.5, in_shanghai(raised), in_shanghai(cleared)),
        (8, 100, "humidity", 95, in_shanghai(now), None),
        (9, 101, "humidity", 96, in_shanghai(now), None),
        (6, 100, "humidity", 97, in_shanghai(ago(days=3)), in_shanghai(ago(days=2))),
    )
    settings = {"database": chinese.settings(**CHINESE_MAP)} | POLL
    async with serve(settings) as server, connected("python", server.url) as client:
        assert await asks(client, "orgs") == [{"org_id": 1, "org_name": "东方冷链"}, {"org_id": 2, "org_name": "空"}]
        storehouses = await asks(client, "storehouses", "1")
        assert storehouses[0] == {
            "store_house_id": 10,
            "store_house_name": "一号库",
            "org_id": 1,
            "time_zone": "Asia/Shanghai",
        }
        assert [storehouse["store_house_id"] for storehouse in storehouses] == [10, 11]
        assert await asks(client, "storehouses", {"org_id": 2}) == []

        envs = await asks(client, "register", {"store_house_id": 10})
        assert envs["envs"] == [env(100, "temperature", 4.25, now), env(100, "humidity", 80, before)]

        alarms = await asks(client, "queryAlarms", {"store_house_id": 10, "data_minute": 180})
        assert [alarm["alarm_id"] for alarm in alarms] == [8, 7]
        assert alarms[1] == {
            "alarm_id": 7,
            "store_house_id": 10,
            "sensor_id": 100,
            "sensor_name": "探头A",
            "metric": "temperature",
            "kind": "alarm",
            "severity": "warning",
            "state": "cleared",
            "acknowledged": False,
            "value": 9.5,
            "limit": None,
            "raised": iso_time(raised),
            "cleared": iso_time(cleared),
        }
        assert (alarms[0]["state"], alarms[0]["cleared"]) == ("active", None)
        minute = f"{in_shanghai(cleared + timedelta(minutes=1)):%Y-%m-%d %H:%M}"
        since = await asks(client, "queryAlarms", {"store_house_id": 10, "data_minute": minute})
        assert [alarm["alarm_id"] for alarm in since] == [8]

        later = ago(seconds=1)
        chinese.insert("温湿度记录", (3, 100, in_shanghai(later), 5.75, None))
        assert await pushed(client, 100, 5.75) == env(100, "temperature", 5.75, later)
        assert await asks(client, "unregister") is None


def test_check_succeeds_for_the_chinese_site(tmp_path: Path, chinese: SiteTables) -> None:
    chinese.insert("温湿度记录", (1, 100, in_shanghai(ago(seconds=300)), 3.5, 80))
    status, output = check(tmp_path, {"database": chinese.settings(**CHINESE_MAP)})
    newest = f"{ago(seconds=300):%Y-%m-%d %H:%M}"
    assert status == 0
    assert f"reading: 1 rows, newest {newest}" in output
    assert "Z, 5 minutes old\n" in output
    assert "organisation: 2 rows\nstorehouse: 2 rows\n" in output
    assert output.endswith("no errors\n")


def test_check_names_a_wrong_column_of_the_chinese_site(tmp_path: Path, chinese: SiteTables) -> None:
    wrong = CHINESE_MAP | {"reading": CHINESE_MAP["reading"] | {"wide": {"temperature": "溫度"}}}
    status, output = check(tmp_path, {"database": chinese.settings(**wrong)})
    assert status == 2
    line = 1 + (tmp_path / "settings.yaml").read_text().splitlines().index("        temperature: 溫度")
    assert f"reading: ERROR: {tmp_path}/settings.yaml:{line} database.map.reading.wide.temperature: " in output
    assert (
        "there is no column '溫度' in table '温湿度记录', which has 序号, 设备编号, 采集时间, 温度, 湿度(%)" in output
    )


@dataclass
class Shape:
    """One way in which a site stores readings.

    It contains the tables, the statement that inserts a reading, and the `map` in the settings.
    """

    tables: tuple[str, ...]
    insert: str
    """SQL statement that inserts a reading. It has two parameters, each written %s: the value and the time."""
    reading: dict[str, Any]
    clock: Callable[[datetime], object] = lambda time: time.replace(tzinfo=None)
    sensor: dict[str, Any] = field(default_factory=dict)
    store_house_id: int | str = 10
    sensor_id: int | str = 100


NUMBERED = (
    "CREATE TABLE organisation (org_id INT, org_name TEXT)",
    "CREATE TABLE storehouse (store_house_id INT, org_id INT, store_house_name TEXT)",
    "CREATE TABLE sensor (sensor_id INT, store_house_id INT, sensor_name TEXT, metric TEXT)",
    "INSERT INTO organisation VALUES (1, 'Owner')",
    "INSERT INTO storehouse VALUES (10, 1, 'North')",
    "INSERT INTO sensor VALUES (100, 10, 'Probe', 'temperature')",
)
NAMED = (
    "CREATE TABLE organisation (org_id VARCHAR(9), org_name TEXT)",
    "CREATE TABLE storehouse (store_house_id VARCHAR(9), org_id VARCHAR(9), store_house_name TEXT)",
    "CREATE TABLE sensor (sensor_id VARCHAR(9), store_house_id VARCHAR(9), sensor_name TEXT, metric TEXT)",
    "INSERT INTO organisation VALUES ('A1', 'Owner'), ('B', 'Other')",
    "INSERT INTO storehouse VALUES ('N-1', 'A1', 'North'), ('7', 'A1', 'Seven'), ('n-2 ', 'B', 'Other')",
    "INSERT INTO sensor VALUES ('S:1', 'N-1', 'Probe', 'temperature'), ('S:2', 'N-1', 'Other', 'temperature')",
)
OWN_NAMES = {"reading_id": "id", "sensor_id": "probe", "time": "t", "value": "v"}

SHAPES = {
    "Storewatch's own names": Shape(
        (
            *NUMBERED,
            "CREATE TABLE reading (reading_id INT PRIMARY KEY AUTO_INCREMENT, sensor_id INT, time DATETIME(3),"
            " value DOUBLE)",
        ),
        "INSERT INTO reading (sensor_id, value, time) VALUES (100, %s, %s)",
        {},
    ),
    "reserved words and spaces in names": Shape(
        (
            *NUMBERED,
            "CREATE TABLE `order` (`key` INT PRIMARY KEY AUTO_INCREMENT, `group` INT, `my time` DATETIME,"
            " `my value, 100% :v` FLOAT)",
        ),
        "INSERT INTO `order` (`group`, `my value, 100%% :v`, `my time`) VALUES (100, %s, %s)",
        {
            "table": "order",
            "columns": {
                "reading_id": "KEY",
                "sensor_id": "group",
                "time": "my time",
                "value": "my value, 100% :v",
            },
        },
    ),
    "SQL with colons and per cent signs": Shape(
        (*NUMBERED, "CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, probe INT, day DATE, tod TIME, v DOUBLE)"),
        "INSERT INTO log (probe, v, day, tod) SELECT 100, %s, DATE(t), TIME(t) FROM (SELECT %s AS t) AS one",
        {
            "sql": "SELECT id AS reading_id, probe AS sensor_id, v AS value,\n"
            "STR_TO_DATE(CONCAT(day, DATE_FORMAT(tod, ' %H:%i:%s')), '%Y-%m-%d %H:%i:%s') AS zeit\n"
            "FROM log WHERE 'a:b' <> ':c' AND probe % 7 = 2 -- every :one",
            "columns": {"time": "zeit"},
        },
    ),
    "expressions": Shape(
        (
            *NUMBERED,
            "CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, probe INT, tenths INT, seconds BIGINT)",
        ),
        "INSERT INTO log (probe, tenths, seconds) VALUES (100, 10 * %s, %s)",
        {
            "table": "log",
            "columns": {"reading_id": "id", "sensor_id": "probe"},
            "expressions": {"value": "tenths / 10", "time": "FROM_UNIXTIME(seconds)"},
        },
        clock=lambda time: int(time.timestamp()),
        sensor={"expressions": {"interval_s": "60", "unit": "'°C %'"}},
    ),
    "times in the time zone of the database": Shape(
        (*NUMBERED, "CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, probe INT, t TIMESTAMP(3) NULL, v FLOAT)"),
        "INSERT INTO log (probe, v, t) VALUES (100, %s, FROM_UNIXTIME(%s))",
        {"table": "log", "columns": OWN_NAMES},
        clock=lambda time: time.timestamp(),
    ),
    "a metric in each row and numbers stored as text": Shape(
        (
            *NUMBERED,
            "CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, probe INT, what TEXT, t DATETIME, v VARCHAR(9))",
        ),
        "INSERT INTO log (probe, what, v, t) VALUES (100, 'temperature', %s, %s)",
        {"table": "log", "columns": OWN_NAMES | {"metric": "what"}},
    ),
    "times stored as text, some of them invalid": Shape(
        (
            *NUMBERED,
            "CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, probe INT, t VARCHAR(30), v DOUBLE)",
            "INSERT INTO log VALUES (1, 100, 'soon', 1), (2, 100, '', 1), (3, 100, '0000-00-00', 1)",
        ),
        "INSERT INTO log (probe, v, t) VALUES (100, %s, %s)",
        {"table": "log", "columns": OWN_NAMES, "time_zone": "Asia/Shanghai"},
        clock=lambda time: str(in_shanghai(time)),
    ),
    "a view with decimal ids": Shape(
        (
            *NUMBERED,
            "CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, t DATETIME, v DOUBLE)",
            "CREATE VIEW seen AS SELECT CAST(id AS DECIMAL(20)) AS id, CAST(100 AS DECIMAL) AS probe, t, v FROM log",
        ),
        "INSERT INTO log (v, t) VALUES (%s, %s)",
        {"table": "seen", "columns": OWN_NAMES},
    ),
    "text ids and no growing id": Shape(
        (*NAMED, "CREATE TABLE log (probe VARCHAR(9), t DATETIME, v DOUBLE)"),
        "INSERT INTO log (probe, v, t) VALUES ('S:1', %s, %s)",
        {
            "table": "log",
            "columns": {"sensor_id": "probe", "time": "t", "value": "v"},
            "time_zone": "Asia/Shanghai",
        },
        clock=in_shanghai,
        store_house_id="N-1",
        sensor_id="S:1",
    ),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
async def test_readings_of_any_shape_have_the_right_time(shape: Shape, serve: Serve, site: SiteTables) -> None:
    site.execute(*shape.tables)
    before, now = ago(seconds=30), ago(seconds=10)
    site.insert_by(shape.insert, 4.5, shape.clock(before))
    settings = {"database": site.settings(reading=shape.reading, sensor=shape.sensor)} | POLL
    async with serve(settings) as server, connected("python", server.url) as client:
        first = (await asks(client, "register", {"store_house_id": shape.store_house_id}))["envs"][0]
        assert (first["sensor_id"], first["value"], first["time"]) == (shape.sensor_id, 4.5, iso_time(before))
        assert (first["metric"], first["quality"]) == ("temperature", "good")
        site.insert_by(shape.insert, 5.5, shape.clock(now))
        assert (await pushed(client, shape.sensor_id, 5.5))["time"] == iso_time(now)
        assert await asks(client, "queryAlarms", {"store_house_id": shape.store_house_id, "data_minute": 60}) == []


async def test_a_late_reading_inside_the_late_window_is_found(serve: Serve, site: SiteTables) -> None:
    shape = SHAPES["text ids and no growing id"]
    site.execute(*shape.tables)
    site.insert_by(shape.insert, 4.5, in_shanghai(ago(seconds=20)))
    other = shape.insert.replace("S:1", "S:2")
    site.insert_by(other, 1.5, in_shanghai(ago(minutes=50)))
    settings = {"database": site.settings(reading=shape.reading)} | POLL
    async with serve(settings) as server, connected("python", server.url) as client:
        await asks(client, "register", {"store_house_id": "N-1"})
        late, too_late = ago(minutes=40), ago(hours=2)
        site.insert_by(other, 0.5, in_shanghai(too_late))
        site.insert_by(other, 2.5, in_shanghai(late))
        assert (await pushed(client, "S:2", 2.5))["time"] == iso_time(late)


async def test_a_sensor_becomes_stale_three_intervals_after_its_reading(serve: Serve, site: SiteTables) -> None:
    shape = SHAPES["expressions"]
    site.execute(*shape.tables)
    site.insert_by(shape.insert, 4.5, shape.clock(ago(seconds=181)))
    settings = {"database": site.settings(reading=shape.reading, sensor=shape.sensor)} | POLL
    async with serve(settings) as server, connected("python", server.url) as client:
        (seen,) = (await asks(client, "register", {"store_house_id": 10}))["envs"]
        assert (seen["quality"], seen["unit"]) == ("stale", "°C %")


async def test_malformed_rows_do_not_stop_the_valid_rows(serve: Serve, site: SiteTables) -> None:
    shape = SHAPES["a metric in each row and numbers stored as text"]
    site.execute(*shape.tables)
    malformed: Sequence[str] = (
        "(100, 'temperature', '0000-00-00 00:00:00', '1')",
        "(100, 'temperature', NULL, '2')",
        "(NULL, 'temperature', NOW(), '3')",
        "(100, NULL, NOW(), '4')",
        "(100, 'temperature', '9999-12-31 23:59:59', '5')",
        "(100, 'temperature', '0001-01-01 00:00:00', '6')",
        "(77, 'temperature', NOW(), '7')",
    )
    insert = "INSERT INTO log (probe, what, t, v) VALUES " + ", ".join(malformed)
    site.execute(f"SET STATEMENT sql_mode='' FOR {insert}")
    site.insert_by(shape.insert, "4.5", in_shanghai(ago(seconds=60)))
    reading = shape.reading | {"time_zone": "Asia/Shanghai"}
    settings = {"database": site.settings(reading=reading)} | POLL
    async with serve(settings) as server, connected("python", server.url) as client:
        (first,) = (await asks(client, "register", {"store_house_id": 10}))["envs"]
        assert first["value"] == 4.5
        site.execute(f"SET STATEMENT sql_mode='' FOR {insert}")
        site.insert_by(shape.insert, "5.5", in_shanghai(ago(seconds=40)))
        await pushed(client, 100, 5.5)
        faulty = ago(seconds=20)
        site.insert_by(shape.insert, "abc", in_shanghai(faulty))
        seen = (await client.next("envs"))["envs"][0]
        assert (seen["value"], seen["quality"], seen["time"]) == (None, "bad", iso_time(faulty))
        site.insert_by(shape.insert, "6.5", in_shanghai(ago(seconds=1)))
        await pushed(client, 100, 6.5)


async def test_rows_without_id_are_skipped_and_names_are_optional(serve: Serve, site: SiteTables) -> None:
    site.execute(
        *SHAPES["Storewatch's own names"].tables,
        "INSERT INTO organisation VALUES (2, NULL), (NULL, 'Nobody')",
        "INSERT INTO storehouse VALUES (11, 1, NULL), (NULL, 1, 'Nowhere')",
        "INSERT INTO sensor VALUES (101, 11, NULL, NULL), (NULL, 11, 'Nothing', 'co2'), (102, NULL, 'Lost', 'co2')",
    )
    async with serve({"database": site.settings()}) as server, connected("python", server.url) as client:
        organisations = [(each["org_id"], each["org_name"]) for each in await asks(client, "orgs")]
        assert organisations == [(1, "Owner"), (2, "")]
        storehouses = await asks(client, "storehouses", 1)
        assert [(each["store_house_id"], each["store_house_name"]) for each in storehouses] == [(10, "North"), (11, "")]
        (seen,) = (await asks(client, "register", {"store_house_id": 11}))["envs"]
        assert (seen["sensor_id"], seen["sensor_name"], seen["metric"]) == (101, "", "")


async def test_text_ids_must_match_exactly(serve: Serve, site: SiteTables) -> None:
    shape = SHAPES["text ids and no growing id"]
    site.execute(*shape.tables, "CREATE TABLE alarm (alarm_id INT, store_house_id VARCHAR(9), raised DATETIME)")
    site.execute("INSERT INTO alarm VALUES (1, 'n-1', UTC_TIMESTAMP()), (2, 'N-1', UTC_TIMESTAMP())")
    settings = {"database": site.settings(reading=shape.reading, alarm={})}
    async with serve(settings) as server, connected("python", server.url) as client:
        storehouses = await asks(client, "storehouses", "A1")
        assert [storehouse["store_house_id"] for storehouse in storehouses] == ["7", "N-1"]
        for org_id in ("a1", "A1 ", "Ａ1", 0, "0", "' OR 1=1 -- "):
            assert (org_id, await code(client, "storehouses", org_id)) == (org_id, "not_found")
        for store_house_id in ("n-1", "N-1 ", 0, "0", "N-2", "n-2"):
            question = {"store_house_id": store_house_id}
            assert (store_house_id, await code(client, "register", question)) == (store_house_id, "not_found")
            assert await code(client, "queryAlarms", question | {"data_minute": 5}) == "not_found"
        assert (await asks(client, "register", {"store_house_id": 7}))["store_house_id"] == "7"
        assert (await asks(client, "register", {"store_house_id": "n-2 "}))["store_house_id"] == "n-2 "
        alarms = await asks(client, "queryAlarms", {"store_house_id": "N-1", "data_minute": 5})
        assert [alarm["alarm_id"] for alarm in alarms] == [2]


async def test_a_string_of_digits_matches_an_integer_id(serve: Serve, site: SiteTables) -> None:
    shape = SHAPES["Storewatch's own names"]
    site.execute(*shape.tables)
    async with serve({"database": site.settings()}) as server, connected("python", server.url) as client:
        assert (await asks(client, "register", {"store_house_id": "10"}))["store_house_id"] == 10
        assert (await asks(client, "storehouses", "1"))[0]["org_id"] == 1
        for store_house_id in ("10abc", "1e1", "", "10.0", 2**63):
            assert await code(client, "register", {"store_house_id": store_house_id}) == "not_found"


async def test_an_invalid_time_zone_of_a_storehouse_is_ignored(serve: Serve, chinese: SiteTables) -> None:
    chinese.execute(
        "ALTER TABLE 仓库 ADD 时区 VARCHAR(40) DEFAULT 'Asia/Urumqi'",
        "UPDATE 仓库 SET 时区 = '北京时间' WHERE 编号 = 11",
    )
    columns = CHINESE_MAP["storehouse"]["columns"] | {"time_zone": "时区"}
    mapping = CHINESE_MAP | {"storehouse": {"table": "仓库", "columns": columns}}
    settings = {"database": chinese.settings(**mapping)}
    async with serve(settings) as server, connected("python", server.url) as client:
        storehouses = await asks(client, "storehouses", 1)
        assert [storehouse["time_zone"] for storehouse in storehouses] == ["Asia/Urumqi", "Asia/Shanghai"]


async def test_a_read_only_account_suffices_and_nothing_is_written(serve: Serve, chinese: SiteTables) -> None:
    chinese.insert("温湿度记录", (1, 100, in_shanghai(ago(seconds=30)), 3.5, 80))
    before = chinese.checksum()
    settings = {"database": chinese.settings(**CHINESE_MAP)}
    async with serve(settings) as server, connected("python", server.url) as client:
        await asks(client, "register", {"store_house_id": 10})
    assert chinese.checksum() == before
