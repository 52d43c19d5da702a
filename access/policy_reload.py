"""Reloads the access policy whenever the settings file has changed, without a restart."""

import asyncio
import logging
from collections.abc import Callable

from access.authenticator import Authenticator
from access.policy import Policy, build_policy
from common.file_watch import FileWatch
from common.periodic import run_periodically
from errors import UsageError
from record.audit import Entry
from settings import load

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 0.5
"""Seconds between two checks of the file."""


class PolicyReload:
    """Applies the policy in the settings file at `path` whenever it changes; a file with errors changes nothing.

    `add_audit_entry` is called with an entry for each change.
    """

    def __init__(self, authenticator: Authenticator, path: str, add_audit_entry: Callable[[Entry], None]) -> None:
        self._authenticator = authenticator
        self._path = path
        self._add_audit_entry = add_audit_entry

    async def run(self) -> None:
        """Reload until cancelled."""
        watch = FileWatch(self._path)  # it counts as changed at first: it may have changed since the process read it

        async def reload_if_changed() -> None:
            if await asyncio.to_thread(watch.check):
                await self._reload()

        # If this ended on an error, nobody's access could be withdrawn any more.
        await run_periodically(reload_if_changed, CHECK_INTERVAL_S, log=log, purpose="reload the access policy")

    async def _reload(self) -> None:
        try:
            after = await asyncio.to_thread(load_policy, self._path)
        except UsageError as error:
            log.error("who may come in stays as it was: %s", error)
            return
        except Exception as error:
            # Without the error's message, which may quote a secret.
            log.error("who may come in stays as it was: the settings cannot be read (%s)", type(error).__name__)
            return
        before = self._authenticator.policy
        self._authenticator.apply_policy(after)
        if before != after:
            log.info("who may come in has changed")
            self._add_audit_entry(
                Entry("access_changed", "", "", before=before.audit_summary(), after=after.audit_summary())
            )


def load_policy(path: str) -> Policy:
    """Return the access policy of the settings file; raises `UsageError`."""
    settings, source = load(path)
    return build_policy(settings.restricted, source)
