"""Sends messages by Apprise, which blocks: each in a thread of its own, with a time limit.

The first import of Apprise costs 0.3 s and 45 MB, so only this module imports it, and `prepare` does so at the start if
there are targets.
"""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from errors import UsageError
from settings import Source, Target

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0
"""How long a target may take for a message."""
MOST_STUCK = 3
"""The most threads that may hang at one target: while they do, nothing more is sent to it."""

LEAKING_LOGGERS = ("apprise", "urllib3", "requests")
"""Loggers of libraries that write URLs, and with them secrets, into the log."""


def prepare(targets: Sequence[Target], origin: Source) -> None:
    """Import Apprise and check every URL, without sending anything; raises `UsageError`."""
    import apprise

    for name in LEAKING_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for target in targets:
        if not apprise.Apprise().add(target.url):
            where = origin.where("notify.tiers")
            raise UsageError(f"{where}: Apprise does not know the url of {target.name!r}; its wiki lists what it knows")


def deliver(target: Target, subject: str, text: str, severity: str | None) -> bool:
    """Send a message, and return whether it has arrived; `severity` is None if all alarms in it are over."""
    import apprise

    kinds = {
        "info": apprise.NotifyType.INFO,
        "warning": apprise.NotifyType.WARNING,
        None: apprise.NotifyType.SUCCESS,
    }
    service = apprise.Apprise()
    service.add(target.url)
    # As text: Apprise then escapes names, so that a service cannot read them as markup.
    return bool(
        service.notify(
            title=subject,
            body=text,
            notify_type=kinds.get(severity, apprise.NotifyType.FAILURE),
            body_format=apprise.NotifyFormat.TEXT,
        )
    )


class Sender:
    """Sends in threads. A target that hangs blocks at most `MOST_STUCK` threads, and no other target."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._running: Counter[str] = Counter()

    async def send(self, target: Target, subject: str, text: str, severity: str | None) -> bool:
        """Send a message, and return whether it has certainly arrived within the time limit."""
        if self._running[target.name] >= MOST_STUCK:
            return False
        loop = asyncio.get_running_loop()
        result: asyncio.Future[bool] = loop.create_future()

        def finish(arrived: bool) -> None:
            self._running[target.name] -= 1
            if not result.done():
                result.set_result(arrived)

        def run_thread() -> None:
            arrived = _deliver(target, subject, text, severity)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(finish, arrived)

        self._running[target.name] += 1
        # A daemon: a thread that hangs must not keep the server from stopping.
        threading.Thread(target=run_thread, name=f"notify {target.name}", daemon=True).start()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await result
        except TimeoutError:
            return False


def _deliver(target: Target, subject: str, text: str, severity: str | None) -> bool:
    try:
        return deliver(target, subject, text, severity)
    except Exception as error:
        # Its text may contain the URL.
        log.warning("notify: %s: %s", target.name, type(error).__name__)
        return False
