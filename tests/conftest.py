"""Fixtures and hooks for all tests."""

import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support import marks, planted
from tests.support.browser import chromium
from tests.support.coldstore import FOLDER
from tests.support.fault_results import RecordResult, recorder
from tests.support.scripted_site import ScriptedSite
from tests.support.services.mariadb import MariaDB
from tests.support.serving import Serve, StorewatchServer, served, server_in

# PyMySQL loads the system's certificates for each new connection, which takes 40 ms of CPU time. The tests verify none
# of them. The servers that the tests start inherit this.
os.environ["SSL_CERT_FILE"] = os.environ["SSL_CERT_DIR"] = os.devnull

# Without this setting, Hypothesis would fail a test on a slow machine if an example takes longer than 200 ms.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


def pytest_configure(config: pytest.Config) -> None:
    """If the run leaves out the tests marked `services`, forbid the other tests to start services."""
    marks.forbid_unmarked_services(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the mark `services` to the tests that need services through fixtures."""
    marks.mark_services(items)


@pytest.fixture(scope="session", autouse=True)
def check_no_secret_is_shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Check that no server log, answer, push or error of the whole run contains a secret from the tests' settings."""
    with planted.listening():
        yield
    assert [*planted.told, *planted.in_logs(tmp_path_factory.getbasetemp())] == []


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB server that all tests share. Tests that stop or freeze a server must use `with MariaDB()` instead."""
    with MariaDB() as server:
        yield server


@pytest.fixture
def mariadb_database(mariadb: MariaDB) -> dict[str, Any]:
    """The `database` settings for an empty MariaDB database that no other test uses."""
    name = f"test_{uuid.uuid4().hex}"
    mariadb.create_database(name)
    return mariadb.settings(name)


@pytest.fixture(params=["sqlite", "mariadb"])
def each_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The `database` settings for an empty database that no other test uses. The test runs with SQLite and MariaDB."""
    if request.param == "sqlite":
        return {"path": str(tmp_path_factory.mktemp("site") / "site.db")}
    database: dict[str, Any] = request.getfixturevalue("mariadb_database")
    return database


@pytest.fixture(scope="session")
def coldstore() -> Path:
    """The folder with the records of a real cold store. Skip the test if the folder does not exist."""
    if not FOLDER.is_dir():
        pytest.skip(f"{FOLDER} does not exist. Set STOREWATCH_COLDSTORE to the folder with the cold-store data.")
    return FOLDER


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """A function that prints text immediately, even if the test passes."""

    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return say


@pytest.fixture
def record_result(request: pytest.FixtureRequest, say: Callable[[str], None]) -> RecordResult:
    """A function that records figures for docs/faults.md: `record_result("judge killed", kills=100, alarms=840)`."""
    return recorder(request.node.user_properties, say)


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """A function that starts a server: `async with serve({...}) as server`."""
    return server_in(tmp_path)


@pytest.fixture(scope="session")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorewatchServer]:
    """A server with the embedded demo, for tests that change no data."""
    with served(StorewatchServer(tmp_path_factory.mktemp("demo"))) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A Chromium that all tests share. Every test that uses it needs the mark `in_one_loop`."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[ScriptedSite]:
    """A server with scripted answers, for tests of the dashboard."""
    with ScriptedSite().serving() as site:
        yield site
