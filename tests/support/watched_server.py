"""Runs main.py and records what the server does. `serving_watched.py` starts this program.

The program uses three files in its working directory:

- It appends each value that the poller hands out to `seen.PID`.
- On SIGUSR1, it appends a sample of its resources to `samples`.
- It adds the number of seconds in `clock` to the time of its clock.
"""

import asyncio
import gc
import mmap
import os
import signal
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

import app.serve
import globals
import main
from ask.readings import Reading
from common import clock
from live.poller import Poller

CLOCK = Path("clock")
OFFSET = struct.Struct("d")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Sample(msgspec.Struct):
    """The resources that the process uses after a garbage collection."""

    rss: int
    """Resident memory of the process, in bytes."""
    fds: int
    tasks: int
    clients: int


class WatchedPoller(Poller):
    """A poller that records the readings that it hands out."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._seen = os.open(f"seen.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.subscribe(self._note)

    async def run(self) -> None:
        """Poll until cancelled. Take a sample on each SIGUSR1."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _sample)
        await super().run()

    async def _note(self, readings: Sequence[Reading]) -> None:
        os.write(self._seen, "".join(f"{reading.value}\n" for reading in readings).encode())


def _sample() -> None:
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    taken = Sample(resident, len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()), len(globals.clients))
    with Path("samples").open("ab") as samples:
        samples.write(msgspec.json.encode(taken) + b"\n")


def _set_clock() -> None:
    """Replace the server's clock with one that adds the number of seconds in the file `clock` to the real time."""
    if not CLOCK.exists():
        CLOCK.write_bytes(OFFSET.pack(0.0))
    with CLOCK.open("rb") as file:
        offset = mmap.mmap(file.fileno(), OFFSET.size, access=mmap.ACCESS_READ)

    def now() -> datetime:
        (seconds,) = OFFSET.unpack(offset[:])
        return datetime.now(UTC) + timedelta(seconds=seconds)

    clock.now = now


if __name__ == "__main__":
    vars(app.serve)["Poller"] = WatchedPoller
    _set_clock()
    main.leave(main.main())
