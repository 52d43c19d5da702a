"""Re-checks the permissions of live connections, because the policy may change and a session or token may expire."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from access.access_denied import AccessDenied
from access.authenticator import Authenticator
from access.caller import Caller
from access.connection import Connections
from common.periodic import run_periodically

log = logging.getLogger(__name__)

CHECK_S = 1.0
"""Interval between two checks of all connections, in seconds."""


class Revalidation:
    """Re-checks the permissions of every connection each second.

    It awaits `changed` for a connection whose user's role, visibility or session lifetime has changed. It awaits
    `ended` for a connection whose user no longer has access.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        connections: Connections,
        changed: Callable[[Caller], Awaitable[None]],
        ended: Callable[[Caller, AccessDenied], Awaitable[None]],
    ) -> None:
        self._authenticator = authenticator
        self._connections = connections
        self._changed = changed
        self._ended = ended
        self._revision = authenticator.revision

    async def run(self) -> None:
        """Check all connections periodically until cancelled."""
        await run_periodically(
            self.check, CHECK_S, log=log, purpose="re-check the permissions of connections", wait_first=True
        )

    async def check(self) -> None:
        """Check all connections now."""
        if not self._authenticator.restricted and self._revision == self._authenticator.revision:
            return
        self._revision = self._authenticator.revision
        for connection in await self._connections.all():
            if connection.ended:
                continue  # it ended while `changed` or `ended` was awaited for another connection
            try:
                await self._check(connection.caller)
            except Exception:
                # One failed check must not prevent the checks of the other connections.
                log.exception("cannot re-check the permissions of a connection")

    async def _check(self, caller: Caller) -> None:
        try:
            user = self._authenticator.revalidate(caller.user)
        except AccessDenied as denied:
            await self._ended(caller, denied)
        else:
            if user is not caller.user:
                await self._changed(replace(caller, user=user))
