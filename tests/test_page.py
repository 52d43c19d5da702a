"""The page in a real browser: on a real server where that will do, on a scripted one for what a site seldom shows."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import Any

import pytest
import pytest_asyncio
import socketio
import tornado.web
from playwright.async_api import Browser, Page, async_playwright, expect
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from dashboard import pages
from tests.clients import TRANSPORTS, connected
from tests.serving import Serve, StorewatchServer

CHROMIUM = shutil.which("chromium")
HANG_MS = 60_000
PHONE = {"width": 390, "height": 844}
MARKUP = "<img src=x onerror=alert(1)>"

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


class ScriptedSite:
    """A server that speaks the contract and says what it is told to."""

    def __init__(self) -> None:
        self.url = ""
        self.registered: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.alarms: list[dict[str, Any]] = []
        self._websockets: list[Any] = []
        self._socket = socketio.AsyncServer(async_mode="tornado")
        self._socket.on("*", self._answer)

    @contextlib.contextmanager
    def serving(self) -> Iterator["ScriptedSite"]:
        listener, port = bind_unused_port()
        rules: list[Any] = [(r"/socket.io/", self._handler()), *pages.routes()]
        server = HTTPServer(tornado.web.Application(rules))
        server.add_socket(listener)
        self.url = f"http://127.0.0.1:{port}/"
        try:
            yield self
        finally:
            server.stop()

    async def push(self, event: str, payload: dict[str, Any]) -> None:
        await self._socket.emit(event, payload)

    async def cut(self) -> None:
        """Close every connection, as a network does: the browser comes back by itself."""
        for one in list(self._socket.eio.sockets.values()):
            await one.close(wait=False)
        for websocket in self._websockets:  # where socket.io-client does not listen to the former
            websocket.close()

    def _handler(self) -> Any:
        base: Any = socketio.get_tornado_handler(self._socket)
        websockets = self._websockets

        class Handler(base):  # type: ignore[misc]
            async def open(self, *args: Any) -> None:
                websockets.append(self)
                await super().open(*args)

        return Handler

    async def _answer(self, event: str, sid: str, data: Any = None) -> dict[str, Any]:
        answer = self._ask(event, data)
        await self._socket.emit("envs" if event == "register" else event, answer, to=sid)
        return {"ok": True, "data": answer}

    def _ask(self, event: str, data: Any) -> Any:
        match event:
            case "orgs":
                return [{"org_id": 1, "org_name": MARKUP}]
            case "storehouses":
                zone = "Asia/Shanghai"
                return [{"store_house_id": "冷 1%", "store_house_name": MARKUP, "org_id": 1, "time_zone": zone}]
            case "register":
                self.registered.put_nowait(data)
                return envs(env())
            case "queryAlarms":
                return self.alarms
        return None


def env(**changes: Any) -> dict[str, Any]:
    return {
        "sensor_id": 5,
        "sensor_name": MARKUP,
        "metric": "temperature",
        "unit": "°C",
        "value": 4.25,
        "time": "2026-01-31T16:30:00Z",
        "quality": "good",
    } | changes


def envs(*those: dict[str, Any], stale: bool = False) -> dict[str, Any]:
    time = "2026-01-31T16:30:05Z"
    return {"store_house_id": "冷 1%", "cursor": 7, "time": time, "stale": stale, "envs": those}


def alarm(**changes: Any) -> dict[str, Any]:
    return {
        "alarm_id": 1,
        "store_house_id": "冷 1%",
        "sensor_id": 5,
        "sensor_name": MARKUP,
        "metric": "temperature",
        "kind": "high",
        "severity": "critical",
        "state": "active",
        "acknowledged": False,
        "value": 9.5,
        "limit": 8,
        "raised": "2026-01-31T16:29:00Z",
        "cleared": None,
    } | changes


@pytest_asyncio.fixture
async def site() -> AsyncIterator[ScriptedSite]:
    with ScriptedSite().serving() as site:
        yield site


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    arguments = ["--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        await browser.close()


@contextlib.asynccontextmanager
async def visit(browser: Browser, url: str, *, errors_allowed: bool = False, **options: Any) -> AsyncIterator[Page]:
    """Open the page in a browser without a past; whatever it does, nothing may be wrong with it."""
    context = await browser.new_context(**({"locale": "en-US"} | options))
    context.set_default_timeout(HANG_MS)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    await page.goto(url)
    yield page
    await context.close()
    assert errors_allowed or errors == []


async def watch_first(page: Page) -> None:
    """Choose the first storehouse and wait for its readings."""
    await page.locator("#places a").first.click()
    await expect(page.locator(".reading").first).to_be_visible(timeout=HANG_MS)


@in_browser
async def test_the_page_lists_the_organisations_and_storehouses_of_the_server(
    browser: Browser, demo_server: StorewatchServer
) -> None:
    async with connected("python", demo_server.url, TRANSPORTS["websocket"]) as client:
        organisations = (await client.call("orgs"))["data"]
        answers = [await client.call("storehouses", one["org_id"]) for one in organisations]
    async with visit(browser, demo_server.url) as page:
        names = [one["org_name"] for one in organisations]
        await expect(page.locator("#places h2")).to_have_text(names, timeout=HANG_MS)
        names = [one["store_house_name"] for answer in answers for one in answer["data"]]
        await expect(page.locator("#places a")).to_have_text(names, timeout=HANG_MS)


@in_browser
async def test_a_storehouse_that_is_watched_shows_readings_that_move(
    browser: Browser, demo_server: StorewatchServer
) -> None:
    async with visit(browser, demo_server.url) as page:
        await watch_first(page)
        thermometer = page.locator(".reading time").first  # a door's time moves only when somebody opens it
        before = await thermometer.get_attribute("datetime") or ""
        await expect(thermometer).not_to_have_attribute("datetime", before, timeout=HANG_MS)
        assert (await thermometer.get_attribute("datetime") or "") > before


@in_browser
async def test_a_reload_stays_on_the_storehouse(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, site.url) as page:
        await watch_first(page)
        await page.reload()
        await expect(page.locator(".reading")).to_have_count(1, timeout=HANG_MS)
        await expect(page.locator('#places a[aria-current="page"]')).to_have_count(1)


@in_browser
async def test_a_storehouse_that_does_not_exist_is_said_not_to(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, f"{site.url}#100%") as page:
        await expect(page.locator("#notice")).to_contain_text("no such storehouse", timeout=HANG_MS)


@in_browser
@pytest.mark.parametrize(
    ("locale", "tag", "readings", "other"),
    [("en-US", "en-GB", "Readings", "实时数据"), ("zh-TW", "zh-CN", "实时数据", "Readings")],
)
async def test_the_page_speaks_the_browsers_language_until_it_is_told_another_and_remembers_that(
    browser: Browser, site: ScriptedSite, locale: str, tag: str, readings: str, other: str
) -> None:
    async with visit(browser, site.url, locale=locale) as page:
        await watch_first(page)
        await expect(page.locator("#readings-title")).to_have_text(readings)
        await expect(page.locator("html")).to_have_attribute("lang", tag)
        await page.locator("#language").click()
        await expect(page.locator("#readings-title")).to_have_text(other)
        await page.reload()
        await expect(page.locator("#readings-title")).to_have_text(other)
        await expect(page.locator("html")).not_to_have_attribute("lang", tag)


@in_browser
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
async def test_on_a_phone_nothing_has_to_be_scrolled_sideways(
    browser: Browser, demo_server: StorewatchServer, locale: str
) -> None:
    async with visit(browser, demo_server.url, locale=locale, viewport=PHONE) as page:
        await expect(page.locator("#places a").first).to_be_visible(timeout=HANG_MS)
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        await watch_first(page)
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@in_browser
async def test_names_are_shown_as_the_text_they_are(browser: Browser, site: ScriptedSite) -> None:
    site.alarms = [alarm()]
    async with visit(browser, site.url) as page:
        await watch_first(page)
        places = ["#places h2", "#places a", "#organisation", "#storehouse-name", ".reading .name", ".alarm .name"]
        for place in places:
            await expect(page.locator(place)).to_have_text(MARKUP)
        await expect(page.locator("img")).to_have_count(0)


@in_browser
async def test_a_reading_has_its_value_unit_quality_age_and_the_time_at_the_storehouse(
    browser: Browser, site: ScriptedSite
) -> None:
    async with visit(browser, site.url, timezone_id="America/New_York") as page:
        await watch_first(page)
        reading = page.locator(".reading")
        await expect(reading.locator(".value")).to_have_text("4.3 °C")
        await expect(reading.locator(".quality")).to_have_text("Good")
        await expect(reading.locator(".age")).to_contain_text("sec ago")
        await expect(reading.locator("time")).to_have_text("00:30:00")


@in_browser
async def test_what_is_old_or_bad_or_a_switch_is_said_in_words(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, site.url) as page:
        await watch_first(page)
        old = env(quality="stale", metric="door", unit=None, value=1)
        bad = env(quality="bad", metric="wind", value=None, time=None)
        await site.push("envs", envs(old, bad))
        await expect(page.locator(".reading .number")).to_have_text(["Open", "—"])
        await expect(page.locator(".reading .quality")).to_have_text(["Old", "Bad"])
        await expect(page.locator(".reading .age")).to_have_text(["5 sec ago", "no reading yet"])


@in_browser
async def test_alarms_that_are_pushed_join_those_of_the_last_day(browser: Browser, site: ScriptedSite) -> None:
    site.alarms = [alarm()]
    async with visit(browser, site.url) as page:
        await watch_first(page)
        await expect(page.locator(".alarm .what")).to_have_text(["too high: 9.5 °C, limit 8.0 °C"])
        cleared = alarm(state="cleared", cleared="2026-01-31T16:30:00Z")
        newer = alarm(alarm_id=2, severity="warning", raised="2026-01-31T16:30:01Z")
        await site.push("alarms", {"store_house_id": "冷 1%", "cursor": 9, "alarms": [cleared, newer]})
        await expect(page.locator(".alarm .state")).to_have_text(["Active", "Cleared"])
        await expect(page.locator("#alarms-summary")).to_have_text("1 open")
        await expect(page.locator(".reading .severity")).to_have_text("Warning")


@in_browser
async def test_after_a_lost_connection_the_page_registers_again_with_the_cursor_it_saw_last(
    browser: Browser, site: ScriptedSite
) -> None:
    async with visit(browser, site.url) as page:
        await watch_first(page)
        await site.push("alarms", {"store_house_id": "冷 1%", "cursor": 9, "alarms": [alarm()]})
        await expect(page.locator(".alarm")).to_have_count(1)
        await site.cut()
        async with asyncio.timeout(HANG_MS / 1000):
            assert await site.registered.get() == {"store_house_id": "冷 1%"}
            assert await site.registered.get() == {"store_house_id": "冷 1%", "cursor": 9}


@in_browser
async def test_a_banner_tells_that_the_server_lost_its_database(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, site.url) as page:
        await watch_first(page)
        await expect(page.locator("#banner")).to_be_hidden()
        await site.push("envs", envs(stale=True))
        await expect(page.locator("#banner")).to_contain_text("database")
        await expect(page.locator(".reading")).to_have_count(1)
        await site.push("envs", envs(env()))
        await expect(page.locator("#banner")).to_be_hidden()


@in_browser
async def test_a_banner_tells_that_the_server_is_gone_until_it_is_back(browser: Browser, serve: Serve) -> None:
    async with serve() as server, visit(browser, server.url, errors_allowed=True) as page:
        await watch_first(page)
        await expect(page.locator("#banner")).to_be_hidden()
        await server.terminate()
        await expect(page.locator("#banner")).to_contain_text("connection", timeout=HANG_MS)
        before = await page.locator("#as-of").inner_text()
        await asyncio.to_thread(server.start)
        await expect(page.locator("#banner")).to_be_hidden(timeout=HANG_MS)
        await expect(page.locator("#as-of")).not_to_have_text(before, timeout=HANG_MS)


@pytest.mark.parametrize("path", ["", "static/main.js", "static/style.css", "modules/socket.io-client.js"])
async def test_every_answer_has_the_security_headers_and_an_etag(site: ScriptedSite, path: str) -> None:
    answer = await fetch(site, path)
    assert answer.code == HTTPStatus.OK
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-cache"
    known = await fetch(site, path, headers={"If-None-Match": answer.headers["Etag"]})
    assert known.code == HTTPStatus.NOT_MODIFIED


async def test_a_head_is_answered_like_a_get_without_the_body(site: ScriptedSite) -> None:
    whole, head = await fetch(site, ""), await fetch(site, "", method="HEAD")
    assert head.code == HTTPStatus.OK
    assert head.body == b""
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]


@pytest.mark.parametrize(
    "path",
    [
        "static/",
        "static/pages.py",
        "static/package.json",
        "static/tsconfig.json",
        "static/index.html",
        "static/../package.json",
        "static/%2e%2e/main.py",
        "static/..%2f..%2fmain.py",
        "modules/socket.io-client/package.json",
        "modules/../package.json",
    ],
)
async def test_nothing_but_the_page_its_files_and_its_modules_is_served(site: ScriptedSite, path: str) -> None:
    answer = await fetch(site, path)
    assert answer.code == HTTPStatus.NOT_FOUND
    assert "Content-Security-Policy" in answer.headers


async def test_without_the_packages_the_page_says_in_both_languages_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(pages, "PACKAGES", tmp_path)
    with ScriptedSite().serving() as site:
        answer = await fetch(site, "")
    assert answer.code == HTTPStatus.SERVICE_UNAVAILABLE
    assert answer.body.decode().count("make setup") == 2
    assert 'lang="zh-CN"' in answer.body.decode()


async def fetch(site: ScriptedSite, path: str, **options: Any) -> HTTPResponse:
    return await AsyncHTTPClient().fetch(f"{site.url}{path}", raise_error=False, **options)
