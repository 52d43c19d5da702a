"""The whole server as a child process that is seen from within too: see `tests/support/watched_server.py`."""

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

SAMPLED_S = 60.0  # only what hangs takes so long


class WatchedServer(StorewatchServer):
    """`python main.py PORT --config FILE`, with a poller that says what leaves it."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        directory.mkdir(parents=True)
        super().__init__(directory, settings, {"PYTHONPATH": str(ROOT)})

    def command(self) -> list[str]:
        """See `StorewatchServer`."""
        python, _, *arguments = super().command()
        return [python, str(ROOT / "tests" / "support" / "watched_server.py"), *arguments]

    def seen(self) -> Counter[float]:
        """How often each value has left the poller since the last start."""
        return Counter(map(float, (self.directory / f"seen.{self.pid}").read_text().split()))

    def set_clock(self, seconds: float) -> None:
        """Have its clock go so many seconds wrong."""
        with (self.directory / CLOCK).open("r+b") as file:
            file.write(OFFSET.pack(seconds))

    async def sample(self) -> Sample:
        """What it holds now."""
        path = self.directory / "samples"
        before = path.stat().st_size if path.exists() else 0
        self._running().send_signal(signal.SIGUSR1)
        end = time.monotonic() + SAMPLED_S
        while not path.exists() or path.stat().st_size == before or not path.read_bytes().endswith(b"\n"):
            assert time.monotonic() < end, "it takes no sample"
            await asyncio.sleep(0.02)
        return msgspec.json.decode(path.read_bytes().splitlines()[-1], type=Sample)


def serving_watched(directory: Path, settings: dict[str, Any]) -> AbstractAsyncContextManager[WatchedServer]:
    """Let it serve for the length of a block, and end as it should."""
    return serving(WatchedServer(directory, settings))
