"""History for charts: buckets (time intervals) keep every peak, also at clock changes.

This holds for Storewatch's own tables and for the site's tables.
"""

import csv
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ask.buckets import WIDTHS_S, frame
from ask.history import LONGEST
from common import clock, time_zones
from db.limits import Limits
from tests.support.clients import Client, connected
from tests.support.coldstore import READINGS, SENSORS, ZONE, with_year, year_in
from tests.support.serving_inside import serving_inside
from tests.support.site_tables import SiteTables
from tests.support.sites import Site
from tests.support.sites import site as site_of_ours
from tests.test_site_tables import CHINESE, CHINESE_MAP, NAMED, SHAPES, Shape, in_shanghai, site

__all__ = ["site"]

CHICAGO = ZoneInfo(ZONE)
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
BACK, FORWARD = datetime(2021, 11, 7, 7, tzinfo=UTC), datetime(2022, 3, 13, 8, tzinfo=UTC)
"""The times at which the clocks in Chicago were set back and set forward (the end and the start of summer time)."""
CHANGES = {
    "back": (CHICAGO, BACK),
    "forward": (CHICAGO, FORWARD),
    "back by half an hour": (LORD_HOWE, datetime(2021, 4, 3, 15, tzinfo=UTC)),
    "forward by half an hour": (LORD_HOWE, datetime(2021, 10, 2, 15, 30, tzinfo=UTC)),
}
QUARTER = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)

Curve = dict[datetime, tuple[float, float, Any, int]]
"""The lowest value, highest value, mean and number of readings of each bucket (time interval).

The key is the start of the bucket.
"""
Curves = dict[str, Curve]
"""The curve of each sensor and metric. The key consists of the sensor's name and the metric."""


@asynccontextmanager
async def serving(where: dict[str, Any]) -> AsyncIterator[Client]:
    """Start a server that reads this database, and yield a client of the server."""
    settings = {"database": where, "poll_interval": 0.5}
    with pytest.MonkeyPatch.context() as patch:
        # A busy machine may need more than the usual 2 s for a year of readings.
        patch.setattr("app.databases.QUESTION_LIMITS", Limits(statement=60.0, read=61.0, answer=62.0))
        async with serving_inside(settings) as inside, connected("python", inside.url) as client:
            yield client


async def ask(
    client: Client, store_house_id: int | str, start: datetime, end: datetime, **other: Any
) -> dict[str, Any]:
    payload = {"store_house_id": store_house_id, "start": start.isoformat(), "end": end.isoformat()} | other
    answer = await client.call("queryEnvs", payload)
    assert answer["ok"], answer
    return dict(answer["data"])


def curves(answer: dict[str, Any]) -> Curves:
    return {
        f"{sensor['sensor_name']} {sensor['metric']}": {
            datetime.fromisoformat(time): (low, high, mean, count) for time, low, high, mean, count in sensor["points"]
        }
        for sensor in answer["sensors"]
    }


def counted(readings: Iterable[tuple[datetime, float]], bucket_s: int) -> Curve:
    """Compute the curve that the server must return for these readings."""
    by_bucket = defaultdict(list)
    for time, value in readings:
        second = int(time.timestamp())
        by_bucket[datetime.fromtimestamp(second - second % bucket_s, UTC)].append(value)
    return {
        time: (min(values), max(values), pytest.approx(sum(values) / len(values), rel=1e-5), len(values))
        for time, values in by_bucket.items()
    }


# Storewatch's own tables


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Site]:
    with site_of_ours({"path": str(tmp_path / "own.db")}) as built:
        yield built


def where(our_site: Site) -> dict[str, Any]:
    return {"path": our_site.database.settings.path}


