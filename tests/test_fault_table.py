"""Whatever befalls the servers while browsers watch, nothing is lost or doubled. `-m faults`: in full, and timed."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

import tables
from tests.cable import Cable
from tests.clients import Kind
from tests.fault_table import RULES, Fault, Row, Stage, Writer, suffer, table
from tests.faults import FILE, MARIADB, PROCESSES, REDIS, failed_over, make_room
from tests.followers import Follower, followers
from tests.services.mariadb import MariaDB
from tests.services.nginx import Nginx
from tests.services.redis import Redis
from tests.serving_watched import serving_watched
from tests.sites import Site, site
from tests.test_cluster import CONNECTIONS, beside, together

TOLD_S, CURRENT_S = 2.0, 5.0


class Form(NamedTuple):
    """Who watches, how long faults last, and whether it is timed: on a busy machine everything takes longer."""

    followers: dict[tuple[Kind, str], int]
    away_s: float
    lock_s: float
    is_timed: bool
    poll_interval: float


SHORT = Form(
    {("python", "websocket"): 6, ("python", "polling"): 3, ("python", "upgrade"): 2, ("node4", "websocket"): 1},
    away_s=0.2,
    lock_s=3.0,
    is_timed=False,
    poll_interval=0.2,
)
FULL = Form(
    {
        ("python", "websocket"): 95,
        ("python", "polling"): 60,
        ("python", "upgrade"): 35,
        ("node4", "websocket"): 5,
        ("node4", "upgrade"): 5,
    },
    away_s=10.0,
    lock_s=30.0,
    is_timed=True,
    poll_interval=1.0,
)
forms = pytest.mark.parametrize(
    "form", [pytest.param(SHORT, id="short"), pytest.param(FULL, id="full", marks=pytest.mark.faults)]
)


@pytest.fixture
def own_mariadb() -> Iterator[MariaDB]:
    with MariaDB() as server:
        server.create_database("site")
        yield server


@pytest.fixture
def north(own_mariadb: MariaDB) -> Iterator[Site]:
    with site(own_mariadb.settings("site")) as built:
        built.execute("DELETE FROM reading")
        make_room(own_mariadb, "site", built.ids["far"])
        remember_last(built)
        yield built


def remember_last(built: Site) -> None:
    """Those that are there already do not count."""
    with built.database.engine.connect() as connection:
        built.ids["last"] = connection.scalar(sa.select(sa.func.max(tables.reading.c.reading_id))) or 0


@asynccontextmanager
async def stage(form: Form, folder: Path, built: Site, where: dict[str, Any], mariadb: MariaDB) -> AsyncIterator[Stage]:
    """Two servers behind nginx with Redis, that find their database at `where`; somebody writes and many watch."""
    with ExitStack() as running:
        redis = running.enter_context(Redis())
        told = {"database": where, "redis": redis.settings(), "rules": RULES, "poll_interval": form.poll_interval}
        async with serving_watched(folder / "one", told) as one, serving_watched(folder / "other", told) as other:
            nginx = running.enter_context(Nginx([one.port, other.port], CONNECTIONS))
            watchers = watching(form, nginx.url, built)
            writer = running.enter_context(Writer(where, built))
            async with beside(*(watcher.run() for watcher in watchers)):
                await together(watchers)
                yield Stage([one, other], built, writer, watchers, form.away_s, form.lock_s, mariadb, redis, nginx)


def watching(form: Form, url: str, built: Site) -> Sequence[Follower]:
    """Those who watch, each with a name of its own."""
    watchers = followers(form.followers, url, built.ids["north"])
    for number, watcher in enumerate(watchers):
        watcher.name += f" {number}"
    return watchers


async def suffer_all(form: Form, on: Stage, faults: Sequence[Fault], capsys: pytest.CaptureFixture[str]) -> None:
    """Have one after the other befall them."""
    rows: list[Row] = []
    try:
        for fault in faults:
            rows.append(await suffer(on, fault))  # noqa: PERF401 - those before one that fails are shown too
    finally:
        with capsys.disabled():
            print(f"\n{len(on.watchers)} browsers watch\n{table(rows)}")
    assert [row for row in rows if not row.is_whole] == []
    if form.is_timed:
        assert [row for row in rows if (row.told_s or 0) > TOLD_S or row.current_s > CURRENT_S or row.needless] == []


@forms
async def test_nothing_is_lost_or_doubled_whatever_befalls_two_processes_and_what_they_stand_on(
    form: Form, tmp_path: Path, own_mariadb: MariaDB, north: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    async with stage(form, tmp_path, north, own_mariadb.settings("site"), own_mariadb) as on:
        await suffer_all(form, on, [*MARIADB, *REDIS, *PROCESSES], capsys)


@forms
async def test_nothing_is_lost_or_doubled_when_another_database_takes_over_the_address(
    form: Form, tmp_path: Path, own_mariadb: MariaDB, north: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    cable = Cable(own_mariadb.port)
    other = MariaDB()
    try:
        async with cable.laid() as url:
            where = own_mariadb.settings("site") | {"port": urlsplit(url).port}
            async with stage(form, tmp_path, north, where, own_mariadb) as on:
                await suffer_all(form, on, [failed_over(cable, other)], capsys)
                on.built.database.close()
    finally:
        other.cleanup()


@forms
async def test_nothing_is_lost_or_doubled_whatever_befalls_a_file_and_the_clock(
    form: Form, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = {"path": str(tmp_path / "site.db")}
    with site(where) as north, Writer(where, north) as writer:
        north.execute("DELETE FROM reading")
        remember_last(north)
        told = {"database": where, "rules": RULES, "poll_interval": form.poll_interval}
        async with serving_watched(tmp_path / "server", told) as server:
            watchers = watching(form, server.url, north)
            async with beside(*(watcher.run() for watcher in watchers)):
                await together(watchers)
                on = Stage([server], north, writer, watchers, form.away_s, form.lock_s)
                await suffer_all(form, on, FILE, capsys)
