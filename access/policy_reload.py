"""Who may come in is read again whenever the settings have changed, without a restart."""

import asyncio
import logging
from collections.abc import Callable

from access.authenticator import Authenticator
from access.policy import Policy, policy
from common.file_watch import FileWatch
from errors import UsageError
from record.audit import Entry
from settings import load

log = logging.getLogger("access")

LOOK_S = 0.5
"""Between two looks at the file."""


class PolicyReload:
    """Has the gate obey the settings in the file at `path`, and notes each change. What is wrong changes nothing."""

    def __init__(self, authenticator: Authenticator, path: str, note: Callable[[Entry], None]) -> None:
        self._authenticator = authenticator
        self._path = path
        self._note = note

    async def run(self) -> None:
        """Follow until cancelled."""
        file = FileWatch(self._path)  # whatever changed since the start is taken too
        while True:
            if await asyncio.to_thread(file.look):
                await self._take()
            await asyncio.sleep(LOOK_S)

    async def _take(self) -> None:
        try:
            after = await asyncio.to_thread(read, self._path)
        except UsageError as error:
            log.error("who may come in stays as it was: %s", error)
            return
        except Exception as error:
            # If this ended, nobody could be sent away any more. Not told in full: it may quote a secret.
            log.error("who may come in stays as it was: the settings cannot be read (%s)", type(error).__name__)
            return
        before = self._authenticator.policy
        self._authenticator.obey(after)
        if before != after:
            log.info("who may come in has changed")
            self._note(Entry("access_changed", "", "", before=before.described(), after=after.described()))


def read(path: str) -> Policy:
    """Return who may come in by the settings; raises `UsageError`."""
    settings, source = load(path)
    return policy(settings.restricted, source)
