"""No output of a server contains a secret of the settings.

`check_no_secret_is_shown` in conftest also checks this after every other test.
"""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from settings import Settings
from tests.support import credentials, planted
from tests.support.clients import ConnectRefused, connected
from tests.support.services.mariadb import PASSWORD
from tests.support.services.private import free_port
from tests.support.services.redis import Redis
from tests.support.serving import Serve
from tests.support.serving_inside import until
from tests.support.sites import Site, site

PAGES = ("", "login", "healthz", "readyz", "metrics", "nowhere", "static/main.js", "socket.io/")
ALARM = {"scope": {"metric": "temperature"}, "high": {"limit": 8, "severity": "critical", "reopen": 0}}
WRONG_SECRET = planted.secret("nobody")


def settings_with_all_secrets(database: dict[str, Any], redis: dict[str, Any]) -> dict[str, Any]:
    """Return settings that contain every kind of secret."""
    target = {"name": "duty", "url": f"json://user:{planted.MARK}@127.0.0.1:{free_port()}/{planted.MARK}"}
    return {
        "database": database,
        "state": database,
        "redis": redis,
        "access": credentials.access(credentials.user("li", "configure")),
        "notify": {"tiers": [[target]], "group_wait": "1s"},
        "rules": [ALARM],
        "poll_interval": 0.2,
    }


def test_printed_settings_show_no_secret() -> None:
    database = {"kind": "mysql", "name": "site", "user": "reader", "password": PASSWORD}
    redis = {"password": planted.secret("redis")}
    settings = msgspec.convert(settings_with_all_secrets(database, redis), Settings)
    parts: list[Any] = [
        settings,
        settings.access,
        settings.database,
        settings.redis,
        settings.notify,
        [settings],
        {"all": settings},
    ]
    for part in parts:
        assert planted.shown(f"{part!r} {part} {part!s:.99999}") == []
    assert planted.MARK in msgspec.json.encode(settings).decode()


async def test_a_server_with_debug_log_shows_no_secret(mariadb_database: dict[str, Any], serve: Serve) -> None:
    with Redis() as redis, site(mariadb_database) as built:
        settings = settings_with_all_secrets(mariadb_database, redis.settings())
        async with serve(settings | {"log_level": "DEBUG"}) as server:
            cookie = await credentials.log_in(server.url)
            shown = [str((await credentials.post(f"{server.url}login", f"name=li&password={WRONG_SECRET}")).body)]
            for page in PAGES:
                for headers in ({}, {"Cookie": cookie}, {"Authorization": f"Bearer {WRONG_SECRET}"}):
                    answer = await credentials.fetch(f"{server.url}{page}", headers=headers)
                    shown.append(answer.body.decode())
            shown.append(await denial_of(server.url, WRONG_SECRET))
            await send_events(server.url, built)
            built.add("temperature", 9.0)
            await until(lambda: "duty" in server.log())
            await expect_rejected_start(mariadb_database | {"password": WRONG_SECRET}, serve)
            redis.stop()
            await until(lambda: "messages to other processes are dropped" in server.log())
        assert planted.shown("\n".join([*shown, server.log(), server.output()])) == []


async def denial_of(url: str, token: str) -> str:
    """Try to connect with this token. Return the message of the refusal."""
    with pytest.raises(ConnectRefused) as refused:
        async with connected("python", url, auth={"token": token}):
            pass
    return f"{refused.value} {refused.value.data}"


async def send_events(url: str, built: Site) -> None:
    """Send valid and invalid events. The test client itself searches all answers for secrets."""
    async with connected("python", url, auth={"token": credentials.token("gateway", role="configure")}) as client:
        for payload in (built.ids["north"], None, {"store_house_id": WRONG_SECRET.replace(planted.MARK, "")}):
            for event in ("orgs", "register", "queryRules", "whoami", "no such event"):
                await client.call(event, payload)


async def expect_rejected_start(database: dict[str, Any], serve: Serve) -> None:
    """Try to start a server whose database refuses the login."""
    with pytest.raises(Exception, match="exit code 2") as refused:
        async with serve({"database": database}):
            pass
    assert planted.shown(str(refused.value)) == []


def test_the_search_finds_secrets_in_logs_and_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "told", [])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "server").mkdir()
        (Path(folder) / "server" / "stderr.log").write_text(f"all is well\nTraceback: {PASSWORD}\n", encoding="utf-8")
        (Path(folder) / "stdout.log").write_text("eyJhbGciOiJIUzI1NiJ9.x.y", encoding="utf-8")
        assert [line.split(":")[0] for line in planted.in_logs(Path(folder))] == ["server/stderr.log", "stdout.log"]
    planted.record_leaks(f"{{'user': 'li', 'password_hash': '{credentials.HASH}'}}", "the event x")
    assert len(planted.told) == 1


async def test_the_search_finds_secrets_in_pages_and_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    class LeakingHandler(RequestHandler):
        def get(self, header: str) -> None:
            if header:
                self.set_header("X-Told", WRONG_SECRET)
            else:
                self.write(f"<p>all is well</p>\n<p>{WRONG_SECRET}</p>")

    monkeypatch.setattr(planted, "told", [])
    server = HTTPServer(Application([("/(header)?", LeakingHandler)]))
    (listening,) = bind_sockets(0, "127.0.0.1")
    server.add_sockets([listening])
    for page in ("", "header"):
        await credentials.fetch(f"http://127.0.0.1:{listening.getsockname()[1]}/{page}")
    server.stop()
    assert len(planted.told) == 2
