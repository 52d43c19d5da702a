"""During faults, watching clients lose no reading and no alarm transition, and receive none of them twice.

`-m faults` runs the full form of the tests, which also checks times.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec
import pytest
import sqlalchemy as sa

from db import tables
from tests.support import marks
from tests.support.cable import Cable
from tests.support.clients import Kind
from tests.support.fault_page import FaultRow, fault_table
from tests.support.fault_results import RecordResult
from tests.support.fault_table import RULES, Fault, Stage, Writer, suffer
from tests.support.faults import FILE, MARIADB, PROCESSES, REDIS, make_room, mariadb_failed_over, redis_failed_over
from tests.support.followers import Follower, followers
from tests.support.services.mariadb import MariaDB
from tests.support.services.nginx import Nginx
from tests.support.services.redis import Redis
from tests.support.serving_watched import serving_watched
from tests.support.sites import Site, site
from tests.test_several_processes import CONNECTIONS, beside, together

TOLD_S, CURRENT_S = 2.0, 5.0
Server = TypeVar("Server", MariaDB, Redis)
SufferAll = Callable[["Form", Stage, Sequence[Fault]], Awaitable[None]]


class Form(NamedTuple):
    """A form of the tests, short or full.

    A form sets the watching clients, the length of the faults, and whether the tests check times. The short form checks
    no times, because everything takes longer on a busy machine.
    """

    followers: dict[tuple[Kind, str], int]
    away_s: float
    lock_s: float
    is_timed: bool
    poll_interval: float
    only: frozenset[str] = frozenset()
    """Names of the faults to run. If the set is empty, all faults run."""

    def chosen(self, faults: Sequence[Fault]) -> list[Fault]:
        """Return those of the `faults` that are part of this form (short or full) of the tests."""
        return [fault for fault in faults if not self.only or fault.name in self.only]


SHORT = Form(
    {("python", "websocket"): 6, ("python", "polling"): 3, ("python", "upgrade"): 2, ("node4", "websocket"): 1},
    away_s=0.2,
    lock_s=3.0,
    is_timed=False,
    poll_interval=0.2,
    only=frozenset(
        {
            "MariaDB killed",
            "MariaDB frozen",
            "leases locked",
            "Redis killed",
            "Redis frozen",
            "one of two processes killed",
            "SQLite's file locked",
            "clock set back by an hour, then corrected",
        }
    ),
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
    "form", [pytest.param(SHORT, id="short"), pytest.param(FULL, id="full", marks=marks.TIMED_FAULTS)]
)


@pytest.fixture
def own_mariadb() -> Iterator[MariaDB]:
    with MariaDB() as server:
        server.create_database("site")
        yield server


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture
def north(own_mariadb: MariaDB) -> Iterator[Site]:
    with site(own_mariadb.settings("site")) as built:
        built.execute("DELETE FROM reading")
        make_room(own_mariadb, "site", built.ids["far"])
        remember_last(built)
        yield built


def remember_last(built: Site) -> None:
    """Store the id of the last reading. Only readings with higher ids count in the following checks."""
    with built.database.engine.connect() as connection:
        built.ids["last"] = connection.scalar(sa.select(sa.func.max(tables.reading.c.reading_id))) or 0


@asynccontextmanager
async def stage(
    form: Form, folder: Path, built: Site, where: dict[str, Any], mariadb: MariaDB, redis: Redis
) -> AsyncIterator[Stage]:
    """Start two servers behind nginx, one writer of readings, and the clients that watch a storehouse.

    `where` contains the settings `database` and `redis` for the servers.
    """
    with ExitStack() as running:
        told = {**where, "rules": RULES, "poll_interval": form.poll_interval}
        async with serving_watched(folder / "one", told) as first, serving_watched(folder / "other", told) as second:
            nginx = running.enter_context(Nginx([first.port, second.port], CONNECTIONS))
            watchers = watching(form, nginx.url, built)
            writer = running.enter_context(Writer(where["database"], built))
            async with beside(*(watcher.run() for watcher in watchers)):
                await together(watchers)
                yield Stage([first, second], built, writer, watchers, form.away_s, form.lock_s, mariadb, redis, nginx)


def watching(form: Form, url: str, built: Site) -> Sequence[Follower]:
    """Return the watching clients, each with a unique name."""
    watchers = followers(form.followers, url, built.ids["north"])
    for number, watcher in enumerate(watchers):
        watcher.name += f" {number}"
    return watchers


def test_every_fault_of_the_short_form_exists() -> None:
    assert {fault.name for fault in [*MARIADB, *REDIS, *PROCESSES, *FILE]} >= SHORT.only


@pytest.fixture
def suffer_all(say: Callable[[str], None], record_result: RecordResult) -> SufferAll:
    """A function that runs faults one after another. It prints the results as a table, records and checks them."""

    async def suffer_all(form: Form, on: Stage, faults: Sequence[Fault]) -> None:
        rows: dict[str, FaultRow] = {}
        try:
            for fault in faults:
                rows[fault.name] = await suffer(on, fault)
                record_result(fault.name, **msgspec.structs.asdict(rows[fault.name]))
        finally:
            say(f"{len(on.watchers)} browsers watch\n{fault_table(rows)}")
        assert [name for name, row in rows.items() if not row.is_whole] == []
        if form.is_timed:
            slow = [row for row in rows.values() if (row.told_s or 0) > TOLD_S or row.current_s > CURRENT_S]
            assert [*slow, *(row for row in rows.values() if row.needless)] == []

    return suffer_all


@forms
async def test_mariadb_redis_and_process_faults_lose_or_double_nothing(
    form: Form, tmp_path: Path, own_mariadb: MariaDB, own_redis: Redis, north: Site, suffer_all: SufferAll
) -> None:
    where = {"database": own_mariadb.settings("site"), "redis": own_redis.settings()}
    async with stage(form, tmp_path, north, where, own_mariadb, own_redis) as on:
        await suffer_all(form, on, form.chosen([*MARIADB, *REDIS, *PROCESSES]))


@forms
async def test_failover_of_mariadb_and_redis_loses_or_doubles_nothing(
    form: Form, tmp_path: Path, own_mariadb: MariaDB, own_redis: Redis, north: Site, suffer_all: SufferAll
) -> None:
    to_mariadb, to_redis = Cable(own_mariadb.port), Cable(own_redis.port)
    with not_started(MariaDB()) as other_mariadb, not_started(Redis()) as other_redis:
        async with to_mariadb.laid() as database, to_redis.laid() as redis:
            where = {
                "database": own_mariadb.settings("site") | {"port": urlsplit(database).port},
                "redis": own_redis.settings() | {"port": urlsplit(redis).port},
            }
            async with stage(form, tmp_path, north, where, own_mariadb, own_redis) as on:
                faults = [mariadb_failed_over(to_mariadb, other_mariadb), redis_failed_over(to_redis, other_redis)]
                await suffer_all(form, on, faults)
                on.built.database.close()


@contextmanager
def not_started(server: Server) -> Iterator[Server]:
    """Yield a server that is not running. The caller may start the server. Clean it up at the end."""
    try:
        yield server
    finally:
        server.cleanup()


@pytest.mark.slow
@forms
async def test_sqlite_and_clock_faults_lose_or_double_nothing(
    form: Form, tmp_path: Path, suffer_all: SufferAll
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
                await suffer_all(form, on, form.chosen(FILE))
