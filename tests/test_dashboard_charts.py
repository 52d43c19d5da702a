"""Charts on the dashboard show the measured values, at local times of the storehouse."""

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support.browser import in_browser, in_one_loop, visit
from tests.support.scripted_site import ScriptedSite, alarm, curve, env, sensor
from tests.support.serving_inside import until

pytestmark = [in_browser, in_one_loop]

START = datetime(2026, 1, 31, 10, tzinfo=UTC)


def minutes(*values: float | None) -> list[list[Any]]:
    """Return the points of a chart: one point per minute, with these values. A value of None leaves out its minute."""
    times = ((START + timedelta(minutes=number)).isoformat().replace("+00:00", "Z") for number in range(len(values)))
    return [
        [time, value - 1, value + 1, value, 4] for time, value in zip(times, values, strict=True) if value is not None
    ]


async def module(page: Page, name: str, call: str, *arguments: Any) -> Any:
    """Call a function of a JavaScript module of the page. Return the result."""
    script = f"async (given) => (await import('/static/{name}')).{call}(...given)"
    return await page.evaluate(script, list(arguments))


async def test_an_alarm_in_a_chart_links_to_its_page(browser: Browser, site: ScriptedSite) -> None:
    site.sensors = [sensor()]
    site.curves = [curve(*minutes(*range(30)))]
    site.alarms = [alarm(raised="2026-01-31T10:05:00Z", cleared="2026-01-31T10:25:00Z", state="cleared")]
    span = "?from=2026-01-31T10:00:00Z&to=2026-01-31T10:30:00Z"
    async with visit(browser, f"{site.storehouse_url}/charts{span}") as page:
        await expect(page.locator(".chart canvas")).to_be_visible()
        await expect(page.locator(".plot")).to_have_attribute(
            "aria-label", "<img src=x onerror=alert(1)>: −1.0\u202f°C to 30.0\u202f°C"
        )
        await expect(page.locator(".chart-foot")).to_contain_text("Alarms: 1")
        over = page.locator(".u-over")
        box = await over.bounding_box()
        assert box
        await over.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.5})
        await expect(page.locator(".episode h2")).to_contain_text("High")


async def test_a_chart_shows_its_place_in_the_queue(browser: Browser, site: ScriptedSite) -> None:
    site.curves = [curve(*minutes(*range(30)))]
    site.errors["queryEnvs"] = {"code": "unavailable", "message": "not answered yet"}  # the page asks again
    async with visit(browser, f"{site.storehouse_url}/charts") as page:
        await expect(page.locator(".panels .notice")).to_have_text("Loading…")
        await site.push("ask_waiting", {"event": "queryEnvs", "position": 3})
        await expect(page.locator(".panels .notice")).to_have_text("Waiting: place 3")
        del site.errors["queryEnvs"]
        await expect(page.locator(".chart canvas")).to_be_visible()


async def test_the_cursor_shows_mean_and_range_of_each_sensor(browser: Browser, site: ScriptedSite) -> None:
    site.envs = [env(), env(sensor_id=6, metric="humidity", unit="%")]
    site.curves = [curve(*minutes(*range(31))), curve(*minutes(*range(31)), sensor_id=6, metric="humidity", unit="%")]
    span = "from=2026-01-31T10:00:00Z&to=2026-01-31T10:30:00Z"
    chosen = "sensor=%5B5%2C%22temperature%22%5D%3B%5B6%2C%22humidity%22%5D"
    async with visit(browser, f"{site.storehouse_url}/charts?{span}&{chosen}") as page:
        plots = page.locator(".u-over")
        await expect(plots).to_have_count(2)
        box = await plots.first.bounding_box()
        assert box
        await plots.first.hover(position={"x": box["width"] / 2, "y": box["height"] / 2})
        await expect(page.locator(".legend b").first).to_have_text("15.0 °C (14.0 … 16.0)")
        await expect(page.locator(".legend b").last).to_have_text("15.0 % (14.0 … 16.0)")
        await expect(page.locator(".cursor-time").first).to_contain_text("18:15:00 GMT+8")


def limits_between(high: float | None, start: str, end: str) -> dict[str, Any]:
    """Return limits that were in force between these times on 2026-01-31."""
    limits = {"high": high, "high_high": None, "low": 2, "low_low": None}
    return limits | {"start": f"2026-01-31T{start}:00Z", "end": f"2026-01-31T{end}:00Z"}


HEIGHTS = """(colour) => {
    const canvas = document.querySelector(".chart canvas");
    const probe = document.createElement("i");
    probe.style.color = `var(--${colour})`;
    document.querySelector(".plot").append(probe);
    const wanted = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
    probe.remove();
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const at = (x, y) => data.slice(4 * (y * width + x), 4 * (y * width + x) + 3);
    const is = (x, y) => wanted.every((part, index) => Math.abs(at(x, y)[index] - part) < 24);
    const highest = (from, to) => {
        for (let y = 0; y < height; y += 1) for (let x = from; x < to; x += 1) if (is(x, y)) return y;
        return null;
    };
    return [highest(width * 0.2 | 0, width * 0.4 | 0), highest(width * 0.7 | 0, width * 0.9 | 0)];
}"""


