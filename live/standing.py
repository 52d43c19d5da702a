"""Whether those who are connected may stay, and whether they may still do and see the same."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from access.asker import Asker
from access.gate import Gate
from access.refusal import Refused

log = logging.getLogger("live")

LOOK_S = 1.0
"""Between two looks at everybody."""


class Standing:
    """Judges again those who are connected; `changed` and `ended` are awaited with whom that made a difference to."""

    def __init__(
        self,
        gate: Gate,
        askers: Mapping[str, Asker],
        changed: Callable[[Asker], Awaitable[None]],
        ended: Callable[[Asker, Refused], Awaitable[None]],
    ) -> None:
        self._gate = gate
        self._askers = askers
        self._changed = changed
        self._ended = ended
        self._revision = gate.revision

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
        if not self._gate.restricted and self._revision == self._gate.revision:
            return
        self._revision = self._gate.revision
        for asker in list(self._askers.values()):
            if self._askers.get(asker.sid) is not asker:  # has left while others were told
                continue
            try:
                user = self._gate.standing(asker.user)
            except Refused as refused:
                await self._ended(asker, refused)
            else:
                if user is not asker.user:
                    await self._changed(replace(asker, user=user))