async def test_sparse_readings_are_single_points(ours: Site) -> None:
    ours.add_all([(ours.ids["temperature"], NOON + n * MINUTE, n + 0.5) for n in range(3)])
    ours.add("temperature", None, NOON + 3 * MINUTE)
    ours.add("door", 1.0, NOON)
    async with serving(where(ours)) as client:
        answer = await ask(client, ours.ids["north"], NOON, NOON + timedelta(hours=1))
        of_door = await ask(client, str(ours.ids["north"]), NOON, NOON + MINUTE, sensor_id=str(ours.ids["door"]))
    assert answer == {
        "store_house_id": ours.ids["north"],
        "start": "2024-05-01T12:00:00Z",
        "end": "2024-05-01T13:00:00Z",
        "bucket_s": 5,
        "sensors": [
            {
                "sensor_id": ours.ids["temperature"],
                "sensor_name": "温度 1",
                "metric": "temperature",
                "unit": "°C",
                "points": [
                    ["2024-05-01T12:00:00Z", 0.5, 0.5, 0.5, 1],
                    ["2024-05-01T12:01:00Z", 1.5, 1.5, 1.5, 1],
                    ["2024-05-01T12:02:00Z", 2.5, 2.5, 2.5, 1],
                ],
            },
            {
                "sensor_id": ours.ids["door"],
                "sensor_name": "Door",
                "metric": "door",
                "unit": "",
                "points": [["2024-05-01T12:00:00Z", 1, 1, 1, 1]],
            },
        ],
    }
    assert [sensor["sensor_name"] for sensor in of_door["sensors"]] == ["Door"]


async def test_a_new_peak_shows_at_every_zoom_level(ours: Site) -> None:
    async with serving(where(ours)) as client:
        readings = [(NOON + n * MINUTE, 40.0 if n == 5000 else float(n % 7)) for n in range(10_000)]
        ours.add_all([(ours.ids["temperature"], time, value) for time, value in readings])
        widths = []
        for days in (1, 7, 30, 90, 366):
            answer = await ask(client, ours.ids["north"], NOON, NOON + timedelta(days=days), points=100)
            widths.append(answer["bucket_s"])
            shown = curves(answer)["温度 1 temperature"]
            expected = counted(readings, answer["bucket_s"]).items()
            assert shown == {time: each for time, each in expected if time < NOON + timedelta(days=days)}
            assert len(shown) <= 100
            if days >= 7:
                assert max(high for _, high, _, _ in shown.values()) == 40.0
    assert widths == sorted(widths)
    assert set(widths) <= set(WIDTHS_S)


@pytest.mark.parametrize(
    ("wrong", "code", "field"),
    [
        ({"start": "2024-05-01T12:00:00"}, "bad_request", "start"),
        ({"start": "yesterday"}, "bad_request", "start"),
        ({"end": 5}, "bad_request", "end"),
        ({"start": "0001-01-01T00:00:00Z"}, "bad_request", "start"),
        ({"start": "9999-12-31T23:59:59Z", "end": "9999-12-31T23:59:59.9Z"}, "bad_request", "start"),
        ({"end": "2024-05-01T12:00:00Z"}, "bad_request", "end"),
        ({"end": "2026-05-01T12:00:00Z"}, "bad_request", "end"),
        ({"end": "9999-12-31T23:59:59-12:00"}, "bad_request", "end"),
        ({"points": 5001}, "bad_request", "points"),
        ({"points": 9}, "bad_request", "points"),
        ({"store_house_id": 999}, "not_found", "store_house_id"),
        ({"sensor_id": 999}, "not_found", "sensor_id"),
    ],
)
async def test_an_invalid_query_is_refused_with_its_field(
    ours: Site, wrong: dict[str, Any], code: str, field: str
) -> None:
    right = {"store_house_id": ours.ids["north"], "start": "2024-05-01T12:00:00Z", "end": "2024-05-02T12:00:00Z"}
    async with serving(where(ours)) as client:
        answer = await client.call("queryEnvs", right | wrong)
    assert (answer["error"]["code"], answer["error"]["field"]) == (code, field)


def naive(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC).replace(tzinfo=None)


@given(
    st.datetimes(naive(1970, 1, 2), naive(2100, 1, 1)),
    st.timedeltas(timedelta(milliseconds=1), LONGEST),
    st.integers(10, 5000),
)
@example(naive(2024, 5, 1) + timedelta(seconds=0.5), timedelta(seconds=10), 10)
def test_any_span_fits_into_the_requested_number_of_buckets(start: datetime, span: timedelta, points: int) -> None:
    start = start.replace(tzinfo=UTC)
    framed = frame(start, start + span, points)
    assert (framed.end_s - framed.start_s) / framed.bucket_s <= points
    assert framed.start_s <= start.timestamp() <= (start + span).timestamp() <= framed.end_s
    assert framed.bucket_s in WIDTHS_S
    narrower = [width for width in WIDTHS_S if width < framed.bucket_s]
    assert not narrower or span.total_seconds() > narrower[-1] * (points - 1)


