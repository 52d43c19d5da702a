"""The benchmark Watching measures the load time, frame rate and memory of the dashboard in a real browser."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import mean, median
from typing import Any
from urllib.parse import urlencode

from playwright.async_api import Browser, Page

from bench.child import Failed
from bench.peers import Workspace
from bench.report import Report, number
from bench.site import Site, mariadb
from tests.support.browser import chromium, visit
from tests.support.coldstore import FOLDER as COLDSTORE
from tests.support.coldstore import SENSORS as COLDSTORE_SENSORS
from tests.support.coldstore import with_year
from tests.support.serving import StorewatchServer

TITLE = "the dashboard runs in headless Chromium, on the same machine as the server and the database"
STOREHOUSES, SENSORS = 200, 20
WATCH_S = float(os.environ.get("STOREWATCH_BENCH_WATCH_S", "120"))
"""Seconds for which the overview is observed. The target for the growth of the heap applies to 600 s."""
SETTLE_S = 120
"""Seconds to wait until Chromium has compiled all frequently run code. The compiled code takes 0.6 MB of the heap."""
WRITE_S = 1
TIMES = 5
USABLE_MS, PAINT_MS = 1500, 1000
FRAMES = 50
GROWTH = 1.1

# The promises resolve to times. Content is painted when the second animation frame after its insertion starts.
WHEN_PAINTED = """
    const painted = (selector) => new Promise((resolve) => {
        new MutationObserver((_, observer) => {
            if (!document.querySelector(selector)) return;
            observer.disconnect();
            requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now())));
        }).observe(document, {childList: true, subtree: true});
    });
    window.readable = painted(".card .number");
    window.drawn = painted(".plot canvas");
    window.opened = new Promise((resolve) => {
        window.WebSocket = class extends WebSocket {
            constructor(...given) {
                super(...given);
                this.addEventListener("open", resolve);
                this.addEventListener("message", ({data}) => {
                    if (String(data).includes("bucket_s")) window.answered ??= performance.now();
                });
            }
        };
    });
"""
COUNT_FRAMES = """
    () => {
        window.counted = [];
        const count = (time) => {
            window.counted.push(time);
            requestAnimationFrame(count);
        };
        requestAnimationFrame(count);
    }
