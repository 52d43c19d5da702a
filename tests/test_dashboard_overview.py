"""Tests of the dashboard's first page, which shows all storehouses. Storehouses with the worst state come first."""

import pytest
from playwright.async_api import Browser, expect

from tests.support.browser import DESK, PHONE, fits, in_browser, in_one_loop, visit
from tests.support.clients import TRANSPORTS, connected
from tests.support.scripted_site import MARKUP, ScriptedSite, env, organisation, overview, storehouse
from tests.support.serving import StorewatchServer

pytestmark = [in_browser, in_one_loop]

ALARMED = {"open": 2, "unacknowledged": 1, "worst": "critical"}


def three_storehouses() -> list[dict[str, object]]:
    old = storehouse("Old", store_house_id=1, state="stale", envs=[env(quality="stale")])
    good = storehouse("Good", store_house_id=2)
    bad = storehouse("Bad", store_house_id=3, state="critical", alarms=ALARMED)
    return [old, good, bad]


async def test_the_page_lists_the_organisations_and_storehouses_of_the_server(
    browser: Browser, demo_server: StorewatchServer
) -> None:
    async with connected("python", demo_server.url, TRANSPORTS["websocket"]) as client:
        organisations = (await client.call("orgs"))["data"]
        answers = [await client.call("storehouses", owner["org_id"]) for owner in organisations]
    async with visit(browser, demo_server.url) as page:
        names = {hall["store_house_name"] for answer in answers for hall in answer["data"]}
        await expect(page.locator(".card .name")).to_have_count(len(names))
        assert set(await page.locator(".card .name").all_inner_texts()) == names
        owners = {owner["org_name"] for owner, answer in zip(organisations, answers, strict=True) if answer["data"]}
        assert set(await page.locator(".card .organisation").all_inner_texts()) == owners


async def test_the_worst_storehouse_is_first_and_moves_after_recovery(browser: Browser, site: ScriptedSite) -> None:
    site.organisations = [organisation(*three_storehouses())]
    async with visit(browser, site.url) as page:
        names = page.locator(".card .name")
        await expect(names).to_have_text(["Bad", "Old", "Good"])
        await expect(page.locator(".card .state")).to_have_text(["Critical", "No recent data", "Good"])
        await expect(page.locator(".card .open")).to_have_text(["2 open · 1 unacknowledged"])
        old, good, bad = three_storehouses()
        await site.push_overview(old, good, bad | {"state": "good"})
        await expect(names).to_have_text(["Old", "Good", "Bad"])


async def test_a_push_changes_only_its_own_organisation(browser: Browser, site: ScriptedSite) -> None:
    site.organisations = [
        organisation(storehouse("A", store_house_id=1), name="First", org_id=1),
        organisation(storehouse("B", store_house_id=2), name="Second", org_id=2),
    ]
    async with visit(browser, site.url) as page:
        values = page.locator(".card .number")
        await expect(values).to_have_text(["4.3", "4.3"])
        moved = organisation(storehouse("B", store_house_id=2, envs=[env(value=9.9)]), name="Second", org_id=2)
        await site.push("overview", overview(moved))
        await expect(values).to_have_text(["4.3", "9.9"])


async def test_readings_show_their_age_and_stale_ones_look_different(browser: Browser, site: ScriptedSite) -> None:
    site.organisations = [organisation(*three_storehouses())]
    async with visit(browser, site.url) as page:
        old = page.locator(".card", has_text="Old").locator(".short")
        await expect(old.locator(".age")).to_contain_text("sec ago")
        await expect(old).to_have_attribute("data-quality", "stale")
        colours = [
            await page.locator(".card .state").nth(at).evaluate("e => getComputedStyle(e).color") for at in (1, 2)
        ]
        assert colours[0] != colours[1]


async def test_the_list_can_be_searched_and_filtered_by_state(browser: Browser, site: ScriptedSite) -> None:
    more = [storehouse(f"Hall {number}", store_house_id=10 + number) for number in range(9)]
    site.organisations = [organisation(*three_storehouses(), *more)]
    async with visit(browser, site.url) as page:
        names = page.locator(".card .name")
        await expect(names).to_have_count(12)
        await page.get_by_role("searchbox").fill("hall 3")
        await expect(names).to_have_text(["Hall 3"])
        await page.get_by_role("searchbox").fill("")
        await page.get_by_role("button", name="Critical").click()
        await expect(names).to_have_text(["Bad"])
        await page.get_by_role("button", name="Critical").click()
        await expect(names).to_have_count(12)


async def test_title_and_icon_show_open_alarms(browser: Browser, site: ScriptedSite) -> None:
    site.organisations = [organisation(*three_storehouses())]
    async with visit(browser, site.url) as page:
        await expect(page).to_have_title("(2) Storewatch")
        await expect(page.locator("#icon")).to_have_attribute("href", "/static/icons/critical.svg")
        await expect(page.locator("header .state")).to_have_text("2 open")
        await site.push_overview(storehouse("Good", store_house_id=2))
        await expect(page).to_have_title("Storewatch")
        await expect(page.locator("#icon")).to_have_attribute("href", "/static/icons/good.svg")


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
async def test_any_name_is_shown_as_text_without_breaking_the_layout(
    browser: Browser, site: ScriptedSite, locale: str, viewport: dict[str, int]
) -> None:
    names = [MARKUP, "<script>alert(1)</script>", "🧊❄️ 冷", "مستودع بارد \u202e12\u202c", "W" * 200]
    halls = [storehouse(name, store_house_id=number) for number, name in enumerate(names)]
    site.organisations = [organisation(*halls, name="N" * 200)]
    async with visit(browser, site.url, locale=locale, viewport=viewport) as page:
        await expect(page.locator(".card .name")).to_have_text(names)
        assert await fits(page)
        await expect(page.locator("main img, main script")).to_have_count(0)
        heights = await page.locator(".card").evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
        assert max(heights) - min(heights) < 2
