"""Takes pictures of the demo's dashboard: `make screenshots`, and with LOOKS=all every view in every look."""

import asyncio
import io
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from PIL import Image
from playwright.async_api import Browser, Page, expect

from tests.browser import DESK, PHONE, chromium, visit
from tests.serving import ROOT, StorewatchServer

FOLDER = ROOT / "docs" / "screenshots"
STOREHOUSE = "#/storehouse/4"
SENSORS = urlencode({"sensor": '[37,"temperature"];[38,"temperature"];[43,"humidity"]'})
WALL = {"width": 1920, "height": 1080}
LOOKS: Mapping[str, Mapping[str, Any]] = {
    "en-light": {"locale": "en-GB", "color_scheme": "light"},
    "en-dark": {"locale": "en-GB", "color_scheme": "dark"},
    "zh-light": {"locale": "zh-CN", "color_scheme": "light"},
    "zh-dark": {"locale": "zh-CN", "color_scheme": "dark"},
}


class View(NamedTuple):
    """Where it is, what stands there when it is complete, on which screen, and the looks that are kept."""

    address: str
    complete: str
    screen: Mapping[str, int]
    kept: Sequence[str]


VIEWS: Mapping[str, View] = {
    "storehouse": View(STOREHOUSE, ".tile .spark path", DESK, ["zh-dark"]),
    "plan": View(f"{STOREHOUSE}/plan", ".spot", DESK, ["zh-light"]),
    "table": View(f"{STOREHOUSE}/table", ".readings .state", DESK, []),
    "chart": View(f"{STOREHOUSE}/charts?span=month&{SENSORS}", ".chart-foot", DESK, ["en-light"]),
    "alarms": View(f"{STOREHOUSE}/alarms?days=30", ".alarm", DESK, []),
    "alarm": View(f"{STOREHOUSE}/alarms?days=30", ".alarm", DESK, ["en-dark"]),
    "rules": View(f"{STOREHOUSE}/rules", ".kind", DESK, []),
    "wall": View("?wall", ".tile .spark path", WALL, ["zh-dark"]),
    "phone": View(STOREHOUSE, ".tile", PHONE, ["en-light", "zh-dark"]),
    "overview": View("#/", "text=/sec ago|秒前/", DESK, ["en-light"]),
}


async def main(everything: bool) -> None:
    """Serve the demo, and keep the pictures in FOLDER."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server = await asyncio.to_thread(StorewatchServer(Path(folder)).start)
        try:
            async with chromium() as browser:
                for name, view in VIEWS.items():
                    await take(browser, server.url, name, view, LOOKS if everything else view.kept)
        finally:
            await server.terminate()


async def take(browser: Browser, url: str, name: str, view: View, looks: Iterable[str]) -> None:
    """Take pictures of one view."""
    for look in looks:
        options = {**LOOKS[look], "viewport": view.screen}
        async with visit(browser, url + view.address, **options) as page:
            await expect(page.locator(view.complete).first).to_be_visible()
            if name == "alarm":
                await page.locator(".alarm .name").last.click()
                await expect(page.locator(".plot canvas")).to_be_visible()
            await settle(page)
            keep(await page.screenshot(), FOLDER / f"{name}-{look}.png")


async def settle(page: Page) -> None:
    """Wait until nothing is on its way any more, and no colour is between two others."""
    await page.wait_for_load_state("networkidle")
    await expect(page.locator("#banner")).to_be_empty()
    await page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")


def keep(picture: bytes, path: Path) -> None:
    """Write a picture, in as few colours as it needs: a third of the size."""
    whole = Image.open(io.BytesIO(picture)).convert("RGB")
    few = whole.quantize(192, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    asyncio.run(main(everything="all" in sys.argv[1:]))
