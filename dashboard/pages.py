"""The page over HTTP: what is served, and under which security headers.

Everything is read once, at start-up: a request is a look-up among names that are known, so no path ever
reaches the disk.
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

# Only these kinds are served: never package.json, tsconfig.json or this file.
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
HTML = "text/html; charset=utf-8"
FOLDERS = ("", "data", "icons", "parts", "styles", "views", "words")

# The address of each file of others that the page loads, and where it lies among the installed packages.
# index.html's import map says by which name our modules import it.
MODULES = {
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

# Of uPlot the small file is a script, and the module is twice as large: with this line, the script is a module.
ENDINGS = {"modules/uplot.js": b"\nexport default uPlot;\n"}

ENTRY = "static/main.js"

# Comments, types and the indent are for who reads the sources: a fifth of what a phone would load.
_COMMENT = re.compile(rb"/\*\*(?:[^*]|\*(?!/))*\*/ ?|^[ \t]*//.*$", re.MULTILINE)
_INDENT = re.compile(rb"^[ \t]+", re.MULTILINE)
_IMPORT = re.compile(r'\b(?:from|import)\s*"([^"\s]+)"')  # not `import("...")`: that is fetched when it is wanted
_IMPORT_MAP = re.compile(rb'<script type="importmap">(.+?)</script>', re.DOTALL)
_INLINE_SCRIPT = re.compile(rb"<script[^>]*>(.+?)</script>", re.DOTALL)


Elsewhere = Callable[[RequestHandler], str | None]


@dataclass(frozen=True)
class Asset:
    """One file as it is sent."""

    content: bytes
    content_type: str
    status: int = 200

    @cached_property
    def compressed(self) -> bytes:
        """The content in gzip."""
        return gzip.compress(self.content, mtime=0)


class Page(RequestHandler):
    """Answers GET and HEAD for the assets it was given by name, 404 for all else."""

    def initialize(self, assets: Mapping[str, Asset], policy: str, elsewhere: Elsewhere) -> None:
        """Take what `routes` has read."""
        self._assets = assets
        self._elsewhere = elsewhere
        # Tornado calls set_default_headers before initialize, and again, without it, when it writes an error.
        self._policy = policy
        self.set_header("Content-Security-Policy", policy)

    def set_default_headers(self) -> None:
        """Every answer, errors too, says what the page may load."""
        self.set_header("Content-Security-Policy", getattr(self, "_policy", "default-src 'none'"))
        self.set_header("Cache-Control", "no-cache")

    def get(self, name: str) -> None:
        """Send one asset; Tornado adds its ETag and answers 304 to who has it already."""
        asset = self._assets.get(name)
        if asset is None:
            raise HTTPError(404)
        first = self._elsewhere(self) if name == "" else None
        if first is not None:
            self.redirect(first, status=303)
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


def routes(elsewhere: Elsewhere = lambda _: None) -> list[Rule]:
    """Return the rules for `/`, `/static/...` and `/modules/...`, ready for a Tornado application.

    `elsewhere` tells where somebody must go first who asks for `/`. All else is the same for everybody, and holds
    nothing of the site.
    """
    found = assets()
    page = _page(found)
    arguments = {"assets": {**found, "": page}, "policy": content_security_policy(page.content), "elsewhere": elsewhere}
    return [URLSpec(r"/(|static/.*|modules/.*)", Page, arguments)]


def assets() -> dict[str, Asset]:
    """Return our own files, and those of others that are installed, by the path they are served under."""
    return {**_statics(), **_modules()}


def content_security_policy(page: bytes) -> str:
    """Allow our own files and the inline scripts of this very page (its import map), and nothing else.

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


def _statics() -> dict[str, Asset]:
    files = (path for folder in FOLDERS for path in (HERE / folder).iterdir() if path.suffix in TYPES)
    return {f"static/{path.relative_to(HERE).as_posix()}": _static(path) for path in files}


def _static(path: Path) -> Asset:
    content = path.read_bytes()
    if path.suffix == ".js":
        # As many lines as before: what a browser says of an error is true of the source.
        content = _INDENT.sub(b"", _COMMENT.sub(lambda found: b"\n" * found[0].count(b"\n"), content))
    return Asset(content, TYPES[path.suffix])


def _modules() -> dict[str, Asset]:
    files = {name: PACKAGES / path for name, path in MODULES.items()}
    return {
        name: Asset(path.read_bytes() + ENDINGS.get(name, b""), TYPES[Path(name).suffix])
        for name, path in files.items()
        if path.is_file()
    }


def _page(assets: Mapping[str, Asset]) -> Asset:
    if assets.keys() >= MODULES.keys():
        return Asset(_with_preloads((HERE / "index.html").read_bytes(), assets), HTML)
    return Asset((HERE / "setup.html").read_bytes(), HTML, status=503)


def _with_preloads(page: bytes, assets: Mapping[str, Asset]) -> bytes:
    """Name the first modules in the page: found one import after the other, each layer would cost a round trip."""
    links = "".join(f'    <link rel="modulepreload" href="/{name}">\n' for name in sorted(_first(page, assets)))
    return page.replace(b"  </head>", f"{links}  </head>".encode())


def _first(page: bytes, assets: Mapping[str, Asset]) -> set[str]:
    """Return the scripts that the page needs whatever it shows: those that its first one imports, and what they do."""
    found = _IMPORT_MAP.search(page)
    named = json.loads(found[1])["imports"] if found else {}
    first: set[str] = set()
    wanted = [ENTRY]
    while wanted:
        name = wanted.pop()
        if name not in first and name in assets:
            first.add(name)
            texts = _IMPORT.findall(assets[name].content.decode())
            wanted += [urljoin(f"/{name}", named.get(text, text)).removeprefix("/") for text in texts]
    return first


def _digest(script: bytes) -> str:
    return base64.b64encode(hashlib.sha256(script).digest()).decode()