# The site's tables


async def test_a_wide_table_gives_one_curve_for_each_metric(site: SiteTables) -> None:
    site.execute(*CHINESE)
    rows = [(n, 100, NOON + n * MINUTE, n * 0.25, None if n % 2 else 50 + n) for n in range(1, 60)]
    values = (f"({n}, {key}, '{in_shanghai(time)}', {a}, {'NULL' if b is None else b})" for n, key, time, a, b in rows)
    site.execute(f"INSERT INTO 温湿度记录 VALUES {', '.join(values)}")
    async with serving(site.settings(**CHINESE_MAP)) as client:
        answer = await ask(client, 10, NOON, NOON + timedelta(hours=1), points=10)
    assert answer["bucket_s"] == 600
    assert curves(answer) == {
        "探头A temperature": counted(((row[2], row[3]) for row in rows), 600),
        "探头A humidity": counted(((row[2], row[4]) for row in rows if row[4] is not None), 600),
    }


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
async def test_every_table_shape_has_a_history(shape: Shape, site: SiteTables) -> None:
    site.execute(*shape.tables)
    readings = [(NOON + n * MINUTE, n + 0.5) for n in range(12)]
    for time, value in readings:
        site.insert_by(shape.insert, value, shape.clock(time))
    async with serving(site.settings(reading=shape.reading, sensor=shape.sensor)) as client:
        answer = await ask(client, shape.store_house_id, NOON, NOON + timedelta(hours=1), points=100)
    curve = next(sensor for sensor in answer["sensors"] if sensor["sensor_id"] == shape.sensor_id)
    assert next(iter(curves({"sensors": [curve]}).values())) == counted(readings, 60)


async def test_non_numeric_texts_are_skipped_and_ids_are_case_sensitive(site: SiteTables) -> None:
    site.execute(*NAMED, "INSERT INTO sensor VALUES ('s:1', 'N-1', 'Small', 'temperature')")
    site.execute("CREATE TABLE reading (sensor_id VARCHAR(9), time VARCHAR(30), value VARCHAR(20))")
    values = {"S:1": ["9", "10.5", "ERR", " -3e1 ", "nan", "", "1,5"], "s:1": ["7", "--"]}
    for sensor_id, texts in values.items():
        for text in texts:
            site.insert("reading", (sensor_id, "2024-05-01 12:00:00", text))
    async with serving(site.settings()) as client:
        answer = await ask(client, "N-1", NOON, NOON + timedelta(hours=1))
    shown = {sensor["sensor_name"]: sensor["points"] for sensor in answer["sensors"]}
    assert shown["Probe"] == [["2024-05-01T12:00:00Z", -30.0, 10.5, -3.5, 3]]
    assert shown["Small"] == [["2024-05-01T12:00:00Z", 7.0, 7.0, 7.0, 1]]
    assert shown["Other"] == []


# Daylight saving


@pytest.mark.parametrize("change", [BACK, FORWARD], ids=["back", "forward"])
async def test_local_times_around_a_clock_change_are_converted_correctly(site: SiteTables, change: datetime) -> None:
    site.execute(*NAMED, "CREATE TABLE reading (sensor_id VARCHAR(9), time DATETIME, value DOUBLE)")
    times = [change + n * QUARTER for n in range(-40, 40)]
    rows = ", ".join(f"('S:1', '{time.astimezone(CHICAGO):%Y-%m-%d %H:%M}', {n})" for n, time in enumerate(times))
    site.execute(f"INSERT INTO reading VALUES {rows}")
    zone = {"time_zone": "America/Chicago"}
    async with serving(site.settings(reading=zone)) as client:
        answer = await ask(client, "N-1", times[0], times[-1] + QUARTER, points=100)
    # The two passes of the repeated hour cannot be distinguished, so readings of both count as the second pass.
    first_pass = range(36, 40) if change == BACK else range(0)
    expected = [(time + timedelta(hours=1) if n in first_pass else time, float(n)) for n, time in enumerate(times)]
    assert answer["bucket_s"] == 900
    assert curves(answer)["Probe temperature"] == counted(expected, 900)


