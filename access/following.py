"""Who may come in is read again whenever the settings have changed, without a restart."""

import asyncio
import logging
import os
from collections.abc import Callable

from access.gate import Gate
from access.policy import Policy, policy
from errors import UsageError
from record.audit import Entry
from settings import load

log = logging.getLogger("access")

LOOK_S = 0.5
"""Between two looks at the file."""

Stamp = tuple[int, int, int]


class Following:
    """Has the gate obey the settings in the file at `path`, and notes each change. What is wrong changes nothing."""

    def __init__(self, gate: Gate, path: str, note: Callable[[Entry], None]) -> None:
        self._gate = gate
        self._path = path
        self._note = note

    async def run(self) -> None:
        """Follow until cancelled."""
        known: Stamp | None = None
        seen: Stamp | None = None  # whatever changed since the start is taken too
        while True:
            found = await asyncio.to_thread(stamp, self._path)
            # A file that is being written may be good YAML that says half of it: wait until it stays as it is.
            if found != known and found == seen:
                await self._take()
                known = found
            seen = found
            await asyncio.sleep(LOOK_S)

    async def _take(self) -> None:
        try:
            after = await asyncio.to_thread(read, self._path)
        except UsageError as error:
            log.error("who may come in stays as it was: %s", error)
            return
        before = self._gate.policy
        self._gate.obey(after)
        if before != after:
            log.info("who may come in has changed")
            self._note(Entry("access_changed", "", "", before=before.described(), after=after.described()))


def read(path: str) -> Policy:
    """Return who may come in by the settings; raises `UsageError`."""
    settings, source = load(path)
    return policy(settings.restricted, source)


def stamp(path: str) -> Stamp | None:
    """Return what changes when the file does; None while it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
