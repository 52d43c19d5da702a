"""Accessibility of the dashboard: keyboard, screen reader, both languages, wall display and phone."""

import re
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from common.metric_registry import METRICS
from tests.support.browser import PHONE, fits, in_browser, in_one_loop, visit
from tests.support.scripted_site import (
    MARKUP,
    NOW,
    PATH,
    STOREHOUSE,
    ScriptedSite,
    alarms,
    curve,
    env,
    organisation,
    own_alarm,
    sensor,
    storehouse,
)
from tests.support.serving import ROOT

pytestmark = [in_browser, in_one_loop]

DASHBOARD = ROOT / "dashboard"
AXE = DASHBOARD / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = ["", "/plan", "/table", "/charts", "/alarms", "/alarms/sw-3", "/rules"]
SERIOUS = {"serious", "critical"}


def fill(site: ScriptedSite) -> None:
    """Fill the site with an example of everything that the pages show."""
    site.name = "North"
    old = env(sensor_id=6, sensor_name="Rear", quality="stale")
    bad = env(sensor_id=7, sensor_name="Roof", quality="bad", value=None, time=None)
    site.envs = [
        env(sensor_name="Rack"),
        old,
        bad,
        env(sensor_id=8, sensor_name="Door", metric="door", unit="", value=1),
    ]
    site.sensors = [sensor(), sensor(sensor_id=6, position=[0.1, 0.2])]
    site.curves = [curve(["2026-01-31T16:20:00Z", 3, 5, 4, 4], ["2026-01-31T16:21:00Z", 3, 6, 4, 4])]
    seen = {"acknowledged": True, "acknowledged_by": "Li", "acknowledged_at": "2026-01-31T16:30:00Z", "comment": "Seen"}
    cleared = {"state": "cleared", "cleared": "2026-01-31T16:29:30Z"}
    here = {"store_house_id": STOREHOUSE}
    site.rules = [{"scope": here, "no_data": 600}]
    span = {"start": NOW, "end": "2026-01-31T18:00:00Z"}
    site.maintenance = [here | span | {"maintenance_id": 1, "sensor_id": 6, "reason": "defrosting", "by": "Li"}]
    site.alarms = [
        own_alarm(**seen),
        own_alarm(alarm_id="sw-4", severity="warning"),
        own_alarm(alarm_id="sw-5", **cleared),
    ]
    states = ["critical", "warning", "info", "stale", "good", "empty"]
    halls = [storehouse(f"Hall {state}", store_house_id=at, state=state) for at, state in enumerate(states)]
    site.organisations = [organisation(*halls, storehouse("North"))]


async def check_every_view(page: Page, site: ScriptedSite) -> None:
    """Check that axe-core finds no serious problem in the overview and in every view of one storehouse."""
    await expect(page.locator(".card")).to_have_count(7)
    assert await serious_findings(page) == []
    for view in VIEWS:
        await page.goto(site.storehouse_url + view)
        await expect(page.locator("h1")).to_have_text("North")
        await page.wait_for_load_state("networkidle")
        assert await serious_findings(page) == [], view


async def serious_findings(page: Page) -> list[str]:
    """Open every `details` element. Return the problems that axe-core rates as serious or critical."""
    await page.locator("details").evaluate_all("all => all.forEach(one => (one.open = true))")
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    violations: list[dict[str, Any]] = (await page.evaluate("axe.run(document)"))["violations"]
    return [
        f"{violation['id']}: {node['html'][:120]} {node['failureSummary'][:200]}"
        for violation in violations
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
async def test_axe_finds_nothing_serious_on_any_page(
    browser: Browser, site: ScriptedSite, locale: str, scheme: str
) -> None:
    fill(site)
    async with visit(browser, site.url, locale=locale, color_scheme=scheme) as page:
        await check_every_view(page, site)
        await page.goto(f"{site.storehouse_url}/alarms")
        await page.locator(".alarm button").first.click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert await serious_findings(page) == []


async def test_axe_finds_nothing_serious_on_the_wall(browser: Browser, site: ScriptedSite) -> None:
    fill(site)
    async with visit(browser, f"{site.url}?wall{PATH}", viewport={"width": 1920, "height": 1080}) as page:
        await expect(page.locator(".wall-strip li")).to_have_count(7)
        await expect(page.locator(".tile")).to_have_count(4)
        assert await serious_findings(page) == []


async def test_axe_finds_nothing_serious_on_a_phone(browser: Browser, site: ScriptedSite) -> None:
    fill(site)
    async with visit(browser, site.url, viewport=PHONE, has_touch=True) as page:
        await check_every_view(page, site)


async def test_an_alarm_can_be_acknowledged_by_keyboard_alone(browser: Browser, site: ScriptedSite) -> None:
    site.name = "North"
    site.alarms = [own_alarm()]
    async with visit(browser, site.url) as page:
        await expect(page.locator(".card")).to_have_count(1)
        await press_until(page, "North")
        await page.keyboard.press("Enter")
        await expect(page.locator(".tile")).to_have_count(1)
        await press_until(page, "Alarms")
        await page.keyboard.press("Enter")
        await expect(page.locator("#alarms-summary")).to_contain_text("1 open")
        await press_until(page, "Acknowledge")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await press_until(page, "Acknowledge")
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("Comment")).to_be_focused()
        await page.keyboard.type("Seen")
        await page.keyboard.press("Tab")
        await page.keyboard.type("Li")
        await page.keyboard.press("Enter")
        await expect(page.locator(".alarm-state")).to_have_text("Active, acknowledged")


