"""Serves the dashboard over HTTP: its files and the libraries it loads, with a Content-Security-Policy.

All files are read at start-up. For each request, the server looks up the requested path in a dictionary of these files.
It never opens a file for a request.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import urljoin

from tornado.routing import Rule, URLSpec
from tornado.web import HTTPError, RequestHandler

HERE = Path(__file__).parent
PACKAGES = HERE / "node_modules"

# Only files of these types are served: never package.json, tsconfig.json or this file.
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
HTML = "text/html; charset=utf-8"
FOLDERS = ("", "components", "data", "icons", "styles", "views", "words")

# The libraries of the page: the path under which each file is served, and the file's path in the installed packages.
# The import map in index.html contains the names under which the page's modules import these files.
LIBRARIES = {
    "modules/htm.js": "htm/dist/htm.module.js",
    "modules/htm-preact.js": "htm/preact/index.module.js",
    "modules/preact.js": "preact/dist/preact.mjs",
    "modules/preact-hooks.js": "preact/hooks/dist/hooks.mjs",
    "modules/signals.js": "@preact/signals/dist/signals.module.js",
    "modules/signals-core.js": "@preact/signals-core/dist/signals-core.module.js",
    "modules/socket.io-client.js": "socket.io-client/dist/socket.io.esm.min.js",
    "modules/uplot.css": "uplot/dist/uPlot.min.css",
    "modules/uplot.js": "uplot/dist/uPlot.iife.min.js",
}

# uPlot's module is twice as large as its script. This line turns the script into a module.
APPENDED = {"modules/uplot.js": b"\nexport default uPlot;\n"}

MAIN_MODULE = "static/main.js"
CHINESE_NAMES = "static/chinese-names.json"
NAMES_LINK = f'    <meta name="chinese-names" content="/{CHINESE_NAMES}">\n'.encode()
"""The HTML element that contains the URL of the file with the Chinese names. words/translate.js reads this element."""

# Comments (which contain the types) and indentation are removed: they are a fifth of the bytes that a phone would load.
# No string in the page's modules contains ` // `.
_COMMENT = re.compile(rb"/\*\*(?:[^*]|\*(?!/))*\*/ ?|^[ \t]*//.*$|[ \t]+// .*$", re.MULTILINE)
_INDENT = re.compile(rb"^[ \t]+", re.MULTILINE)
_IMPORT = re.compile(r'\b(?:from|import)\s*"([^"\s]+)"')  # not `import("...")`, which loads on demand
_IMPORT_MAP = re.compile(rb'<script type="importmap">(.+?)</script>', re.DOTALL)
_INLINE_SCRIPT = re.compile(rb"<script[^>]*>(.+?)</script>", re.DOTALL)


Redirect = Callable[[RequestHandler], str | None]
"""A function that returns the address to which a request for `/` is redirected, or None to send the page."""


@dataclass(frozen=True)
class Asset:
    """A file to serve, with its content type and HTTP status."""

    content: bytes
    content_type: str
    status: int = 200

    @cached_property
    def compressed(self) -> bytes:
        """The content of the file, compressed with gzip."""
        return gzip.compress(self.content, mtime=0)


class AssetHandler(RequestHandler):
    """Answers GET and HEAD requests for assets, and 404 for any other path."""

    def initialize(self, assets: Mapping[str, Asset], policy: str, redirect_page: Redirect) -> None:
        """Store the arguments of the route."""
        self._assets = assets
        self._redirect_page = redirect_page
        # Tornado calls set_default_headers before `initialize`, so the header is set here. For an error page, Tornado
        # calls set_default_headers again without `initialize`.
        self._policy = policy
        self.set_header("Content-Security-Policy", policy)

    def set_default_headers(self) -> None:
        """Set the headers Content-Security-Policy and Cache-Control on every answer, including errors."""
        self.set_header("Content-Security-Policy", getattr(self, "_policy", "default-src 'none'"))
        self.set_header("Cache-Control", "no-cache")

    def get(self, path: str) -> None:
        """Send an asset, or a redirect. Tornado adds an ETag, and answers 304 if the browser already has the asset."""
        asset = self._assets.get(path)
        if asset is None:
            raise HTTPError(404)
        address = self._redirect_page(self) if path == "" else None
        if address is not None:
            self.redirect(address, status=303)
            return
        self.set_status(asset.status)
        self.set_header("Content-Type", asset.content_type)
        self.set_header("Vary", "Accept-Encoding")
        if "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            self.write(asset.compressed)
        else:
            self.write(asset.content)

    head = get


def routes(redirect_page: Redirect = lambda _: None, chinese_names: Mapping[str, str] = {}) -> list[Rule]:
    """Return the URL rules for `/`, `/static/...` and `/modules/...` for a Tornado application.

    `redirect_page` is called for each request for `/`, for example to redirect users who must log in first. All other
    files are the same for every user and contain no data of the site. `chinese_names` maps names in the database to the
    Chinese names that the page shows instead. If `chinese_names` is empty, the page loads no Chinese names.
    """
    files = assets()
    page = _page(files)
    if chinese_names:
        names = json.dumps(chinese_names, ensure_ascii=False, separators=(",", ":"))
        files[CHINESE_NAMES] = Asset(names.encode(), "application/json")
        page = replace(page, content=page.content.replace(b"  </head>", NAMES_LINK + b"  </head>"))
    arguments = {
        "assets": files | {"": page},
        "policy": content_security_policy(page.content),
        "redirect_page": redirect_page,
    }
    return [URLSpec(r"/(|static/.*|modules/.*)", AssetHandler, arguments)]


def assets() -> dict[str, Asset]:
    """Return the dashboard's own files and the installed libraries, by the path under which they are served."""
    return {**_own_files(), **_libraries()}