@pytest.mark.parametrize("minute", range(-120, 240, 15))
@pytest.mark.parametrize(("zone", "change"), CHANGES.values(), ids=CHANGES)
def test_history_converts_local_times_as_live_readings_do(zone: ZoneInfo, change: datetime, minute: int) -> None:
    now = change + minute * MINUTE
    start, end = change - timedelta(hours=4), min(change + timedelta(hours=4), now + clock.AHEAD)
    spans = time_zones.local_spans(start, end, zone, now)
    first = change.astimezone(zone).replace(tzinfo=None, fold=0) - timedelta(hours=6)
    for wall in (first + n * 5 * MINUTE for n in range(12 * 12)):
        instant = time_zones.from_local(wall, zone, now)
        offsets = [span.offset for span in spans if span.start <= wall < span.end]
        assert offsets == ([wall - instant.replace(tzinfo=None)] if start <= instant < end else []), wall


@given(
    zone=st.sampled_from([CHICAGO, LORD_HOWE, ZoneInfo("Asia/Shanghai"), ZoneInfo("Africa/Casablanca")]),
    start=st.datetimes(naive(2021, 1, 1), naive(2022, 12, 1)),
    hours=st.integers(1, 9000),
    wall_minutes=st.integers(-300, 9000 * 60),
)
def test_each_local_time_counts_once_in_any_span(
    zone: ZoneInfo, start: datetime, hours: int, wall_minutes: int
) -> None:
    start = start.replace(tzinfo=UTC)
    end = start + timedelta(hours=hours)
    now = end + timedelta(days=1)
    wall = (start.astimezone(zone) + wall_minutes * MINUTE).replace(tzinfo=None, fold=0)
    instant = time_zones.from_local(wall, zone, now)
    offsets = [span.offset for span in time_zones.local_spans(start, end, zone, now) if span.start <= wall < span.end]
    assert offsets == ([wall - instant.replace(tzinfo=None)] if start <= instant < end else [])


# A year of a real cold store


@pytest.fixture(scope="module")
def year(coldstore: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the settings of a database with a whole year of readings."""
    folder = tmp_path_factory.mktemp("year")
    with_year(coldstore, folder)
    return year_in(folder)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=CHICAGO).astimezone(UTC)


@pytest.mark.slow
async def test_the_year_chart_contains_the_value_of_every_alarm(year: dict[str, Any], coldstore: Path) -> None:
    async with serving(year) as client:
        answer = await ask(client, 1, local("2021-06-24 16:00"), local("2022-05-20 09:00"))
    bands = curves(answer)
    assert len(bands) == SENSORS
    assert sum(count for curve in bands.values() for _, _, _, count in curve.values()) == READINGS
    with (coldstore / "alarms-2021.csv").open(encoding="utf-8") as file:
        raised = [row for row in csv.DictReader(file) if row["event"] in ("exceed", "deficit")]
    named = [row for row in raised if row["time"] >= "2021-09" and f"{row['sensor']} temperature" in bands]
    assert len(named) > 100
    outside = [row for row in named if not _is_inside(bands[f"{row['sensor']} temperature"], row, answer["bucket_s"])]
    assert outside == []


def _is_inside(curve: Curve, alarm: dict[str, str], bucket_s: int) -> bool:
    second = int(local(alarm["time"]).timestamp())
    low, high, _, _ = curve[datetime.fromtimestamp(second - second % bucket_s, UTC)]
    return low <= float(alarm["value"]) <= high


@pytest.mark.slow
@pytest.mark.parametrize("change", [BACK, FORWARD], ids=["back", "forward"])
async def test_no_quarter_hour_is_missing_or_doubled_at_clock_changes(year: dict[str, Any], change: datetime) -> None:
    async with serving(year) as client:
        answer = await ask(client, 1, change - timedelta(hours=24), change + timedelta(hours=24), points=200)
    assert answer["bucket_s"] == 900
    for curve in curves(answer).values():
        assert list(curve) == [change + n * QUARTER for n in range(-96, 96)]
        assert {count for _, _, _, count in curve.values()} == {1}