async def test_a_chart_draws_past_limits_at_their_times(browser: Browser, site: ScriptedSite) -> None:
    site.curves = [curve(*minutes(*(4 for _ in range(30))))]
    site.sensors = [sensor(past_limits=[limits_between(6, "10:00", "10:15")])]
    span = "?from=2026-01-31T10:00:00Z&to=2026-01-31T10:30:00Z"
    async with visit(browser, f"{site.storehouse_url}/charts{span}") as page:
        await expect(page.locator(".chart-foot")).to_be_visible()
        await expect(page.locator(".chart canvas")).to_be_visible()  # the plot is drawn in the next frame
        assert site.asked_last("querySensors")["since"] == "2026-01-31T10:00:00.000Z"
        before, after = await page.evaluate(HEIGHTS, "warning")
        assert before > after > 0  # the limit is 6 and later 8, and a higher limit has a smaller y coordinate


async def test_a_limit_is_drawn_only_while_all_sensors_share_it(browser: Browser, site: ScriptedSite) -> None:
    start = START.timestamp() * 1000
    hour = 3_600_000
    first = sensor(past_limits=[limits_between(6, "10:00", "10:30"), limits_between(None, "10:30", "11:00")])
    second = sensor(past_limits=[limits_between(6, "10:15", "10:30"), limits_between(6, "10:30", "11:00")])
    async with visit(browser, site.url) as page:

        async def high(*sensors: Any) -> list[list[float]]:
            steps = await module(page, "components/chart-data.js", "limitSteps", sensors, [start, start + 2 * hour])
            high_steps = [step for step in steps if step["name"] == "high"]
            return [[(step[edge] - start) / hour for edge in ("start", "end")] + [step["limit"]] for step in high_steps]

        assert await high(sensor()) == [[0, 2, 8]]
        assert await high(first) == [[0, 0.5, 6], [1, 2, 8]]
        # No limits are known before the first past limits.
        assert await high(second) == [[0.25, 1, 6], [1, 2, 8]]
        assert await high(first, second) == [[0.25, 0.5, 6], [1, 2, 8]]
        assert await high(first, None) == []


def is_near(asked: dict[str, Any], start: str, end: str) -> bool:
    """Return whether a request of the page asked for these times (UTC, 2026-01-31), to within a minute."""
    times = [datetime.fromisoformat(asked[name]) for name in ("start", "end")]
    expected = [datetime.fromisoformat(f"2026-01-31T{time}:00Z") for time in (start, end)]
    return all(abs(time - other) < timedelta(minutes=1) for time, other in zip(times, expected, strict=True))


async def test_a_chart_pans_zooms_and_returns_to_live(browser: Browser, site: ScriptedSite) -> None:
    site.curves = [curve(*minutes(*range(30)))]
    span = "?from=2026-01-31T10:00:00Z&to=2026-01-31T10:20:00Z"
    async with visit(browser, f"{site.storehouse_url}/charts{span}") as page:
        shown = page.locator(".span-shown")
        await expect(shown).to_have_text("31 Jan 2026, 18:00 – 31 Jan 2026, 18:20 · Asia/Shanghai")
        await page.get_by_role("button", name="Earlier").click()
        await expect(shown).to_contain_text("17:50 – 31 Jan 2026, 18:10")
        await page.locator(".panels").press("-")
        await expect(shown).to_contain_text("17:40 – 31 Jan 2026, 18:20")
        await page.locator(".panels").press("ArrowRight")
        await expect(shown).to_contain_text("18:00 – 31 Jan 2026, 18:40")
        box = await page.locator(".u-over").bounding_box()
        assert box
        y = box["y"] + box["height"] / 2
        await page.mouse.move(box["x"] + box["width"] / 4, y)
        await expect(page.locator(".cursor-time").first).to_contain_text("18:10")  # the plot shows the new span
        await page.mouse.down()
        await page.mouse.move(box["x"] + box["width"] * 3 / 4, y, steps=5)
        await page.mouse.up()
        await until(lambda: is_near(site.asked_last("queryEnvs"), "10:10", "10:30"))
        await page.locator(".panels").press("Home")
        await expect(page.get_by_role("button", name="Live")).to_have_attribute("aria-pressed", "true")