def content_security_policy(page: bytes) -> str:
    """Return a Content-Security-Policy that allows only the server's own files and the inline scripts of `page`.

    The page has an inline script for the import map. `connect-src 'self'` also allows the websocket in every browser
    that supports import maps.
    """
    inline = "".join(f" 'sha256-{_digest(script)}'" for script in _INLINE_SCRIPT.findall(page))
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self'{inline}",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            # Names are user input. With this directive, the browser itself refuses innerHTML.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _own_files() -> dict[str, Asset]:
    paths = (path for folder in FOLDERS for path in (HERE / folder).iterdir() if path.suffix in CONTENT_TYPES)
    return {f"static/{path.relative_to(HERE).as_posix()}": _own_file(path) for path in paths}


def _own_file(path: Path) -> Asset:
    content = path.read_bytes()
    if path.suffix == ".js":
        # Line numbers must not change, so that a browser's error message names the line of the source file.
        content = _INDENT.sub(b"", _COMMENT.sub(lambda comment: b"\n" * comment[0].count(b"\n"), content))
    return Asset(content, CONTENT_TYPES[path.suffix])


def _libraries() -> dict[str, Asset]:
    paths = {name: PACKAGES / path for name, path in LIBRARIES.items()}
    return {
        name: Asset(path.read_bytes() + APPENDED.get(name, b""), CONTENT_TYPES[Path(name).suffix])
        for name, path in paths.items()
        if path.is_file()
    }


def _page(assets: Mapping[str, Asset]) -> Asset:
    if assets.keys() >= LIBRARIES.keys():
        return Asset(_with_preloads((HERE / "index.html").read_bytes(), assets), HTML)
    return Asset((HERE / "setup.html").read_bytes(), HTML, status=503)


def _with_preloads(page: bytes, assets: Mapping[str, Asset]) -> bytes:
    """Add preload links for the modules of the first view. Without them, each level of imports costs a round trip."""
    names = sorted(_imported_modules(page, assets))
    links = "".join(f'    <link rel="modulepreload" href="/{name}">\n' for name in names)
    return page.replace(b"  </head>", f"{links}  </head>".encode())


def _imported_modules(page: bytes, assets: Mapping[str, Asset]) -> set[str]:
    """Return the modules that every view needs: the main module and all its direct and indirect imports."""
    import_map = _IMPORT_MAP.search(page)
    addresses = json.loads(import_map[1])["imports"] if import_map else {}
    modules: set[str] = set()
    waiting = [MAIN_MODULE]
    while waiting:
        name = waiting.pop()
        if name not in modules and name in assets:
            modules.add(name)
            imports = _IMPORT.findall(assets[name].content.decode())
            waiting += [urljoin(f"/{name}", addresses.get(text, text)).removeprefix("/") for text in imports]
    return modules


def _digest(script: bytes) -> str:
    return base64.b64encode(hashlib.sha256(script).digest()).decode()
