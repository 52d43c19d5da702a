"""Tests of the dashboard's page of one storehouse: tiles, floor plan, table, and data that is not current."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.support.browser import DESK, HANG_MS, PHONE, fits, in_browser, in_one_loop, visit
from tests.support.cable import Cable
from tests.support.clients import connected
from tests.support.scripted_site import MARKUP, NOW, ScriptedSite, alarm, alarms, env, envs, sensor
from tests.support.serving import Serve, StorewatchServer
from tests.support.serving_inside import until
from tests.support.sites import site as real_site

pytestmark = [in_browser, in_one_loop]


@contextlib.asynccontextmanager
async def first_storehouse(page: Page) -> AsyncIterator[None]:
    """Open the page of the first storehouse and wait for the readings."""
    await page.locator(".card a").first.click()
    await expect(page.locator(".tile").first).to_be_visible()
    yield


async def test_a_committed_reading_appears_on_the_page(browser: Browser, serve: Serve, tmp_path: Path) -> None:
    database = {"kind": "sqlite", "path": str(tmp_path / "site.db")}
    with real_site(database) as there:
        async with serve({"database": database, "poll_interval": 0.1}) as server:
            north = f"{server.url}#/storehouse/{there.ids['north']}"
            async with visit(browser, north) as page:
                tile = page.locator(".tile", has_text="温度 1")
                await expect(tile.locator(".number")).to_have_text("4.5")
                there.add("temperature", -7.25, datetime.now(UTC))
                await expect(tile.locator(".number")).to_have_text("−7.3")


async def test_a_watched_storehouse_shows_new_readings(browser: Browser, demo_server: StorewatchServer) -> None:
    async with visit(browser, demo_server.url) as page, first_storehouse(page):
        thermometer = page.locator(".tile time").first  # not a door, because a door reports only when it changes
        before = await thermometer.get_attribute("datetime") or ""
        await expect(thermometer).not_to_have_attribute("datetime", before)
        assert (await thermometer.get_attribute("datetime") or "") > before


async def test_a_reload_keeps_the_storehouse_and_its_view(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, site.url) as page, first_storehouse(page):
        await page.get_by_role("link", name="Table").click()
        await page.reload()
        await expect(page.locator("table.readings tbody tr")).to_have_count(1)
        await expect(page.locator('.tabs a[aria-current="page"]')).to_have_text("Table")
        await page.go_back()
        await expect(page.locator(".tile")).to_have_count(1)


async def test_an_unknown_address_shows_a_notice(browser: Browser, demo_server: StorewatchServer) -> None:
    async with visit(browser, f"{demo_server.url}#/storehouse/100%") as page:
        await expect(page.locator(".notice")).to_contain_text("This storehouse does not exist")
    async with visit(browser, f"{demo_server.url}#/nowhere") as page:
        await expect(page.locator(".notice")).to_contain_text("Page not found")
        await page.get_by_role("link", name="Show all storehouses").click()
        await expect(page.locator(".card").first).to_be_visible()


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
async def test_no_view_scrolls_sideways_on_a_phone(
    browser: Browser, demo_server: StorewatchServer, locale: str
) -> None:
    async with visit(browser, demo_server.url, locale=locale, viewport=PHONE) as page, first_storehouse(page):
        storehouse = page.url
        for view in ("", "/plan", "/table", "/charts", "/alarms", "/rules"):
            await page.goto(storehouse + view)
            await expect(page.locator('.tabs [aria-current="page"]')).to_be_visible()
            await page.wait_for_load_state("networkidle")
            assert await fits(page), view


async def test_the_current_tab_is_visible_on_a_phone(browser: Browser, site: ScriptedSite) -> None:
    site.alarms = [alarm()]
    async with visit(browser, f"{site.storehouse_url}/rules", viewport=PHONE) as page:
        await expect(page.locator(".tabs .badge")).to_have_text("1")
        current = page.locator('.tabs [aria-current="page"]')
        await expect(current).to_have_text("Rules")
        await expect(current).to_be_in_viewport(ratio=0.99)


async def test_every_control_is_large_enough_for_touch(browser: Browser, demo_server: StorewatchServer) -> None:
    for view in ("", "#/storehouse/4", "#/storehouse/4/charts", "#/storehouse/4/alarms"):
        async with visit(browser, demo_server.url + view, viewport=PHONE, has_touch=True) as page:
            await expect(page.locator("main h1")).to_be_visible()
            await page.wait_for_load_state("networkidle")
            sizes = await page.locator("button:visible, select:visible, .tabs a, .card a").evaluate_all(
                "all => all.map(one => [one.textContent, one.getBoundingClientRect().height])"
            )
            assert [(text, height) for text, height in sizes if height < 44] == []


@pytest.mark.parametrize("name", [MARKUP, "<script>alert(1)</script>", "❄️ 冷", "مستودع \u202e12\u202c", "W" * 200])
async def test_any_name_is_shown_as_text_without_breaking_the_layout(
    browser: Browser, site: ScriptedSite, name: str
) -> None:
    site.name = name
    site.envs = [env(sensor_name=name)]
    site.sensors = [sensor(sensor_name=name)]
    site.alarms = [alarm(sensor_name=name)]
    async with visit(browser, site.storehouse_url, viewport=PHONE) as page:
        for selector in (".crumbs bdi", "h1", ".tile .name", ".alarm .name"):
            await expect(page.locator(selector)).to_have_text(name)
        for view in ("plan", "table", "charts", "alarms", "alarms/1"):
            await page.goto(f"{site.storehouse_url}/{view}")
            await expect(page.locator("h1")).to_have_text(name)
            await expect(page.locator("main").get_by_text(name).last).to_be_attached()
            assert await fits(page)
        await expect(page.locator("main img, main script")).to_have_count(0)


async def test_a_tile_shows_value_quality_age_and_local_time(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, site.storehouse_url, timezone_id="America/New_York") as page:
        tile = page.locator(".tile")
        await expect(tile.locator(".value")).to_have_text("4.3 °C")
        await expect(tile.locator(".marks")).to_have_text("Good")
        await expect(tile.locator(".age")).to_contain_text("sec ago")
        await expect(tile.locator("time")).to_have_text("00:30:00")
        await expect(page.locator("#as-of")).to_have_text("As of 00:30:05 (Asia/Shanghai)")


async def test_a_tile_shows_its_value_between_its_limits(browser: Browser, site: ScriptedSite) -> None:
    site.sensors = [sensor()]
    async with visit(browser, site.storehouse_url) as page:
        bar = page.locator(".limit-bar")
        await expect(bar).to_have_attribute("aria-label", "2.0\u202f°C to 8.0\u202f°C")
        offset = "e => e.querySelector('b').getBoundingClientRect().x - e.getBoundingClientRect().x"
        before = await bar.evaluate(offset)
        await site.push("envs", envs(env(value=7.5)))
        await expect(page.locator(".tile .number")).to_have_text("7.5")
        assert await bar.evaluate(offset) > before


async def test_a_rising_value_has_a_trend_label(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, site.storehouse_url) as page:
        await expect(page.locator(".tile")).to_have_count(1)
        await site.push("envs", envs(env(value=6.25, time="2026-01-31T16:36:00Z")))
        await expect(page.locator(".tile .trend")).to_have_attribute("aria-label", "Rising")


async def test_quality_and_switch_states_are_shown_in_words(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, site.storehouse_url) as page:
        await expect(page.locator(".tile")).to_have_count(1)
        old = env(quality="stale", metric="door", unit="", value=1)
        bad = env(quality="bad", metric="wind", value=None, time=None)
        await site.push("envs", envs(old, bad))
        await expect(page.locator(".tile .number")).to_have_text(["Open", "—"])
        await expect(page.locator(".tile .marks")).to_have_text(["No recent data", "Bad"])
        await expect(page.locator(".tile .age").first).to_contain_text("sec ago")
        await expect(page.locator(".tile .age").last).to_have_text("No reading yet")


async def test_ageing_values_fade_and_stale_ones_are_not_green(browser: Browser, site: ScriptedSite) -> None:
    site.sensors = [sensor()]
    site.envs = [env(time="2026-01-31T16:28:00Z")]
    async with visit(browser, site.storehouse_url) as page:
        tile = page.locator(".tile")
        await expect(tile).to_have_attribute("data-ageing", "2")
        await site.push("envs", envs(env(quality="stale")))
        await expect(tile).to_have_attribute("data-state", "stale")
        green = await page.evaluate(
            """() => {
                const probe = document.createElement("i");
                probe.style.color = "var(--good)";
                document.body.append(probe);
                return getComputedStyle(probe).color;
            }"""
        )
        colours = await tile.locator("*").evaluate_all("all => all.map(one => getComputedStyle(one).color)")
        assert green not in colours


async def test_the_floor_plan_places_sensors_without_overlap(browser: Browser, site: ScriptedSite) -> None:
    site.envs = [env(sensor_id=number, value=float(number)) for number in range(3)]
    site.sensors = [sensor(sensor_id=0, position=[0.1, 0.1]), sensor(sensor_id=1, position=[0.9, 0.9])]
    site.sensors.append(sensor(sensor_id=2, position=[0.9, 0.9]))
    async with visit(browser, f"{site.storehouse_url}/plan") as page:
        spots = page.locator(".spot")
        await expect(spots).to_have_count(3)
        boxes = [await spots.nth(at).bounding_box() for at in range(3)]
        first, second, third = (box for box in boxes if box)
        assert first["x"] < second["x"]
        assert first["y"] < second["y"]
        assert abs(second["x"] - third["x"]) >= second["width"] or abs(second["y"] - third["y"]) >= second["height"]
        floor = await page.locator(".floor").bounding_box()
        assert floor
        assert all(
            floor["x"] <= box["x"] and box["y"] + box["height"] <= floor["y"] + floor["height"]
            for box in (first, third)
        )


async def test_sensors_without_positions_are_placed_in_rows(browser: Browser) -> None:
    with ScriptedSite("querySensors").serving() as site:
        site.envs = [env(sensor_id=number) for number in range(4)]
        async with visit(browser, f"{site.storehouse_url}/plan") as page:
            await expect(page.locator(".notice")).to_contain_text("in rows")
            boxes = [await page.locator(".spot").nth(at).bounding_box() for at in range(4)]
            assert len({(box["x"], box["y"]) for box in boxes if box}) == 4


async def test_the_table_can_be_sorted_by_value(browser: Browser, site: ScriptedSite) -> None:
    site.envs = [env(sensor_id=number, value=value) for number, value in enumerate([3.0, -1.0, 2.0])]
    async with visit(browser, f"{site.storehouse_url}/table") as page:
        values = page.locator("td .number")
        await expect(values).to_have_text(["3.0", "−1.0", "2.0"])
        await page.get_by_role("button", name="Value").click()
        await expect(values).to_have_text(["−1.0", "2.0", "3.0"])
        await page.get_by_role("button", name="Value").click()
        await expect(values).to_have_text(["3.0", "2.0", "−1.0"])
        await expect(page.locator('th[aria-sort="descending"]')).to_have_count(1)


async def test_a_banner_shows_that_the_database_does_not_answer(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, site.storehouse_url) as page:
        await expect(page.locator(".tile")).to_have_count(1)
        await expect(page.locator("#banner")).to_be_empty()
        await site.push("envs", envs(stale=True))
        await expect(page.locator("#banner")).to_contain_text("database")
        await expect(page.locator(".tile")).to_have_count(1)
        await site.push("envs", envs(env()))
        await expect(page.locator("#banner")).to_be_empty()


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en-US", "Alarms are not being recorded. Values are live, but new alarms do not appear."),
        ("zh-CN", "报警未被记录。 数值为实时数据，但不显示新的报警。"),
    ],
)
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
async def test_a_banner_shows_that_alarms_are_not_recorded(
    language: str, words: str, viewport: ViewportSize, browser: Browser, site: ScriptedSite
) -> None:
    async with visit(browser, site.storehouse_url, locale=language, viewport=viewport) as page:
        await expect(page.locator(".tile")).to_have_count(1)
        title = await page.title()
        green = await page.locator(".tile .state").evaluate("e => getComputedStyle(e).color")
        await site.push("envs", envs(env(), unrecorded=True))
        await expect(page.locator("#banner")).to_have_text(words)
        await expect(page.locator("#banner")).to_have_attribute("data-outage", "unrecorded")
        assert await page.locator(".tile .state").evaluate("e => getComputedStyle(e).color") == green
        assert await page.title() == title
        assert await fits(page)
        await site.push("envs", envs(env()))
        await expect(page.locator("#banner")).to_be_empty()
        await site.push_overview(unrecorded=True)
        await expect(page.locator("#banner")).to_have_text(words)
        await site.push("envs", envs(env(), stale=True, unrecorded=True))
        await expect(page.locator("#banner")).to_have_attribute("data-outage", "stale")
        await site.push("envs", envs(env()))
        await site.push_overview()
        await expect(page.locator("#banner")).to_be_empty()


async def test_without_network_a_banner_appears_and_nothing_is_green(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, site.storehouse_url, errors_allowed=True) as page:
        mark = page.locator(".tile .state")
        green = await mark.evaluate("e => getComputedStyle(e).color")
        await page.context.set_offline(True)
        await expect(page.locator("#banner")).to_contain_text("Connection to the server lost")
        await expect(page).to_have_title(f"Not current · {MARKUP} · Storewatch")
        assert await mark.evaluate("e => getComputedStyle(e).color") != green
        await page.context.set_offline(False)
        await expect(page.locator("#banner")).to_be_empty()


async def test_a_silent_network_failure_is_noticed_within_two_seconds(
    browser: Browser, demo_server: StorewatchServer
) -> None:
    async with visit(browser, "about:blank", errors_allowed=True) as page:
        cable = Cable(demo_server.port)
        async with cable.laid() as url:
            await page.clock.install()
            await page.goto(f"{url}#/storehouse/4")
            await expect(page.locator(".tile").first).to_be_visible()
            await expect(page.locator("#banner")).to_be_empty()
            await page.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))
            await expect(page.locator("#banner")).to_be_empty()
            cable.cut()
            await page.clock.run_for(2_000)
            assert "Connection to the server lost" in await page.locator("#banner").inner_text()


async def test_only_a_visible_page_checks_that_the_server_answers(browser: Browser, site: ScriptedSite) -> None:
    def asked() -> int:
        return [event for event, _ in site.asked].count("alive")

    async with visit(browser, "about:blank") as page:
        await page.clock.install()
        await page.goto(site.storehouse_url)
        await expect(page.locator(".tile")).to_have_count(1)
        for times in (1, 2, 3):
            await until(lambda times=times: asked() >= times)  # type: ignore[misc]
        await expect(page.locator("#banner")).to_be_empty()
        hide = """(state) => {
            Object.defineProperty(document, "visibilityState", {value: state, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
        await page.evaluate(hide, "hidden")
        await page.clock.run_for(4_000)
        before = asked()
        await page.clock.run_for(4_000)
        assert asked() == before
        await page.evaluate(hide, "visible")
        await until(lambda: asked() > before)


async def test_the_page_recovers_from_a_server_restart_without_reload(browser: Browser, serve: Serve) -> None:
    async with serve() as server, visit(browser, server.url, errors_allowed=True) as page, first_storehouse(page):
        await page.evaluate("window.isTheSame = true")
        await expect(page.locator("#banner")).to_be_empty()
        server.kill()
        await expect(page.locator("#banner")).to_contain_text("Connection to the server lost")
        before = await page.locator("#as-of").inner_text()
        await asyncio.to_thread(server.start)
        await expect(page.locator("#banner")).to_be_empty()
        await expect(page.locator("#as-of")).not_to_have_text(before)
        assert await page.evaluate("window.isTheSame")


async def test_a_reconnected_page_registers_with_its_last_cursor(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, site.storehouse_url) as page:
        await expect(page.locator(".tile")).to_have_count(1)
        await site.push("alarms", alarms(alarm()))
        await expect(page.locator(".alarm")).to_have_count(1)
        await site.cut()
        async with asyncio.timeout(HANG_MS / 1000):
            registered = await site.registered.get()
            assert await site.registered.get() == registered | {"cursor": 9}
        assert "cursor" not in registered


async def test_a_page_registers_again_at_once_after_sleep(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, "about:blank") as page:
        await page.clock.install(time=NOW)
        await page.goto(site.storehouse_url)
        await expect(page.locator(".tile")).to_have_count(1)
        await site.registered.get()
        await page.clock.fast_forward(10_000)  # no timer fires meanwhile, as when a computer sleeps
        async with asyncio.timeout(HANG_MS / 1000):
            assert (await site.registered.get())["cursor"] == 7


async def test_missed_alarms_are_shown_at_once_after_sleep(browser: Browser, serve: Serve, tmp_path: Path) -> None:
    database = {"kind": "sqlite", "path": str(tmp_path / "site.db")}
    settings = {"database": database, "poll_interval": 0.1, "rules": [{"scope": {"metric": "temperature"}, "high": 8}]}
    with real_site(database) as there:
        async with serve(settings) as server, connected("python", server.url) as awake:
            north = there.ids["north"]
            await awake.call("register", {"store_house_id": north})
            cable = Cable(server.port)
            async with cable.laid() as url, visit(browser, "about:blank", errors_allowed=True) as page:
                await page.clock.install()
                await page.goto(f"{url}#/storehouse/{north}")
                value = page.locator(".tile", has_text="温度 1").locator(".number")
                await expect(value).to_have_text("4.5")
                cable.cut()
                for reading, state in ((11.0, "active"), (5.0, "cleared"), (6.0, None)):
                    there.add("temperature", reading, datetime.now(UTC))
                    while state and (await awake.next("alarms"))["alarms"][-1]["state"] != state:
                        pass
                await expect(value).to_have_text("4.5")
                await expect(page.locator(".alarm")).to_have_count(0)
                cable.mend()
                await page.clock.fast_forward(60_000)  # no timer fires meanwhile, as when a computer sleeps
                await expect(value).to_have_text("6.0")
                await page.get_by_role("link", name="Alarms").click()
                row = page.locator(".alarm", has_text="温度 1")
                await expect(row).to_contain_text("Cleared")
                await expect(row).to_contain_text("11.0")
                await expect(page.locator("#banner")).to_be_empty()