async def press_until(page: Page, text: str) -> None:
    """Press Tab until the focused element starts with this text."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        focused = await page.evaluate("document.activeElement.textContent")
        if str(focused).strip().startswith(text):
            return
    raise AssertionError(f"{text!r} cannot be reached")


@pytest.mark.parametrize(
    ("locale", "tag", "readings", "other"),
    [("en-US", "en-GB", "Good", "正常"), ("zh-TW", "zh-CN", "正常", "Good")],
)
async def test_the_page_uses_the_browsers_language_until_changed(
    browser: Browser, site: ScriptedSite, locale: str, tag: str, readings: str, other: str
) -> None:
    async with visit(browser, site.storehouse_url, locale=locale) as page:
        marks = page.locator(".tile .marks")
        await expect(marks).to_have_text(readings)
        await expect(page.locator("html")).to_have_attribute("lang", tag)
        await page.locator("#language").click()
        await expect(marks).to_have_text(other)
        await page.reload()
        await expect(marks).to_have_text(other)
        await expect(page.locator("html")).not_to_have_attribute("lang", tag)


async def test_both_languages_have_the_same_words_and_placeholders(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, site.url) as page:
        english, chinese, metrics = await page.evaluate(
            """async () => [
                (await import("/static/words/en.js")).EN,
                (await import("/static/words/zh.js")).ZH,
                [...(await import("/static/data/metrics.js")).METRICS],
            ]"""
        )
    assert len(metrics) == len(METRICS)
    for key, metric in metrics:
        terms = {f"metric_{key}": metric["name"]}
        terms |= {f"{key}_{value}": term for value, term in enumerate(metric.get("switchWords", ()))}
        english |= {word: term["en"] for word, term in terms.items()}
        chinese |= {word: term["zh"] for word, term in terms.items()}
    assert english.keys() == chinese.keys()
    for word in english:
        assert bool(english[word]) == bool(chinese[word]), word
        assert set(re.findall(r"\{\w+\}", english[word])) == set(re.findall(r"\{\w+\}", chinese[word])), word
    without_chinese = {word for word, text in chinese.items() if not re.search(r"[\u4e00-\u9fff]", text)}
    assert without_chinese == {"otherLanguage", "labelled", "metric_pm25", "outage_connecting_advice"}


async def test_views_contain_no_text_outside_the_catalogues() -> None:
    letters = re.compile(r">\s*([A-Za-z\u4e00-\u9fff][\w ,.…\u4e00-\u9fff]+)\s*<")
    for path in [*(DASHBOARD / "views").iterdir(), *(DASHBOARD / "components").iterdir()]:
        lines = path.read_text(encoding="utf-8").splitlines()
        written = letters.findall("\n".join(line for line in lines if "@" not in line and " * " not in line))
        assert [text for text in written if "Storewatch" not in text] == [], path.name


async def test_the_wall_display_rotates_storehouses_and_shows_new_alarms(browser: Browser, site: ScriptedSite) -> None:
    halls = [storehouse(name, store_house_id=name) for name in ("North", "South")]
    site.organisations = [organisation(*halls)]
    async with visit(browser, "about:blank", viewport={"width": 1920, "height": 1080}) as page:
        await page.clock.install()
        await page.goto(f"{site.url}?wall")
        await expect(page.locator("h1")).to_have_text("North")
        await expect(page.locator(".wall-strip li")).to_have_text(["North", "South"])
        assert await page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
        await page.clock.run_for(13_000)
        await expect(page.locator("h1")).to_have_text("South")
        await page.clock.run_for(13_000)
        await expect(page.locator("h1")).to_have_text("North")
        await site.push_overview(halls[0], halls[1] | {"state": "critical"})
        await expect(page.locator('.wall-strip [data-state="critical"]')).to_have_count(2)  # the list item and its icon
        assert await page.evaluate("document.documentElement.scrollHeight <= window.innerHeight")


NOTE_LISTENING = """
    const listen = window.addEventListener;
    window.addEventListener = (kind, ...rest) => {
        listen.call(window, kind, ...rest);
        if (kind === "unhandledrejection") window.isListening = true;
    };
"""


async def test_the_wall_reloads_after_a_script_error(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, "about:blank", errors_allowed=True) as page:
        await page.clock.install()
        await page.add_init_script(NOTE_LISTENING)
        await page.goto(f"{site.url}?wall")
        await expect(page.locator(".wall-strip li")).to_have_count(1)
        await page.wait_for_function("window.isListening")  # the page handles errors only after it is drawn
        await page.evaluate("window.isOld = true; window.dispatchEvent(new ErrorEvent('error'))")
        async with page.expect_event("load"):
            await page.clock.run_for(61_000)
        assert not await page.evaluate("Boolean(window.isOld)")


async def test_a_phone_shows_every_detail_of_a_new_alarm(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, site.storehouse_url, viewport=PHONE, has_touch=True) as page:
        await expect(page.locator(".tile")).to_have_count(1)
        await site.push("alarms", alarms(own_alarm()))
        row = page.locator(".alarm")
        await expect(row).to_contain_text("Critical")
        await expect(row).to_contain_text(MARKUP)
        await expect(row).to_contain_text("limit 8.0")
        await expect(row.get_by_role("button", name="Acknowledge")).to_be_visible()
        assert await fits(page)
