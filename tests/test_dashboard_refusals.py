"""The dashboard shows each refusal in the language of the page, and never shows the server's English message."""

import re
from typing import Any, get_args

import pytest
from playwright.async_api import Browser, expect

from errors import Reason, StorewatchError
from tests.support.browser import in_browser, in_one_loop, visit
from tests.support.scripted_site import ScriptedSite, own_alarm
from tests.support.serving import ROOT

CODES = {StorewatchError.code, *(error.code for error in StorewatchError.__subclasses__())}
MESSAGE = "the message of the server is English"
VALUES: dict[str, Any] = {"most": 10_000, "most_days": 366, "role": "watch", "limit": "high_high"}
LATIN_WORDS = re.compile(r"[A-Za-z]{2,}")


def words(language: str) -> dict[str, str]:
    """Return the texts of the page in this language."""
    text = (ROOT / "dashboard" / "words" / f"{language}.js").read_text(encoding="utf-8")
    return dict(re.findall(r'^  (\w+): "(.*)",$', text, re.MULTILINE))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_code_and_every_reason_has_a_text(language: str) -> None:
    names = {name.removeprefix("error_") for name in words(language) if name.startswith("error_")}
    assert names == CODES | set(get_args(Reason)) | {"no_answer"}


def test_a_chinese_refusal_has_no_latin_words() -> None:
    for name, text in words("zh").items():
        if name.startswith(("error", "field_")):
            assert not LATIN_WORDS.search(re.sub(r"\{\w+\}", "", text)), name


@in_browser
@in_one_loop
@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
async def test_every_refusal_is_shown_in_the_language_of_the_page(
    browser: Browser, site: ScriptedSite, locale: str
) -> None:
    language = locale[:2]
    catalogue = words(language)
    errors: list[dict[str, Any]] = [{"code": code, "field": "start"} for code in sorted(CODES)]
    errors += [{"code": "bad_request", "params": VALUES | {"reason": reason}} for reason in get_args(Reason)]
    site.alarms = [own_alarm()]
    async with visit(browser, f"{site.storehouse_url}/alarms", locale=locale) as page:
        await page.locator(".alarm .actions button").first.click()
        dialog = page.get_by_role("dialog")
        await expect(dialog.get_by_role("alert")).to_be_hidden()
        await dialog.locator("input").fill("李")
        for error in errors:
            site.errors["ackAlarm"] = {"message": MESSAGE, "field": "reason"} | error
            await dialog.locator("button[type=submit]").click()
            reason = error.get("params", {}).get("reason")
            text = catalogue[f"error_{reason or error['code']}"]
            parts = [part for part in re.split(r"\{\w+\}", text) if part]
            alert = dialog.get_by_role("alert")
            for part in parts:
                await expect(alert).to_contain_text(part)
            shown = await alert.inner_text()
            assert MESSAGE not in shown
            assert not re.search(r"\{|undefined", shown)
            if language == "zh":
                assert not LATIN_WORDS.search(shown), shown
            if reason is None:
                await expect(alert).to_contain_text(catalogue["field_start"])
        for field in (None, "data_minute"):  # the page has no word for them
            site.errors["ackAlarm"] = {
                "code": "bad_request",
                "message": MESSAGE,
                "field": field,
                "params": {"reason": "invalid_value"},
            }
            await dialog.locator("button[type=submit]").click()
            await expect(alert).to_have_text(catalogue["error_bad_request"])


@in_browser
@in_one_loop
async def test_a_shown_refusal_switches_language_with_the_page(browser: Browser, site: ScriptedSite) -> None:
    params = {"reason": "too_many_alarms", "most": 10_000}
    site.errors["queryAlarms"] = {"code": "bad_request", "message": MESSAGE, "params": params}
    async with visit(browser, f"{site.storehouse_url}/alarms", locale="zh-CN") as page:
        await expect(page.locator(".notice")).to_contain_text("报警超过 10,000 条，请缩短时间范围。")
        await page.locator("#language").click()
        await expect(page.locator(".notice")).to_contain_text("There are more than 10,000 alarms. Choose a shorter")
