"""The health pages report the state of each part of the server."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from tests.support.services.mariadb import MariaDB
from tests.support.services.nginx import Nginx
from tests.support.services.redis import Redis
from tests.support.serving import Serve
from tests.support.serving_inside import serving_inside, until
from tests.support.sites import Site, site
from web import health

HANG = 60.0  # seconds; only a hang takes this long
LOOK_S = 0.05
PAGES = ["healthz", "readyz", "metrics"]
FAST = {"poll_interval": 0.05}


@pytest.fixture
def our_site(tmp_path: Path) -> Iterator[Site]:
    """A site in its own SQLite file."""
    where = {"path": str(tmp_path / "site.db")}
    with site(where) as built:
        built.settings = {"database": where} | FAST
        yield built


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB server that a test may stop. Each test leaves the server running."""
    with MariaDB() as server:
        yield server


async def fetch(url: str, **options: Any) -> HTTPResponse:
    return await AsyncHTTPClient().fetch(url, raise_error=False, **options)


async def readiness(url: str) -> tuple[int, dict[str, Any]]:
    answer = await fetch(f"{url}readyz")
    return answer.code, json.loads(answer.body)


async def becomes(url: str, code: int, **parts: object) -> dict[str, Any]:
    """Wait until `/readyz` answers with this status code and with these states of parts of the server.

    Return the JSON of the answer.
    """
    try:
        async with asyncio.timeout(HANG):
            while True:
                status, answer = await readiness(url)
                if status == code and answer.items() >= parts.items():
                    return answer
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise TimeoutError(f"still {answer}") from None


async def test_a_healthy_server_is_ready(our_site: Site, serve: Serve) -> None:
    async with serve(our_site.settings) as server:
        answer = await becomes(server.url, 200)
        alive = await fetch(f"{server.url}healthz")
    assert 0 <= answer.pop("poller_age_s") < HANG
    parts = {"database": True, "redis": None, "judge": True, "site_alarms": True, "recording": True}
    assert answer == {"ready": True, "prepared": True, **parts, "reasons": []}
    assert (alive.code, alive.body) == (200, b"ok\n")


async def test_readiness_reports_a_database_outage_and_its_end(serve: Serve, mariadb: MariaDB) -> None:
    mariadb.create_database("own")
    where = mariadb.settings("own")
    with site(where):
        async with serve({"database": where} | FAST) as server:
            await becomes(server.url, 200)
            await asyncio.to_thread(mariadb.stop)
            answer = await becomes(server.url, 503, database=False)
            assert not answer["ready"]
            assert answer["reasons"][0].startswith("the sensor database does not answer")
            assert (await fetch(f"{server.url}healthz")).code == 200
            assert 'storewatch_ready{part="database"} 0.0' in (await fetch(f"{server.url}metrics")).body.decode()
            await asyncio.to_thread(mariadb.start)
            assert (await becomes(server.url, 200))["reasons"] == []


async def test_readiness_reports_an_outage_of_the_judges_tables(
    our_site: Site, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ALARMS_LATE_S", 3.0)
    mariadb.create_database("state")
    async with serving_inside(our_site.settings | {"state": mariadb.settings("state")}) as inside:
        await becomes(inside.url, 200, judge=True)
        await asyncio.to_thread(mariadb.stop)
        answer = await becomes(inside.url, 503, judge=False)
        assert answer["database"]
        assert health.REASONS["judge"] in answer["reasons"]
        await asyncio.to_thread(mariadb.start)
        await becomes(inside.url, 200, judge=True)


@pytest.mark.slow
async def test_readiness_reports_a_poller_without_answers(
    our_site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In this test, the table of readings is missing. The poller's queries therefore fail."""
    monkeypatch.setattr(health, "POLLER_LATE_S", 1.0)
    async with serving_inside(our_site.settings) as inside:
        our_site.execute("ALTER TABLE reading RENAME TO away")
        await until(lambda: "the poller's query failed" in caplog.text)
        answer = await becomes(inside.url, 503, database=True)
        assert answer["poller_age_s"] > 1.0
        assert answer["reasons"] == [health.REASONS["poller"]]
        assert caplog.text.count("the poller's query failed") == 1
        our_site.execute("ALTER TABLE away RENAME TO reading")
        await becomes(inside.url, 200)


@pytest.mark.services
async def test_readiness_reports_a_redis_outage_and_null_without_judge(our_site: Site) -> None:
    with Redis() as redis:
        settings = our_site.settings | {"redis": redis.settings(), "alarms": {"judge": False}}
        async with serving_inside(settings) as inside:
            assert (await becomes(inside.url, 200, redis=True))["judge"] is None
            await asyncio.to_thread(redis.stop)
            answer = await becomes(inside.url, 503, redis=False)
            assert answer["reasons"] == [health.REASONS["redis"]]
            await asyncio.to_thread(redis.start)
            await becomes(inside.url, 200, redis=True)


async def test_the_health_pages_are_read_only_and_never_cached(our_site: Site, serve: Serve) -> None:
    async with serve(our_site.settings) as server:
        for page in PAGES:
            answer = await fetch(f"{server.url}{page}")
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert "Server" not in answer.headers
            assert "Etag" not in answer.headers
            head = await fetch(f"{server.url}{page}", method="HEAD")
            assert (head.code, head.body) == (200, b"")
            assert (await fetch(f"{server.url}{page}", method="POST", body="")).code == 405


@pytest.mark.services
async def test_nginx_hides_the_health_pages(our_site: Site, serve: Serve) -> None:
    async with serve(our_site.settings) as server:
        with Nginx([server.port]) as nginx:
            assert [(await fetch(f"{nginx.url}{page}")).code for page in PAGES] == [404, 404, 404]
            assert (await fetch(f"{nginx.url}socket.io/?EIO=4&transport=polling")).code == 200