"""


def run(workspace: Workspace, report: Report) -> None:
    """Measure the overview with many changing storehouses, and a chart with a year of a real cold store."""
    report.start("watching", TITLE)
    with mariadb() as database:
        site = Site(database, "site")
        site.fill(STOREHOUSES, SENSORS, STOREHOUSES * SENSORS)
        server = StorewatchServer(_folder(workspace, "overview"), {"database": site.settings}).start()
        try:
            asyncio.run(_overview(report, site, server.url))
        finally:
            server.stop()
    if not COLDSTORE.is_dir():
        report.tell(f"a year of a real cold store: skipped, {COLDSTORE} does not exist", "")
        return
    server = with_year(COLDSTORE, _folder(workspace, "coldstore")).start()
    try:
        asyncio.run(_year(report, server.url))
    finally:
        server.stop()


async def _overview(report: Report, site: Site, url: str) -> None:
    case = f"{STOREHOUSES} storehouses with {SENSORS} sensors each"
    async with chromium() as browser:
        usable = [await _first(browser, url, _readable) for _ in range(TIMES)]
        report.below(f"{case}: time from navigation to the first value, empty cache", median(usable), USABLE_MS, "ms")
        writing = asyncio.create_task(_write(site))
        try:
            async with visit(browser, url) as page:
                await _watch(report, page, f"{case}, all changing every second")
        finally:
            writing.cancel()
            await asyncio.wait([writing])
    if not writing.cancelled():
        writing.result()


async def _write(site: Site) -> None:
    """Commit a reading of every sensor each second until cancelled."""
    everywhere = list(range(1, STOREHOUSES * SENSORS + 1))
    while True:
        began = time.monotonic()
        await asyncio.to_thread(site.write, everywhere)
        await asyncio.sleep(max(0.0, began + WRITE_S - time.monotonic()))


async def _watch(report: Report, page: Page, case: str) -> None:
    values = page.locator(".card .number")
    await values.first.wait_for()
    await asyncio.sleep(SETTLE_S)
    before = await _heap_mb(page)
    contents = await values.all_text_contents()
    await page.evaluate(COUNT_FRAMES)
    await asyncio.sleep(WATCH_S)
    frames: list[float] = await page.evaluate("window.counted")
    await page.evaluate("window.counted = []")  # otherwise the list would count as part of the heap
    after = await _heap_mb(page)
    if await values.all_text_contents() == contents:
        raise Failed("no value on the page changed during the measurement")
    seconds = _by_second(frames)
    if not seconds:
        raise Failed("the browser drew frames for less than a second")
    report.above(f"{case}: frames per second", mean(seconds), FRAMES)
    report.tell(f"{case}: lowest number of frames in one second", number(min(seconds)))
    report.tell(f"{case}: heap of the page at the start", f"{number(before)} MB")
    report.below(f"{case}: heap after {WATCH_S:.0f} s, ratio to the start", after / before, GROWTH)


def _by_second(frames: list[float]) -> list[int]:
    """Return the number of frames in each whole second. `frames` contains the times of the frames in milliseconds."""
    counts = [0] * int((frames[-1] - frames[0]) / 1000) if frames else []
    for frame in frames:
        second = int((frame - frames[0]) / 1000)
        if second < len(counts):
            counts[second] += 1
    return counts


async def _heap_mb(page: Page) -> float:
    """Return the size of the page's JavaScript heap after a garbage collection, in MB."""
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    used: dict[str, Any] = await session.send("Runtime.getHeapUsage")
    await session.detach()
    return float(used["usedSize"]) / 1e6


async def _year(report: Report, url: str) -> None:
    async with chromium() as browser:
        times = [await _first(browser, f"{url}#/storehouse/1", _painted) for _ in range(TIMES)]
    what = f"a year of a real cold store, {COLDSTORE_SENSORS} sensors: time from the answer to the first paint"
    report.below(what, median(times), PAINT_MS, "ms")


async def _first(browser: Browser, url: str, measure: Callable[[Page], Awaitable[float]]) -> float:
    """Open a page in a browser with empty caches. Return the result of `measure` for this page, in milliseconds."""
    async with visit(browser, "about:blank") as page:
        await page.add_init_script(WHEN_PAINTED)
        await page.goto(url)
        return await measure(page)


async def _readable(page: Page) -> float:
    return float(await page.evaluate("window.readable"))


async def _painted(page: Page) -> float:
    """Return the time from the arrival of the chart's data to the first paint of the chart, in milliseconds.

    Before the measurement, wait until the page uses the websocket, because the script `WHEN_PAINTED` in the page does
    not detect answers by long polling.
    """
    await page.evaluate("window.opened.then(() => null)")
    await page.locator(".tile").first.wait_for()
    await page.wait_for_load_state("networkidle")
    sensors = ";".join(f'[{sensor},"temperature"]' for sensor in range(1, COLDSTORE_SENSORS + 1))
    options = {"from": "2021-06-24T21:00:00Z", "to": "2022-05-20T14:00:00Z", "sensor": sensors}
    # Discard earlier answers: they contain the last hour for the tiles.
    go = "(hash) => ((window.answered = undefined), (location.hash = hash))"
    await page.evaluate(go, f"#/storehouse/1/charts?{urlencode(options)}")
    return float(await page.evaluate("window.drawn.then((time) => time - window.answered)"))


def _folder(workspace: Workspace, name: str) -> Path:
    folder = workspace.folder / f"watching-{name}"
    folder.mkdir()
    return folder
