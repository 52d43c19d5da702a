"""Sends messages by Apprise, which blocks: each in a thread of its own that is waited for so long and no longer.

Apprise costs 0.3 s and 45 MB when it is first used, so it is imported here only, and `prepare` does that at the start
where somebody is to be told of alarms at all.
"""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from errors import UsageError
from settings import Source, Target

log = logging.getLogger("notify")

LIMIT_S = 30.0
"""How long a target may take for a message."""
MOST_STUCK = 3
"""Threads that may hang at one target: while they do, nothing more is sent there."""

LOGGERS = ("apprise", "urllib3", "requests")
"""They write URLs, and with them secrets, into the log."""


def prepare(targets: Sequence[Target], origin: Source) -> None:
    """Load Apprise and try every URL, without sending anything; raises `UsageError`."""
    import apprise

    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for target in targets:
        if not apprise.Apprise().add(target.url):
            where = origin.where("notify.tiers")
            raise UsageError(f"{where}: Apprise does not know the url of {target.name!r}; its wiki lists what it knows")


def deliver(target: Target, subject: str, text: str, severity: str | None) -> bool:
    """Send a message, and return whether it has arrived; `severity` is None where all is well again."""
    import apprise

    kinds = {
        "info": apprise.NotifyType.INFO,
        "warning": apprise.NotifyType.WARNING,
        None: apprise.NotifyType.SUCCESS,
    }
    service = apprise.Apprise()
    service.add(target.url)
    # As text: Apprise then takes care that names cannot pass for markup, whatever the service speaks.
    return bool(
        service.notify(
            title=subject,
            body=text,
            notify_type=kinds.get(severity, apprise.NotifyType.FAILURE),
            body_format=apprise.NotifyFormat.TEXT,
        )
    )


class Sender:
    """Sends in threads, of which a target that hangs may keep a few, and no other target any."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._running: Counter[str] = Counter()

    async def send(self, target: Target, subject: str, text: str, severity: str | None) -> bool:
        """Send a message, and return whether it has arrived for certain within the time limit."""
        if self._running[target.name] >= MOST_STUCK:
            return False
        loop = asyncio.get_running_loop()
        result: asyncio.Future[bool] = loop.create_future()

        def finish(arrived: bool) -> None:
            self._running[target.name] -= 1
            if not result.done():
                result.set_result(arrived)

        def work() -> None:
            arrived = _deliver(target, subject, text, severity)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(finish, arrived)

        self._running[target.name] += 1
        # A daemon: one that hangs must not keep the server from ending.
        threading.Thread(target=work, name=f"notify {target.name}", daemon=True).start()
        try:
            async with asyncio.timeout(self._limit_s):
                return await result
        except TimeoutError:
            return False


def _deliver(target: Target, subject: str, text: str, severity: str | None) -> bool:
    try:
        return deliver(target, subject, text, severity)
    except Exception as error:
        # Its words may hold the URL.
        log.warning("notify: %s: %s", target.name, type(error).__name__)
        return False
