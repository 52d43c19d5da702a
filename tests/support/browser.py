"""A real browser for tests of the dashboard.

A test fails if the page has a script error or violates its content security policy.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.support import planted

CHROMIUM = shutil.which("chromium")
HANG_MS = 60_000
DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
in_one_loop = pytest.mark.asyncio(loop_scope="session")
"""Mark for tests that use the fixture `browser` or `site`. All of them run in one event loop with one browser."""
expect.set_options(timeout=HANG_MS)


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run the installed Chromium during the block."""
    arguments = ["--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        await browser.close()


@contextlib.asynccontextmanager
async def visit(browser: Browser, url: str, *, errors_allowed: bool = False, **options: Any) -> AsyncIterator[Page]:
    """Open the page in a new browser context during the block.

    The test fails if the page has a script error or violates its content security policy.
    """
    context = await browser.new_context(**({"locale": "en-US", "viewport": DESK} | options))
    context.set_default_timeout(HANG_MS)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    await page.goto(url)
    yield page
    planted.record_leaks("\n".join([await page.content(), *errors]), "a page in the browser")
    await context.close()
    assert errors_allowed or errors == []


async def fits(page: Page) -> bool:
    """Return whether the page fits without horizontal scrolling. Wait up to 5 s until it does."""
    for _ in range(50):
        if await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"):
            return True
        await asyncio.sleep(0.1)
    return False
