"""Runs the complete server as a child process. `watched_server.py` records the internal state of the server."""

import asyncio
import signal
import time
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec

from tests.support.serving import ROOT, StorewatchServer, serving
from tests.support.watched_server import CLOCK, OFFSET, Sample

SAMPLED_S = 60.0  # seconds; a process that takes longer hangs


class WatchedServer(StorewatchServer):
    """The complete server in a child process that records its readings and resources. Tests can set its clock."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        directory.mkdir(parents=True)
        super().__init__(directory, settings, {"PYTHONPATH": str(ROOT)})

    def command(self) -> list[str]:
        """Return the command that starts the server with `watched_server.py` instead of `main.py`."""
        python, _, *arguments = super().command()
        return [python, str(ROOT / "tests" / "support" / "watched_server.py"), *arguments]

    def seen(self) -> Counter[float]:
        """Return how often the poller has handed out each value since the last start of the process."""
        return Counter(map(float, (self.directory / f"seen.{self.pid}").read_text().split()))

    def set_clock(self, seconds: float) -> None:
        """Make the server's clock fast by `seconds`, or slow if `seconds` is negative."""
        with (self.directory / CLOCK).open("r+b") as file:
            file.write(OFFSET.pack(seconds))

    async def sample(self) -> Sample:
        """Return a new sample of the resources that the process uses."""
        path = self.directory / "samples"
        before = path.stat().st_size if path.exists() else 0
        self._running().send_signal(signal.SIGUSR1)
        end = time.monotonic() + SAMPLED_S
        while not path.exists() or path.stat().st_size == before or not path.read_bytes().endswith(b"\n"):
            assert time.monotonic() < end, "the server did not write a sample in time"
            await asyncio.sleep(0.02)
        return msgspec.json.decode(path.read_bytes().splitlines()[-1], type=Sample)


def serving_watched(directory: Path, settings: dict[str, Any]) -> AbstractAsyncContextManager[WatchedServer]:
    """Run a WatchedServer during the block. Assert that it ends without an error."""
    return serving(WatchedServer(directory, settings))
