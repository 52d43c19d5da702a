"""Takes screenshots of the dashboard of the demo: `make screenshots`.

`LOOKS=all` takes every view in every look. A look is a language and a colour scheme.
"""

import asyncio
import io
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from PIL import Image
from playwright.async_api import Browser, Page, expect

import demo.history
from common import clock
from db import database
from db.limits import BATCH_LIMITS
from db.migrate import migrate
from demo import simulation
from demo.past_readings import MONTH_S, SensorSeries
from record import alarms
from settings import Database
from tests.support.browser import DESK, PHONE, chromium, visit
from tests.support.serving import ROOT, StorewatchServer

FOLDER = ROOT / "docs" / "screenshots"
STOREHOUSE = "#/storehouse/4"
WITH_YEAR = "Berlin Cooler"
STEP_S, YEAR_S = 900, 365 * 86_400
UNTIL_MS = 600_000
"""Time-out of every wait, in milliseconds. It is long because the chart of a year appears only after the rollup."""
WALL = {"width": 1920, "height": 1080}
LOOKS: Mapping[str, Mapping[str, Any]] = {
    "en-light": {"locale": "en-GB", "color_scheme": "light"},
    "en-dark": {"locale": "en-GB", "color_scheme": "dark"},
    "zh-light": {"locale": "zh-CN", "color_scheme": "light"},
    "zh-dark": {"locale": "zh-CN", "color_scheme": "dark"},
}


class View(NamedTuple):
    """A page of the dashboard, and how to take screenshots of it.

    `complete` is a CSS selector of an element that is visible when the page is complete. `kept` contains the looks
    (language and colours) in which `make screenshots` takes the page.
    """

    address: str
    complete: str
    screen: Mapping[str, int]
    kept: Sequence[str]


VIEWS: Mapping[str, View] = {
    "storehouse": View(STOREHOUSE, ".tile .spark path", DESK, ["zh-dark"]),
    "plan": View(f"{STOREHOUSE}/plan", ".spot", DESK, ["zh-light"]),
    "table": View(f"{STOREHOUSE}/table", ".readings .state", DESK, []),
    "alarms": View(f"{STOREHOUSE}/alarms?days=30", ".alarm", DESK, []),
    "alarm": View(f"{STOREHOUSE}/alarms?days=30", ".alarm", DESK, ["en-dark"]),
    "rules": View(f"{STOREHOUSE}/rules", ".kind", DESK, []),
    "wall": View("?wall", ".tile .spark path", WALL, ["zh-dark"]),
    "phone": View(STOREHOUSE, ".tile", PHONE, ["en-light", "zh-dark"]),
    "overview": View("#/", "text=/sec ago|秒前/", DESK, ["en-light"]),
    "chart": View("{with_year}/charts?span=year&{sensors}", ".chart-foot", DESK, [*LOOKS]),
}


async def main(everything: bool) -> None:
    """Run the demo. Save screenshots of the views in FOLDER.

    If `everything` is true, take every view in every look (language and colours).
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        year = await asyncio.to_thread(with_year, Path(folder))
        server = await asyncio.to_thread(StorewatchServer(Path(folder)).start)
        try:
            async with chromium() as browser:
                for name, view in VIEWS.items():
                    there = view._replace(address=view.address.format_map(year))
                    await photograph(browser, server.url, name, there, LOOKS if everything else view.kept)
        finally:
            await server.terminate()


def with_year(folder: Path) -> dict[str, str]:
    """Create the demo. The storehouse `WITH_YEAR` has readings of a year instead of a month.

    Return the values for the placeholders in `View.address`: the path of this storehouse, and three sensors of this
    storehouse.
    """
    where = Database(path=str(folder / "var" / "storewatch.db"))
    Path(where.path).parent.mkdir()
    migrate(where)
    now = clock.now()
    demo.history.prepare(where, now)
    opened = database.Database(where, BATCH_LIMITS, 1, writes=True)
    with closing(opened), opened.engine.begin() as connection:
        made = next(
            installed for installed in demo.history.install(connection) if installed.storehouse.name == WITH_YEAR
        )
        seconds = range(int(now.timestamp()) - YEAR_S, int(now.timestamp()) - MONTH_S, STEP_S)
        values = simulation.values(made.storehouse, seconds)
        courses = {sensor: SensorSeries(seconds, values[sensor]) for sensor in made.storehouse.reporting}
        demo.history.write(connection, made, courses)
        alarms.add(connection, list(demo.history.past_alarms(made, courses)))
    shown = [sensor for sensor in made.storehouse.reporting if sensor.metric in ("temperature", "humidity")]
    sensors = ";".join(
        json.dumps([made.sensor_ids[sensor], sensor.metric], separators=(",", ":")) for sensor in shown[:5:2]
    )
    return {"with_year": f"#/storehouse/{made.store_house_id}", "sensors": urlencode({"sensor": sensors})}


async def photograph(browser: Browser, url: str, name: str, view: View, appearances: Iterable[str]) -> None:
    """Take screenshots of one view in the given looks (language and colours)."""
    for appearance in appearances:
        options = {**LOOKS[appearance], "viewport": view.screen}
        async with visit(browser, url + view.address, **options) as page:
            await expect(page.locator(view.complete).first).to_be_visible(timeout=UNTIL_MS)
            if name == "alarm":
                await page.locator(".alarm .name").last.click()
                await expect(page.locator(".plot canvas")).to_be_visible()
            await settle(page)
            keep(await page.screenshot(), FOLDER / f"{name}-{appearance}.png")


async def settle(page: Page) -> None:
    """Wait until the page has no pending requests, no banner and no running animations."""
    await page.wait_for_load_state("networkidle")
    await expect(page.locator("#banner")).to_be_empty()
    await page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")


def keep(picture: bytes, path: Path) -> None:
    """Save a picture with 192 colours. This reduces the size of the file to a third."""
    whole = Image.open(io.BytesIO(picture)).convert("RGB")
    few = whole.quantize(192, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    asyncio.run(main(everything="all" in sys.argv[1:]))
