"""The dashboard over HTTP: the served files, their headers and the size of the scripts."""

import asyncio
import gzip
import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, Response, expect
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from dashboard import pages
from lint.script_tokens import tokens
from tests.support.browser import in_browser, in_one_loop, visit
from tests.support.scripted_site import ScriptedSite, curve, own_alarm
from tests.support.serving import ROOT

pytestmark = in_one_loop

MAX_SCRIPT_BYTES, MAX_FIRST_VIEW_BYTES = 100_000, 64_000  # bytes, compressed
WALL_SCRIPTS = {"static/views/wall.js", "static/data/keep-running.js"}
FILES = ["", "static/main.js", "static/styles/base.css", "static/manifest.webmanifest", "modules/socket.io-client.js"]


@pytest.mark.parametrize("path", FILES)
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
    unchanged = await fetch(site, path, headers={"If-None-Match": answer.headers["Etag"]})
    assert unchanged.code == HTTPStatus.NOT_MODIFIED


async def test_a_client_that_accepts_gzip_gets_compressed_content(site: ScriptedSite) -> None:
    plain = await fetch(site, "static/main.js")
    packed = await fetch(site, "static/main.js", headers={"Accept-Encoding": "gzip"}, decompress_response=False)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(packed.body) == plain.body


async def test_head_is_answered_like_get_without_a_body(site: ScriptedSite) -> None:
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
        "static/contract.d.ts",
        "static/types.d.ts",
        "static/node_modules/preact/dist/preact.mjs",
        "static/../package.json",
        "static/%2e%2e/main.py",
        "static/..%2f..%2fmain.py",
        "modules/socket.io-client/package.json",
        "modules/../package.json",
    ],
)
async def test_files_outside_the_page_are_not_served(site: ScriptedSite, path: str) -> None:
    answer = await fetch(site, path)
    assert answer.code == HTTPStatus.NOT_FOUND
    assert "Content-Security-Policy" in answer.headers


async def test_missing_packages_give_instructions_in_both_languages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pages, "PACKAGES", tmp_path)
    with ScriptedSite().serving() as site:
        answer = await fetch(site, "")
    assert answer.code == HTTPStatus.SERVICE_UNAVAILABLE
    assert answer.body.decode().count("make setup") == 2
    assert 'lang="zh-CN"' in answer.body.decode()


async def test_every_link_of_page_and_manifest_is_served(site: ScriptedSite) -> None:
    page = (await fetch(site, "")).body.decode()
    manifest = json.loads((await fetch(site, "static/manifest.webmanifest")).body)
    icons = [icon["src"] for icon in manifest["icons"]]
    named = re.findall(r'(?:href|src)="/([^"]+)"', page) + [icon.removeprefix("/") for icon in icons]
    assert len(icons) >= 2
    for path in named:
        assert (await fetch(site, path)).code == HTTPStatus.OK, path


async def test_removing_comments_changes_no_code() -> None:
    served = pages.assets()
    for path in sorted((ROOT / "dashboard").rglob("*.js")):
        if "node_modules" in path.parts:
            continue
        source = path.read_text(encoding="utf-8")
        content = served[f"static/{path.relative_to(ROOT / 'dashboard').as_posix()}"].content.decode()
        assert code(content) == code(source), path
        assert [
            line for line in source.splitlines() if line.partition(" // ")[0].count("`") % 2 and " // " in line
        ] == []


def code(text: str) -> list[str]:
    """Return the tokens of a JavaScript file, without the comments."""
    return [token.text for token in tokens(text) if token.kind != "comment"]


async def test_the_lock_file_contains_no_download_urls() -> None:
    lock = json.loads((ROOT / "dashboard" / "package-lock.json").read_text(encoding="utf-8"))
    assert all("resolved" not in package for package in lock["packages"].values())


@in_browser
async def test_the_first_view_loads_few_preloaded_scripts(browser: Browser, site: ScriptedSite) -> None:
    async with visit(browser, "about:blank") as page:
        scripts = loaded(page)
        await page.goto(site.url)
        await expect(page.locator(".card .number")).to_be_visible()
        await page.goto(site.storehouse_url)
        await expect(page.locator(".tile .number")).to_be_visible()
        sizes = {name: await size for name, size in scripts.items()}
    preloaded = re.findall(r'modulepreload" href="/([^"]+)"', (await fetch(site, "")).body.decode())
    assert {*preloaded, "static/words/en.js"} == sizes.keys()
    assert sum(sizes.values()) <= MAX_FIRST_VIEW_BYTES


@in_browser
async def test_the_scripts_of_all_views_stay_below_the_limit(browser: Browser, site: ScriptedSite) -> None:
    site.alarms = [own_alarm()]
    site.curves = [curve(["2026-01-31T16:20:00Z", 3, 5, 4, 4])]
    async with visit(browser, "about:blank") as page:
        scripts = loaded(page)
        await page.goto(f"{site.storehouse_url}/charts")
        await expect(page.locator(".chart-foot")).to_be_visible()
        for tab, shown in (("Tiles", ".tile"), ("Floor plan", ".spot"), ("Table", ".readings"), ("Rules", ".kind")):
            await page.get_by_role("link", name=tab, exact=True).click()
            await expect(page.locator(shown).first).to_be_visible()
        await page.locator(".tabs a", has_text="Alarms").click()
        await page.locator(".alarm .name").click()
        await expect(page.locator(".plot canvas")).to_be_visible()
        sizes = {name: await size for name, size in scripts.items()}
    served = {name for name in pages.assets() if name.endswith(".js")}
    assert served - sizes.keys() == WALL_SCRIPTS | {"static/words/zh.js"}
    assert sum(sizes.values()) <= MAX_SCRIPT_BYTES


def loaded(page: Page) -> dict[str, asyncio.Task[int]]:
    """Return a dictionary to which each script that the page loads from now on is added.

    The keys are the names of the scripts. The values are their compressed sizes in bytes.
    """
    sizes: dict[str, asyncio.Task[int]] = {}

    async def size(answer: Response) -> int:
        return len(gzip.compress(await answer.body(), mtime=0))

    def note(answer: Response) -> None:
        if answer.url.endswith(".js"):
            sizes[urlsplit(answer.url).path.removeprefix("/")] = asyncio.create_task(size(answer))

    page.on("response", note)
    return sizes


async def fetch(site: ScriptedSite, path: str, **options: Any) -> HTTPResponse:
    return await AsyncHTTPClient().fetch(
        f"{site.url}{path}", raise_error=False, **({"decompress_response": False} | options)
    )
