"""The chart of a year of readings of a real cold store shows the peak of every alarm, at local times."""

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
"""From this month on, the limits in the cold store's own alarm system do not change."""
EXPOSE = b"""
export default class Exposed extends uPlot {
  constructor(...given) {
    super(...given);
    window.plot = this;
  }
}
"""

Reading = tuple[datetime, float]
Band = tuple[list[float | None], list[float | None]]
"""Two lists for a sensor: its lowest values and its highest values at the times on the chart."""


@pytest.fixture(scope="module")
def year(coldstore: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorewatchServer]:
    """A server with the readings of the whole year."""
    with served(with_year(coldstore, tmp_path_factory.mktemp("year"))) as server:
        yield server


@pytest.fixture(scope="module")
def readings(coldstore: Path) -> dict[str, list[Reading]]:
    """The measured readings by sensor, read from the CSV file without Storewatch's code."""
    by_sensor = defaultdict(list)
    before = datetime.min.replace(tzinfo=UTC)
    with (coldstore / "readings.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            wall = row.pop("time")
            time = instant(wall)
            # A time that goes back belongs to the second pass of the repeated hour.
            before = time if time > before else instant(wall, second=True)
            for sensor, value in row.items():
                by_sensor[sensor].append((before, float(value)))
    return by_sensor


def instant(wall: str, *, second: bool = False) -> datetime:
    """Return the instant of a local time in Chicago. If the time occurs twice, `second` selects the later instant."""
    return datetime.fromisoformat(wall).replace(tzinfo=CHICAGO, fold=second).astimezone(UTC)


@asynccontextmanager
async def chart(browser: Browser, server: StorewatchServer, start: datetime, end: datetime) -> AsyncIterator[Page]:
    """Open the chart of all sensors and expose the uPlot object as `window.plot`.

    The page itself does not expose the uPlot object.
    """
    options = {
        "from": start.isoformat(),
        "to": end.isoformat(),
        "sensor": ";".join(json.dumps([number + 1, "temperature"], separators=(",", ":")) for number in range(SENSORS)),
    }
    async with visit(browser, "about:blank") as page:
        await page.route("**/modules/uplot.js", expose_plot)
        await page.goto(f"{server.url}#/storehouse/1/charts?{urlencode(options)}")
        await expect(page.locator(".legend li")).to_have_count(SENSORS)
        await expect(page.locator(".chart-foot")).to_be_visible()
        await expect(page.locator(".chart canvas").first).to_be_visible()  # the plot is drawn in the next frame
        yield page


async def expose_plot(route: Route) -> None:
    answer = await route.fetch()
    script = await answer.body()
    await route.fulfill(response=answer, body=script.replace(b"\nexport default uPlot;\n", EXPOSE))


async def plotted(page: Page) -> tuple[list[datetime], dict[str, Band]]:
    """Return what the page passed to uPlot: the times, and the lowest and highest values of each sensor."""
    times, *columns = await page.evaluate("plot.data.map((column) => [...column].map((value) => value ?? null))")
    names = await page.locator(".legend bdi").all_inner_texts()
    bands = {name: (columns[3 * at], columns[3 * at + 1]) for at, name in enumerate(names)}
    return [datetime.fromtimestamp(time, UTC) for time in times], bands


async def labels(page: Page) -> list[tuple[datetime, str]]:
    """Return the time and the text of each label on the time axis."""
    axis: dict[str, Any] = await page.evaluate(
        """() => {
            const splits = plot.axes[0].splits(plot);
            return {splits, values: plot.axes[0].values(plot, splits)};
        }"""
    )
    times = [datetime.fromtimestamp(time, UTC) for time in axis["splits"]]
    return list(zip(times, axis["values"], strict=True))


def peaks(coldstore: Path, readings: dict[str, list[Reading]]) -> Iterator[tuple[str, datetime, float]]:
    """Yield two results for each alarm in the cold store's log: one for its first value and one for its peak.

    Each result consists of the sensor, the time and the value.
    """
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
    """Return the readings from `start` (included) to `end` (excluded)."""
    first, after = (bisect_left(readings, time, key=lambda reading: reading[0]) for time in (start, end))
    return readings[first:after]


async def test_the_drawn_band_contains_every_alarm_peak(
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
async def test_every_reading_around_a_clock_change_is_drawn_once(
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
