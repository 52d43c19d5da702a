"""A year of a real cold store in the chart: what is drawn has every alarm's peak, at the hours of the clock there."""

import csv
import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.support.browser import in_browser, in_one_loop, visit
from tests.support.coldstore import SENSORS, ZONE, with_year
from tests.support.serving import StorewatchServer, served

pytestmark = [in_browser, in_one_loop]

CHICAGO = ZoneInfo(ZONE)
BEGIN, END = datetime(2021, 6, 24, 21, tzinfo=UTC), datetime(2022, 5, 20, 14, tzinfo=UTC)
STABLE = "2021-09"
"""From this month on its own system's alarms follow limits that stay."""
KEEP = b"""
export default class Kept extends uPlot {
  constructor(...given) {
    super(...given);
    window.plot = this;
  }
}
"""

Reading = tuple[datetime, float]
Band = tuple[list[float | None], list[float | None]]
"""Lowest and highest, by the drawn times."""


@pytest.fixture(scope="module")
def year(coldstore: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorewatchServer]:
    """A server that has all of it."""
    with served(with_year(coldstore, tmp_path_factory.mktemp("year"))) as server:
        yield server


@pytest.fixture(scope="module")
def readings(coldstore: Path) -> dict[str, list[Reading]]:
    """What was measured, by sensor: read here once more, so that nothing of ours stands between."""
    by_sensor = defaultdict(list)
    before = datetime.min.replace(tzinfo=UTC)
    with (coldstore / "readings.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            wall = row.pop("time")
            time = instant(wall)
            before = (
                time if time > before else instant(wall, second=True)
            )  # the hour that comes twice stands in file order
            for sensor, value in row.items():
                by_sensor[sensor].append((before, float(value)))
    return by_sensor


def instant(wall: str, *, second: bool = False) -> datetime:
    """The instant of a local time of Chicago; of one that comes twice, the first or the `second`."""
    return datetime.fromisoformat(wall).replace(tzinfo=CHICAGO, fold=second).astimezone(UTC)


@asynccontextmanager
async def chart(browser: Browser, server: StorewatchServer, start: datetime, end: datetime) -> AsyncIterator[Page]:
    """The chart of all sensors; the page's `plot` is uPlot's own object, which it does not otherwise give away."""
    options = {
        "from": start.isoformat(),
        "to": end.isoformat(),
        "sensor": ";".join(json.dumps([number + 1, "temperature"], separators=(",", ":")) for number in range(SENSORS)),
    }
    async with visit(browser, "about:blank") as page:
        await page.route("**/modules/uplot.js", keep_the_plot)
        await page.goto(f"{server.url}#/storehouse/1/charts?{urlencode(options)}")
        await expect(page.locator(".legend li")).to_have_count(SENSORS)
        await expect(page.locator(".chart-foot")).to_be_visible()
        yield page


async def keep_the_plot(route: Route) -> None:
    answer = await route.fetch()
    script = await answer.body()
    await route.fulfill(response=answer, body=script.replace(b"\nexport default uPlot;\n", KEEP))


async def plotted(page: Page) -> tuple[list[datetime], dict[str, Band]]:
    """The times, and each sensor's band, as they were handed to uPlot."""
    times, *columns = await page.evaluate("plot.data.map((column) => [...column].map((value) => value ?? null))")
    names = await page.locator(".legend bdi").all_inner_texts()
    bands = {name: (columns[3 * at], columns[3 * at + 1]) for at, name in enumerate(names)}
    return [datetime.fromtimestamp(time, UTC) for time in times], bands


async def labels(page: Page) -> list[tuple[datetime, str]]:
    """What stands at the axis of times, and where."""
    axis: dict[str, Any] = await page.evaluate(
        """() => {
            const splits = plot.axes[0].splits(plot);
            return {splits, values: plot.axes[0].values(plot, splits)};
        }"""
    )
    times = [datetime.fromtimestamp(time, UTC) for time in axis["splits"]]
    return list(zip(times, axis["values"], strict=True))


def peaks(coldstore: Path, readings: dict[str, list[Reading]]) -> Iterator[tuple[str, datetime, float]]:
    """Of each alarm that its own system logged, what it told of, and the furthest until it ended."""
    since: dict[str, tuple[datetime, str]] = {}
    with (coldstore / "alarms-2021.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            sensor, event = row["sensor"], row["event"]
            if sensor not in readings or row["time"] < STABLE:
                continue
            if event in ("exceed", "deficit"):
                since[sensor] = instant(row["time"]), event
                yield sensor, instant(row["time"]), float(row["value"])
            elif event == "recovery" and sensor in since:
                start, kind = since.pop(sensor)
                its = between(readings[sensor], start, instant(row["time"], second=True))
                if its:
                    furthest = max if kind == "exceed" else min
                    yield sensor, *furthest(its, key=lambda reading: reading[1])


def between(readings: list[Reading], start: datetime, end: datetime) -> list[Reading]:
    """Those from the start until the end, which is not among them."""
    first, after = (bisect_left(readings, time, key=lambda reading: reading[0]) for time in (start, end))
    return readings[first:after]


async def test_the_band_of_the_year_has_the_peak_of_every_alarm(
    browser: Browser, year: StorewatchServer, coldstore: Path, readings: dict[str, list[Reading]]
) -> None:
    async with chart(browser, year, BEGIN, END) as page:
        times, bands = await plotted(page)
        marks = await labels(page)
    assert bands.keys() == readings.keys()
    bucket_s = min(later - earlier for earlier, later in pairwise(times)).total_seconds()
    rows = {time.timestamp(): row for row, time in enumerate(times)}
    logged = list(peaks(coldstore, readings))
    assert len(logged) > 100
    outside = []
    for sensor, time, value in logged:
        row = rows[time.timestamp() // bucket_s * bucket_s]
        low, high = (column[row] for column in bands[sensor])
        if low is None or high is None or not low <= value <= high:
            outside.append((sensor, time, value))
    assert outside == []
    assert {(there.day, there.hour) for there in (time.astimezone(CHICAGO) for time, _ in marks)} == {(1, 0)}


@pytest.mark.parametrize(
    ("change", "clocks"),
    [("2021-11-07T07:00:00Z", ["01:00", "01:00 GMT-6"]), ("2022-03-13T08:00:00Z", ["01:00", "03:00 GMT-5"])],
    ids=["back", "forward"],
)
async def test_where_its_clocks_changed_every_quarter_is_drawn_once_at_the_hour_that_they_showed(
    browser: Browser, year: StorewatchServer, readings: dict[str, list[Reading]], change: str, clocks: list[str]
) -> None:
    at = datetime.fromisoformat(change)
    start, end = at - timedelta(hours=3), at + timedelta(hours=3)
    async with chart(browser, year, start, end) as page:
        times, bands = await plotted(page)
        marks = {time: label.replace("\n", " ") for time, label in await labels(page)}
    inside = [row for row, time in enumerate(times) if start <= time < end]
    for sensor, (low, high) in bands.items():
        measured = between(readings[sensor], start, end)
        assert [(times[row], low[row]) for row in inside] == measured
        assert [(times[row], high[row]) for row in inside] == measured
    assert [marks[at - timedelta(hours=1)], marks[at]] == clocks
    assert all(label.startswith(f"{time.astimezone(CHICAGO):%H:%M}") for time, label in marks.items())
