"""Runs the complete server as a child process: with `python main.py`, or forked from a process that has imported it."""

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import yaml

from tests.support import planted, preforked
from tests.support.services.process import Child, ChildProcess

ROOT = Path(__file__).resolve().parents[2]
READY = re.compile(r"^Storewatch: (https?://\S+:(\d+)/)\n", re.MULTILINE)


class StorewatchServer(ChildProcess):
    """The process `python main.py PORT --config FILE`. After a restart, the process uses the same port.

    `start` and `stop` block the event loop. In an async test, use `serving` and `terminate` instead, so that clients in
    the same loop keep running.
    """

    def __init__(
        self,
        directory: Path,
        settings: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        super().__init__(directory, cwd, clean_environment() | (env or {}))
        self.port = 0  # 0 means any free port; the server prints which one when it is ready
        self.url = ""
        self.config = directory / "settings.yaml"
        self.config.write_text(yaml.safe_dump(with_defaults(settings or {}), allow_unicode=True, sort_keys=False))

    def command(self) -> list[str]:
        return [sys.executable, str(ROOT / "main.py"), *self.arguments()]

    def arguments(self) -> list[str]:
        """Return the arguments of `main.py`."""
        return [str(self.port), "--config", str(self.config)]

    def is_ready(self) -> bool:
        ready = READY.search(self.output())
        if ready:
            self.url, self.port = ready[1], int(ready[2])
        return ready is not None

    async def terminate(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait until the process ends, without blocking the event loop. Return the exit code."""
        return await asyncio.to_thread(self.stop, number)

    def ended(self, exit_code: int, *, traceback_allowed: bool = False) -> None:
        """Assert that the exit code is 0.

        Unless `traceback_allowed` is true, also assert that the log contains no traceback.
        """
        assert exit_code == 0
        assert traceback_allowed or "Traceback" not in self.log()


class ForkedServer(StorewatchServer):
    """A server that is forked from a process that has done all imports.

    Its start needs a tenth of the CPU time of a normal start.
    """

    def _spawn(self, out: IO[bytes], err: IO[bytes]) -> Child:
        assert self.environment is not None
        return preforked.start(self.arguments(), self.cwd, self.environment, out, err)


Server = TypeVar("Server", bound=StorewatchServer)


@contextmanager
def served(server: Server) -> Iterator[Server]:
    """Run the server during the block. Fixtures for tests with different event loops use this instead of `serving`."""
    server.start()
    try:
        yield server
    finally:
        exit_code = server.stop() if server.started else 0
        print(server.log())  # pytest shows this if the test fails
    server.ended(exit_code)


@asynccontextmanager
async def serving(server: Server, *, traceback_allowed: bool = False) -> AsyncIterator[Server]:
    """Run the server during the block. Assert that it ends without an error."""
    await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        exit_code = await server.terminate() if server.started else 0
        print(server.log())  # pytest shows this if the test fails
    server.ended(exit_code, traceback_allowed=traceback_allowed)


class Serve(Protocol):
    """Type of the fixture `serve`, which is used as `async with serve({...}) as server`."""

    def __call__(
        self,
        settings: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        *,
        traceback_allowed: bool = False,
    ) -> AbstractAsyncContextManager[StorewatchServer]: ...


def server_in(parent: Path) -> Serve:
    """Return a function that starts servers. Each server gets a new folder within `parent`.

    The folder is the server's working directory, unless the caller passes `cwd`.
    """

    def serve(
        settings: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        *,
        traceback_allowed: bool = False,
    ) -> AbstractAsyncContextManager[StorewatchServer]:
        directory = Path(tempfile.mkdtemp(prefix="server-", dir=parent))
        server = ForkedServer(directory, settings, env, cwd)
        return serving(server, traceback_allowed=traceback_allowed)

    return serve


def with_defaults(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the settings with defaults for tests. The host is always the loopback address.

    If the settings have a database, three more defaults apply. `access` is `open`, because `access` is then required.
    The database password contains a marker. There are no default alarm rules, so a test that needs alarms sets its own
    rules.
    """
    if "database" not in settings:
        return {"host": "127.0.0.1"} | settings
    site = {"access": "open", "alarms": {"default_rules": False}}
    database = {"password": planted.secret("no-server")} | settings["database"]
    return {"host": "127.0.0.1"} | site | settings | {"database": database}


def clean_environment() -> dict[str, str]:
    """Return the environment variables of this process, without those that override Storewatch's settings."""
    return {key: value for key, value in os.environ.items() if not key.startswith("STOREWATCH_")}