async def test_a_gap_of_one_sensor_interrupts_no_other(browser: Browser, site: ScriptedSite) -> None:
    with_gap = curve(*minutes(1, 2, None, None, None, None, None, 8))
    whole = curve(*minutes(1, 2, 3, 4, 5, 6, 7, 8), sensor_id=6)
    # In the chart, null is a gap and undefined means no point. Both would become None in Python, so the script returns
    # undefined as text.
    script = """async (given) => {
        const { columns } = await import("/static/components/chart-data.js");
        return columns(...given).map((column) => [...column].map((value) => (value === undefined ? "nothing" : value)));
    }"""
    nothing = ["nothing"] * 4
    async with visit(browser, site.url) as page:
        times, low, high, mean, *other = await page.evaluate(script, [[with_gap, whole], 60, [60, 60]])
        assert len(times) == 8
        assert low == [0, 1, None, *nothing, 7]
        assert high == [2, 3, None, *nothing, 9]
        assert mean == [1, 2, None, *nothing, 8]
        assert other[2] == [1, 2, 3, 4, 5, 6, 7, 8]
        assert (await page.evaluate(script, [[with_gap], 60, [None]]))[3] == [1, 2, 8]


@pytest.mark.parametrize(
    ("start", "labels"),
    [
        # The clock goes back from 02:00 to 01:00, so this hour occurs twice.
        ("2021-11-07T05:00:00Z", ["00:00\n7 Nov", "01:00", "01:00\nCST", "02:00", "03:00"]),
        # The clock goes forward from 02:00 to 03:00, so this hour does not exist.
        ("2022-03-13T06:00:00Z", ["00:00\n13 Mar", "01:00", "03:00\nCDT", "04:00", "05:00"]),
    ],
    ids=["back", "forward"],
)
async def test_time_axis_labels_are_right_at_a_clock_change(
    browser: Browser, site: ScriptedSite, start: str, labels: list[str]
) -> None:
    first_time = datetime.fromisoformat(start)
    span = [first_time.timestamp() * 1000, (first_time + timedelta(hours=4)).timestamp() * 1000]
    async with visit(browser, site.url) as page:
        marks = await module(page, "components/time-ticks.js", "ticks", "America/Chicago", *span, 6)
        assert [time - span[0] for time in marks["times"]] == [3_600_000 * hour for hour in range(5)]
        arguments = ("America/Chicago", marks["times"], marks["step"])
        shown = await module(page, "components/time-ticks.js", "tickLabels", *arguments)
        assert [label.replace("GMT-6", "CST").replace("GMT-5", "CDT") for label in shown] == labels


@pytest.mark.parametrize("days", [2, 9, 40, 365])
async def test_coarse_ticks_keep_their_local_hours_across_a_clock_change(
    browser: Browser, site: ScriptedSite, days: int
) -> None:
    first_time = datetime(2021, 11, 6, 5, tzinfo=UTC)
    span = [first_time.timestamp() * 1000, (first_time + timedelta(days=days)).timestamp() * 1000]
    async with visit(browser, site.url) as page:
        marks = await module(page, "components/time-ticks.js", "ticks", "America/Chicago", *span, 12)
        assert 2 <= len(marks["times"]) <= 14
        hours = await page.evaluate(
            """(times) => times.map(
                (time) => new Date(time).toLocaleTimeString("en-GB", {timeZone: "America/Chicago"})
            )""",
            marks["times"],
        )
        assert set(hours) <= {f"{hour:02}:00:00" for hour in range(0, 24, 6 if days < 3 else 24)}


async def test_the_csv_has_utc_and_local_times(browser: Browser, site: ScriptedSite, tmp_path: Path) -> None:
    site.envs = [env(sensor_name='=HYPERLINK("x")')]
    site.curves = [curve(*minutes(1.5, 2.5), sensor_name='=HYPERLINK("x")')]
    span = "?from=2026-01-31T10:00:00Z&to=2026-01-31T10:30:00Z"
    async with visit(browser, f"{site.storehouse_url}/charts{span}") as page:
        async with page.expect_download() as download:
            await page.get_by_role("button", name="Export CSV").click()
        await (await download.value).save_as(tmp_path / "curves.csv")
    text = (tmp_path / "curves.csv").read_text(encoding="utf-8-sig")
    header, first, second = csv.reader(io.StringIO(text))
    assert header == ["sensor", "metric", "unit", "time_utc", "time_local", "min", "max", "mean", "count"]
    assert first[0] == '\'=HYPERLINK("x")'
    assert first[3:] == ["2026-01-31T10:00:00Z", "2026-01-31 18:00:00+08:00", "0.5", "2.5", "1.5", "4"]
    assert second[4] == "2026-01-31 18:01:00+08:00"


async def test_the_charts_are_saved_as_a_picture(browser: Browser, site: ScriptedSite, tmp_path: Path) -> None:
    site.curves = [curve(*minutes(1.5, 2.5))]
    async with visit(browser, f"{site.storehouse_url}/charts") as page:
        async with page.expect_download() as download:
            await page.get_by_role("button", name="Export image").click()
        await (await download.value).save_as(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
