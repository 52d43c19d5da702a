"""The dashboard shows the demo's names in Chinese on the Chinese page and in English on the English page."""

import re
from pathlib import Path

from playwright.async_api import Browser, Page, expect

from demo.site import CHINESE_NAMES, ORGANISATIONS, STOREHOUSES
from tests.support.browser import in_browser, in_one_loop, visit
from tests.support.scripted_site import ScriptedSite
from tests.support.serving import StorewatchServer

CHINESE = re.compile("[\u4e00-\u9fff]")
FREEZER = STOREHOUSES[0].name


def test_every_name_of_the_demo_has_a_chinese_one() -> None:
    storehouses = [storehouse for organisation in ORGANISATIONS for storehouse in organisation.storehouses]
    names = {organisation.name for organisation in ORGANISATIONS} | {storehouse.name for storehouse in storehouses}
    names |= {sensor.name for storehouse in storehouses for sensor in storehouse.sensors}
    assert names <= CHINESE_NAMES.keys()
    assert len(set(CHINESE_NAMES.values())) == len(CHINESE_NAMES)
    for name, chinese in CHINESE_NAMES.items():
        assert not CHINESE.search(name)
        assert CHINESE.search(chinese)


def asked_for_names(page: Page) -> list[str]:
    """Return a list that receives the address of each request for names that the page sends from now on."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "names" in request.url else None)
    return asked


@in_browser
@in_one_loop
async def test_the_demo_has_names_in_the_language_of_the_page(browser: Browser, demo_server: StorewatchServer) -> None:
    async with visit(browser, "about:blank", locale="en-GB") as page:
        asked = asked_for_names(page)
        await page.goto(demo_server.url)
        names = page.locator(".card .name")
        await expect(names.filter(has_text=FREEZER)).to_have_count(1)
        assert not CHINESE.search("".join(await names.all_inner_texts()))
        assert asked == []
        await page.locator("#language").click()
        await expect(names.filter(has_text=CHINESE_NAMES[FREEZER])).to_have_count(1)
        assert not re.search("[A-Za-z]", "".join(await names.all_inner_texts()))
        assert not re.search("[A-Za-z]", "".join(await page.locator(".organisation").all_inner_texts()))
        await page.get_by_label("搜索").fill(CHINESE_NAMES[FREEZER])
        await expect(names).to_have_text([CHINESE_NAMES[FREEZER]])
        await names.click()
        await expect(page.locator("h1")).to_have_text(CHINESE_NAMES[FREEZER])
        await expect(page).to_have_title(re.compile(CHINESE_NAMES[FREEZER]))
        await expect(page.locator(".tile .name").filter(has_text="货架A温度")).to_have_count(1)
        await page.locator("#language").click()
        await expect(page.locator("h1")).to_have_text(FREEZER)
        await expect(page.locator(".tile .name").filter(has_text="Rack A temperature")).to_have_count(1)


@in_browser
@in_one_loop
async def test_an_export_has_the_names_of_the_page(
    browser: Browser, demo_server: StorewatchServer, tmp_path: Path
) -> None:
    async with visit(browser, f"{demo_server.url}#/storehouse/1/charts", locale="zh-CN") as page:
        await expect(page.locator("h1")).to_have_text(CHINESE_NAMES[FREEZER])
        async with page.expect_download() as download:
            await page.get_by_role("button", name="导出 CSV").click()
        path = tmp_path / "readings.csv"
        await (await download.value).save_as(path)
        assert CHINESE_NAMES[FREEZER] in (await download.value).suggested_filename
        assert "货架A温度" in path.read_text(encoding="utf-8")
        assert "Rack A" not in path.read_text(encoding="utf-8")


@in_browser
@in_one_loop
async def test_a_site_is_not_asked_for_names(browser: Browser, site: ScriptedSite) -> None:
    site.name = FREEZER
    async with visit(browser, "about:blank", locale="zh-CN") as page:
        asked = asked_for_names(page)
        await page.goto(site.storehouse_url)
        await expect(page.locator("h1")).to_have_text(FREEZER)
        await page.wait_for_load_state("networkidle")
        assert asked == []
