"""The fixtures that tests of every subject share."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support import planted
from tests.support.browser import chromium
from tests.support.coldstore import FOLDER
from tests.support.scripted_site import ScriptedSite
from tests.support.services.mariadb import MariaDB
from tests.support.serving import Serve, StorewatchServer, served, server_in


@pytest.fixture(scope="session", autouse=True)
def nothing_tells_a_secret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No log of a server, answer, push or error of the whole run shows any of the secrets in the tests' settings."""
    with planted.listening():
        yield
    assert [*planted.told, *planted.in_logs(tmp_path_factory.getbasetemp())] == []


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """One server for all; a test that stops or freezes its server starts one of its own: `with MariaDB()`."""
    with MariaDB() as server:
        yield server


@pytest.fixture
def mariadb_database(mariadb: MariaDB) -> dict[str, Any]:
    """The `database` settings of an empty database that no other test has."""
    name = f"test_{uuid.uuid4().hex}"
    mariadb.create_database(name)
    return mariadb.settings(name)


@pytest.fixture(params=["sqlite", "mariadb"])
def each_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The `database` settings of an empty database that no other test has, of one kind and then of the other."""
    if request.param == "sqlite":
        return {"path": str(tmp_path_factory.mktemp("site") / "site.db")}
    database: dict[str, Any] = request.getfixturevalue("mariadb_database")
    return database


@pytest.fixture(scope="session")
def coldstore() -> Path:
    """A site's real records, where they are at hand."""
    if not FOLDER.is_dir():
        pytest.skip(f"the cold-store data folder is absent: {FOLDER} (STOREWATCH_COLDSTORE names another)")
    return FOLDER


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints what a test has found out at once, and also where it passes."""

    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return say


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Starts servers: `async with serve({...}) as server`."""
    return server_in(tmp_path)


@pytest.fixture(scope="session")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorewatchServer]:
    """A server with the embedded demo, for tests that only look."""
    with served(StorewatchServer(tmp_path_factory.mktemp("demo"))) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium, one for all; a test that uses it is marked `in_one_loop`."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[ScriptedSite]:
    """A server that says what it is told to."""
    with ScriptedSite().serving() as site:
        yield site
