"""Login and logout in a real browser, and the controls that the page shows to each role."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.support.browser import DESK, PHONE, fits, in_browser, in_one_loop, visit
from tests.support.credentials import PASSWORD, access, user
from tests.support.scripted_site import ScriptedSite, own_alarm
from tests.support.serving import StorewatchServer, served
from tests.support.sites import site as site_in
from tests.test_dashboard_access import serious_findings

pytestmark = [in_browser, in_one_loop]

WORDS = {
    "en-GB": ("User name", "Password", "Log in", "Wrong user name or password", "Handle alarms", "Log out"),
    "zh-CN": ("用户名", "密码", "登录", "用户名或密码错误", "操作员", "退出登录"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorewatchServer]:
    """A server with restricted access."""
    where = {"path": str(tmp_path_factory.mktemp("site") / "site.db")}
    with site_in(where):
        users = access(user("li", "operate"), user("wang"))
        settings = {"database": where, "access": users}
        with served(StorewatchServer(tmp_path_factory.mktemp("server"), settings)) as server:
            yield server


def set_users(server: StorewatchServer, **users: str) -> None:
    """Replace the users, with their roles, in the settings file."""
    settings = yaml.safe_load(server.config.read_text(encoding="utf-8"))
    settings["access"] = access(*(user(name, role) for name, role in users.items()))
    server.config.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")


async def log_in(page: Page, name: str = "li", password: str = PASSWORD) -> None:
    await page.locator("[name=name]").fill(name)
    await page.locator("[name=password]").fill(password)
    await page.keyboard.press("Enter")


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
async def test_a_user_logs_in_and_out_in_either_language(
    browser: Browser, server: StorewatchServer, language: str
) -> None:
    name, password, button, wrong, role, out = WORDS[language]
    async with visit(browser, server.url, locale=language, errors_allowed=True) as page:
        assert await page.locator("html").get_attribute("lang") == language
        assert await serious_findings(page) == []
        await expect(page.get_by_label(name, exact=True)).to_be_focused()
        await page.get_by_label(name, exact=True).fill("li")
        await page.get_by_label(password, exact=True).fill("wrong")
        await page.get_by_role("button", name=button, exact=True).click()
        await expect(page.get_by_role("alert")).to_contain_text(wrong)
        assert await serious_findings(page) == []
        await page.get_by_label(password, exact=True).fill(PASSWORD)
        await page.get_by_role("button", name=button, exact=True).click()
        await expect(page.locator("#person")).to_contain_text(f"li · {role}")
        await expect(page.locator(".card").first).to_be_visible()
        assert await serious_findings(page) == []
        await page.get_by_role("button", name=out).click()
        await expect(page.get_by_role("button", name=button, exact=True)).to_be_visible()
        await page.goto(server.url)
        await expect(page.get_by_label(password, exact=True)).to_be_visible()


async def test_the_login_form_fits_a_phone_in_dark_mode(browser: Browser, server: StorewatchServer) -> None:
    options: dict[str, Any] = {"viewport": PHONE, "has_touch": True, "color_scheme": "dark"}
    async with visit(browser, server.url, **options) as page:
        assert await serious_findings(page) == []
        assert await fits(page)
        await log_in(page)
        await expect(page.locator("#sign-out")).to_be_visible()
        assert await fits(page)


async def test_the_page_shows_the_requested_view_after_login(browser: Browser, server: StorewatchServer) -> None:
    async with visit(browser, f"{server.url}?x=1#/storehouse/1/table") as page:
        await expect(page.locator("[name=password]")).to_be_visible()
        await log_in(page)
        await expect(page.locator("table.readings, .readings")).to_be_visible()
        assert page.url == f"{server.url}?x=1#/storehouse/1/table"


async def test_a_link_from_another_site_keeps_the_session(browser: Browser, server: StorewatchServer) -> None:
    view = f"{server.url}#/storehouse/1/table"
    async with visit(browser, server.url) as page:
        await log_in(page)
        await expect(page.locator("#person")).to_contain_text("li")
        await page.goto(f"{server.url.replace('127.0.0.1', 'localhost')}login")
        await expect(page.locator("[name=password]")).to_be_visible()
        await page.evaluate("address => { location.href = address; }", view)
        await expect(page.locator(".readings")).to_be_visible()


async def test_a_removed_user_is_logged_out_and_told_why(browser: Browser, server: StorewatchServer) -> None:
    async with visit(browser, f"{server.url}?lang=zh#/storehouse/1/table", errors_allowed=True) as page:
        await log_in(page, "wang")
        await expect(page.locator("#person")).to_contain_text("wang · View only")
        set_users(server, li="operate", wang="configure")
        await expect(page.locator("#person")).to_contain_text("wang · Full access")
        set_users(server, li="operate")
        await expect(page.get_by_role("alert")).to_contain_text("Your access was changed or revoked")
        assert page.url.endswith("#/storehouse/1/table")
        await log_in(page, "li")
        await expect(page.locator(".readings")).to_be_visible()


@pytest.mark.parametrize(
    ("role", "buttons", "may_save"), [("watch", 0, 0), ("operate", 2, 1), ("configure", 2, 2), (None, 2, 2)]
)
async def test_forbidden_actions_have_no_buttons(
    browser: Browser, site: ScriptedSite, role: str | None, buttons: int, may_save: int
) -> None:
    site.alarms = [own_alarm()]
    site.who = {"name": "li", "role": role, "expires": None} if role else None
    async with visit(browser, f"{site.storehouse_url}/alarms") as page:
        await expect(page.locator("#person")).to_contain_text("li" if role else "Open")
        await expect(page.locator(".alarm")).to_have_count(1)
        await expect(page.locator(".alarm .actions button")).to_have_count(buttons)
        await page.goto(f"{site.storehouse_url}/rules")
        await expect(page.locator(".rules form").first).to_be_visible()
        await expect(page.locator(".rules form button[type=submit]")).to_have_count(may_save)


async def test_a_logged_in_user_is_not_asked_for_a_name(browser: Browser, site: ScriptedSite) -> None:
    site.alarms = [own_alarm()]
    site.who = {"name": "王", "role": "operate", "expires": None}
    async with visit(browser, f"{site.storehouse_url}/alarms") as page:
        await page.get_by_role("button", name="Acknowledge").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog.get_by_label("Your name")).to_have_count(0)
        await dialog.get_by_label("Comment").fill("Seen")
        await dialog.get_by_role("button", name="Acknowledge").click()
        await expect(dialog).to_have_count(0)
    assert site.asked_last("ackAlarm")["by"] == "王"


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
async def test_the_demo_shows_that_access_is_open(
    browser: Browser, demo_server: StorewatchServer, viewport: ViewportSize
) -> None:
    async with visit(browser, demo_server.url, viewport=viewport) as page:
        await expect(page.get_by_text("Open access: anyone can change anything")).to_be_visible()
        await expect(page.locator("#sign-out")).to_have_count(0)
