"""The whole server as a child process: started as an operator starts it, seen as a client sees it."""

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml

from tests.support import planted
from tests.support.services.process import ChildProcess

ROOT = Path(__file__).resolve().parents[2]
READY = re.compile(r"^Storewatch: (https?://\S+:(\d+)/)\n", re.MULTILINE)


class StorewatchServer(ChildProcess):
    """`python main.py PORT --config FILE`; a restart comes back at the same port.

    `start` and `stop` block: in an async test whose client lives in the same loop, `serving` and `terminate`
    let that client go on meanwhile.
    """

    def __init__(
        self,
        directory: Path,
        settings: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        super().__init__(directory, cwd, clean_environment() | (env or {}))
        self.port = 0  # any free one; the ready line says which
        self.url = ""
        self.config = directory / "settings.yaml"
        self.config.write_text(yaml.safe_dump(with_defaults(settings or {}), allow_unicode=True, sort_keys=False))

    def command(self) -> list[str]:
        return [sys.executable, str(ROOT / "main.py"), str(self.port), "--config", str(self.config)]

    def is_ready(self) -> bool:
        ready = READY.search(self.output())
        if ready:
            self.url, self.port = ready[1], int(ready[2])
        return ready is not None

    async def terminate(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and wait; its exit code."""
        return await asyncio.to_thread(self.stop, number)

    def ended(self, exit_code: int, *, traceback_allowed: bool = False) -> None:
        """It must have ended in order, and its log hold no trace."""
        assert exit_code == 0
        assert traceback_allowed or "Traceback" not in self.log()


Server = TypeVar("Server", bound=StorewatchServer)


@contextmanager
def served(server: Server) -> Iterator[Server]:
    """`serving`, for a fixture of several tests, each of which has a loop of its own."""
    server.start()
    try:
        yield server
    finally:
        exit_code = server.stop() if server.started else 0
        print(server.log())  # pytest shows it when the test has failed
    server.ended(exit_code)


@asynccontextmanager
async def serving(server: Server, *, traceback_allowed: bool = False) -> AsyncIterator[Server]:
    """Let it serve for the length of a block, and end as it should."""
    await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        exit_code = await server.terminate() if server.started else 0
        print(server.log())  # pytest shows it when the test has failed
    server.ended(exit_code, traceback_allowed=traceback_allowed)


class Serve(Protocol):
    """The fixture `serve`: `async with serve({...}) as server`."""

    def __call__(
        self,
        settings: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        *,
        traceback_allowed: bool = False,
    ) -> AbstractAsyncContextManager[StorewatchServer]: ...


def server_in(parent: Path) -> Serve:
    """What starts servers, each in a new folder within `parent` unless it is told its `cwd`."""

    def serve(
        settings: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        *,
        traceback_allowed: bool = False,
    ) -> AbstractAsyncContextManager[StorewatchServer]:
        directory = Path(tempfile.mkdtemp(prefix="server-", dir=parent))
        server = StorewatchServer(directory, settings, env, cwd)
        return serving(server, traceback_allowed=traceback_allowed)

    return serve


def with_defaults(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, on loopback; with the word that a database other than the demo's needs, and a password to betray.

    The judge is on, but has no rules there: a test that wants its alarms says which.
    """
    if "database" not in settings:
        return {"host": "127.0.0.1"} | settings
    site = {"access": "open", "alarms": {"default_rules": False}}
    database = {"password": planted.secret("no-server")} | settings["database"]
    return {"host": "127.0.0.1"} | site | settings | {"database": database}


def clean_environment() -> dict[str, str]:
    """Ours without what would override the settings."""
    return {key: value for key, value in os.environ.items() if not key.startswith("STOREWATCH_")}
