"""Every answer of the server has the security headers."""

from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from tests.support import credentials
from tests.support.serving import Serve
from tests.support.sites import site
from web import security_headers

ASKED = [
    ("GET", ""),
    ("HEAD", ""),
    ("GET", "static/main.js"),
    ("GET", "static/nowhere"),
    ("GET", "nowhere"),
    ("POST", ""),
    ("GET", "login"),
    ("POST", "login"),
    ("POST", "logout"),
    ("GET", "healthz"),
    ("GET", "readyz"),
    ("GET", "metrics"),
    ("GET", "socket.io/"),
    ("GET", "socket.io/?EIO=4&transport=polling"),
    ("POST", "socket.io/?EIO=4&transport=polling&sid=nobody"),
]


@pytest.mark.slow
async def test_every_answer_has_the_security_headers(serve: Serve, tmp_path: Path) -> None:
    where = {"path": str(tmp_path / "site.db")}
    settings = {"database": where, "trusted_proxies": ["127.0.0.1"], "access": credentials.access(credentials.user())}
    with site(where):
        async with serve(settings) as server:
            for method, path in ASKED:
                plain = await ask(server.url, method, path, "http")
                secure = await ask(server.url, method, path, "https")
                # With the default policy, a browser would not send the origin of the form.
                always = security_headers.ALWAYS | (
                    {"Referrer-Policy": "same-origin"} if path.startswith("log") else {}
                )
                for answer in (plain, secure):
                    assert always.items() <= dict(answer.headers).items(), path
                    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                    assert "Server" not in answer.headers
                assert security_headers.HTTPS.items() <= dict(secure.headers).items(), path
                assert not security_headers.HTTPS.keys() & dict(plain.headers).keys(), path


async def ask(url: str, method: str, path: str, scheme: str) -> HTTPResponse:
    """Send a request as a reverse proxy does. `scheme` is the scheme that the proxy's client used."""
    return await AsyncHTTPClient().fetch(
        f"{url}{path}",
        method=method,
        body="" if method == "POST" else None,
        headers={"X-Forwarded-Proto": scheme},
        raise_error=False,
        follow_redirects=False,
    )
