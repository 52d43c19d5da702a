"""Whether those who are connected may stay, and whether they may still do and see the same."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from access.access_denied import AccessDenied
from access.authenticator import Authenticator
from access.caller import Caller

log = logging.getLogger("live")

LOOK_S = 1.0
"""Between two looks at everybody."""


class Revalidation:
    """Judges again those who are connected; `changed` and `ended` are awaited with whom that made a difference to."""

    def __init__(
        self,
        authenticator: Authenticator,
        callers: Mapping[str, Caller],
        changed: Callable[[Caller], Awaitable[None]],
        ended: Callable[[Caller, AccessDenied], Awaitable[None]],
    ) -> None:
        self._authenticator = authenticator
        self._callers = callers
        self._changed = changed
        self._ended = ended
        self._revision = authenticator.revision

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except Exception:
                log.exception("cannot tell whether those who are connected may stay")

    async def look(self) -> None:
        """Look now."""
        if not self._authenticator.restricted and self._revision == self._authenticator.revision:
            return
        self._revision = self._authenticator.revision
        for caller in list(self._callers.values()):
            if self._callers.get(caller.sid) is not caller:  # has left while others were told
                continue
            try:
                user = self._authenticator.revalidate(caller.user)
            except AccessDenied as refused:
                await self._ended(caller, refused)
            else:
                if user is not caller.user:
                    await self._changed(replace(caller, user=user))
