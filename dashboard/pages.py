"""The page over HTTP: what is served, and under which security headers.

Everything is read once, at start-up: a request is a look-up among names that are known, so no path ever
reaches the disk.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tornado.routing import Rule, URLSpec
from tornado.web import HTTPError, RequestHandler

HERE = Path(__file__).parent
PACKAGES = HERE / "node_modules"

# Only these kinds are served: never package.json, tsconfig.json or this file.
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HTML = "text/html; charset=utf-8"

# The address of each module of others that the page imports, and its file among the installed packages.
MODULES = {"modules/socket.io-client.js": "socket.io-client/dist/socket.io.esm.min.js"}

_INLINE_SCRIPT = re.compile(rb"<script[^>]*>(.+?)</script>", re.DOTALL)


@dataclass(frozen=True)
class Asset:
    """One file as it is sent."""

    content: bytes
    content_type: str
    status: int = 200


class Page(RequestHandler):
    """Answers GET and HEAD for the assets it was given by name, 404 for all else."""

    def initialize(self, assets: Mapping[str, Asset], policy: str) -> None:
        """Take what `routes` has read."""
        self._assets = assets
        # Tornado calls set_default_headers before initialize, and again, without it, when it writes an error.
        self._policy = policy
        self.set_header("Content-Security-Policy", policy)

    def set_default_headers(self) -> None:
        """Every answer, errors too, carries the security headers."""
        self.clear_header("Server")
        self.set_header("Content-Security-Policy", getattr(self, "_policy", "default-src 'none'"))
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-cache")

    def get(self, name: str) -> None:
        """Send one asset; Tornado adds its ETag and answers 304 to who has it already."""
        asset = self._assets.get(name)
        if asset is None:
            raise HTTPError(404)
        self.set_status(asset.status)
        self.set_header("Content-Type", asset.content_type)
        self.write(asset.content)

    head = get


def routes() -> list[Rule]:
    """Return the rules for `/`, `/static/...` and `/modules/...`, ready for a Tornado application."""
    assets = {**_statics(), **_modules()}
    page = _page(installed=assets.keys() >= MODULES.keys())
    arguments = {"assets": {**assets, "": page}, "policy": content_security_policy(page.content)}
    return [URLSpec(r"/(|static/.*|modules/.*)", Page, arguments)]


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
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            # Names are input: with this the browser itself refuses innerHTML.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _statics() -> dict[str, Asset]:
    files = (path for path in HERE.iterdir() if path.suffix in TYPES)
    return {f"static/{path.name}": _asset(path) for path in files}


def _modules() -> dict[str, Asset]:
    files = {name: PACKAGES / path for name, path in MODULES.items()}
    return {name: _asset(path) for name, path in files.items() if path.is_file()}


def _page(*, installed: bool) -> Asset:
    if installed:
        return Asset((HERE / "index.html").read_bytes(), HTML)
    return Asset((HERE / "setup.html").read_bytes(), HTML, status=503)


def _asset(path: Path) -> Asset:
    return Asset(path.read_bytes(), TYPES[path.suffix])


def _digest(script: bytes) -> str:
    return base64.b64encode(hashlib.sha256(script).digest()).decode()
