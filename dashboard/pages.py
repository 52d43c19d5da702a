"""Serves the dashboard over HTTP: its files and the libraries it loads, with a Content-Security-Policy.

All files are read at start-up. A request looks its path up among their names, so no path ever reaches the disk.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urljoin

from tornado.routing import Rule, URLSpec
from tornado.web import HTTPError, RequestHandler

HERE = Path(__file__).parent
PACKAGES = HERE / "node_modules"

# Only these types of files are served: never package.json, tsconfig.json or this file.
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
HTML = "text/html; charset=utf-8"
FOLDERS = ("", "components", "data", "icons", "styles", "views", "words")

# The libraries of the page: the path each file is served under, and its path among the installed packages.
# The import map in index.html has the names by which our modules import them.
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

# uPlot's module is twice as large as its script. This line makes the script a module.
APPENDED = {"modules/uplot.js": b"\nexport default uPlot;\n"}

MAIN_MODULE = "static/main.js"

# Comments, types and indentation are a fifth of what a phone would load. No string of ours holds ` // `.
_COMMENT = re.compile(rb"/\*\*(?:[^*]|\*(?!/))*\*/ ?|^[ \t]*//.*$|[ \t]+// .*$", re.MULTILINE)
_INDENT = re.compile(rb"^[ \t]+", re.MULTILINE)
_IMPORT = re.compile(r'\b(?:from|import)\s*"([^"\s]+)"')  # not `import("...")`: that is fetched when it is needed
_IMPORT_MAP = re.compile(rb'<script type="importmap">(.+?)</script>', re.DOTALL)
_INLINE_SCRIPT = re.compile(rb"<script[^>]*>(.+?)</script>", re.DOTALL)


Redirect = Callable[[RequestHandler], str | None]
"""Returns the address that a request for `/` is redirected to; None: it gets the page."""


@dataclass(frozen=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    content_type: str
    status: int = 200

    @cached_property
    def compressed(self) -> bytes:
        """The content in gzip."""
        return gzip.compress(self.content, mtime=0)


class AssetHandler(RequestHandler):
    """Answers GET and HEAD for the assets by their path, and 404 for any other path."""

    def initialize(self, assets: Mapping[str, Asset], policy: str, redirect_page: Redirect) -> None:
        """Store the arguments of the route."""
        self._assets = assets
        self._redirect_page = redirect_page
        # Tornado calls set_default_headers before initialize, and again, without it, when it writes an error.
        self._policy = policy
        self.set_header("Content-Security-Policy", policy)

    def set_default_headers(self) -> None:
        """Every answer, errors too, has the policy."""
        self.set_header("Content-Security-Policy", getattr(self, "_policy", "default-src 'none'"))
        self.set_header("Cache-Control", "no-cache")

    def get(self, path: str) -> None:
        """Send an asset; Tornado adds its ETag and answers 304 to a browser that has it already."""
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


def routes(redirect_page: Redirect = lambda _: None) -> list[Rule]:
    """Return the rules for `/`, `/static/...` and `/modules/...`, ready for a Tornado application.

    `redirect_page` is asked for each request of `/`, for example whether the user must log in first. All other files
    are the same for everybody, and contain no data of the site.
    """
    files = assets()
    page = _page(files)
    arguments = {
        "assets": files | {"": page},
        "policy": content_security_policy(page.content),
        "redirect_page": redirect_page,
    }
    return [URLSpec(r"/(|static/.*|modules/.*)", AssetHandler, arguments)]


def assets() -> dict[str, Asset]:
    """Return our own files and the installed libraries, by the path they are served under."""
    return {**_own_files(), **_libraries()}


def content_security_policy(page: bytes) -> str:
    """Return the policy that allows our own files and the inline scripts of this page (its import map), nothing else.

    `connect-src 'self'` covers the websocket in every browser that knows import maps.
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
            # Names are input: with this the browser itself refuses innerHTML.
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
        # Lines keep their numbers: those in a browser's error message are those of the source.
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
    """Add preload links for the modules of the first view: without them, each level of imports is a round trip."""
    names = sorted(_imported_modules(page, assets))
    links = "".join(f'    <link rel="modulepreload" href="/{name}">\n' for name in names)
    return page.replace(b"  </head>", f"{links}  </head>".encode())


def _imported_modules(page: bytes, assets: Mapping[str, Asset]) -> set[str]:
    """Return the modules that every view needs: the main module and all that it imports, directly or not."""
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
