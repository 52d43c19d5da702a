"""Reloads the access policy when the settings file changes, without a restart."""

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
"""Interval between two checks of the settings file, in seconds."""


class PolicyReload:
    """Applies the access policy in the settings file at `path` after each change of the file.

    If the changed file has errors, the old policy stays in force.

    `add_audit_entry` is called with an audit entry for each change of the policy.
    """

    def __init__(self, authenticator: Authenticator, path: str, add_audit_entry: Callable[[Entry], None]) -> None:
        self._authenticator = authenticator
        self._path = path
        self._add_audit_entry = add_audit_entry

    async def run(self) -> None:
        """Check the settings file periodically, and reload the access policy after each change, until cancelled."""
        watch = FileWatch(self._path)  # at first the file counts as changed: it may have changed since start-up

        async def reload_if_changed() -> None:
            if await asyncio.to_thread(watch.check):
                await self._reload()

        # An error must not end this loop: access could then no longer be revoked.
        await run_periodically(reload_if_changed, CHECK_INTERVAL_S, log=log, purpose="reload the access policy")

    async def _reload(self) -> None:
        try:
            after = await asyncio.to_thread(load_policy, self._path)
        except UsageError as error:
            log.error("cannot reload the access policy; the old one stays in force: %s", error)
            return
        except Exception as error:
            # The error's message may quote a secret, so only its type is logged.
            log.error(
                "cannot reload the access policy; the old one stays in force: cannot read the settings (%s)",
                type(error).__name__,
            )
            return
        before = self._authenticator.policy
        self._authenticator.apply_policy(after)
        if before != after:
            log.info("the access policy has changed")
            self._add_audit_entry(
                Entry("access_changed", "", "", before=before.audit_summary(), after=after.audit_summary())
            )


def load_policy(path: str) -> Policy:
    """Return the access policy of the settings file. Raise `UsageError` if the file has an error."""
    settings, source = load(path)
    return build_policy(settings.restricted, source)
