"""Sends messages with Apprise. Apprise blocks, so each message is sent in its own thread, with a time-out.

The first import of Apprise takes 0.3 s and 46 MB. Therefore only this module imports it. `prepare` imports it at
start-up, and only if the settings have `notify`.
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
"""Time-out for sending a message, in seconds."""
MOST_STUCK = 3
"""Maximum number of threads that send to one target at a time.

While this number of threads is still running, further messages to the target fail at once.
"""

LEAKING_LOGGERS = ("apprise", "urllib3", "requests")
"""Library loggers that would write URLs, and the secrets in them, to the log."""


def prepare(targets: Sequence[Target], origin: Source) -> None:
    """Import Apprise and check the URL of every target, without sending anything.

    Raise `UsageError` if Apprise does not support a URL.
    """
    import apprise

    for name in LEAKING_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for target in targets:
        if not apprise.Apprise().add(target.url):
            where = origin.where("notify.tiers")
            raise UsageError(f"{where}: Apprise does not support the url of {target.name!r}; see the list in its wiki")


def deliver(target: Target, subject: str, text: str, severity: str | None) -> bool:
    """Send a message and return whether it has arrived.

    `severity` is the worst severity of the open alarms in the message, or None if all alarms in it are cleared.
    """
    import apprise

    kinds = {
        "info": apprise.NotifyType.INFO,
        "warning": apprise.NotifyType.WARNING,
        None: apprise.NotifyType.SUCCESS,
    }
    service = apprise.Apprise()
    service.add(target.url)
    # Plain text, so that Apprise escapes names and a service does not interpret them as markup.
    return bool(
        service.notify(
            title=subject,
            body=text,
            notify_type=kinds.get(severity, apprise.NotifyType.FAILURE),
            body_format=apprise.NotifyFormat.TEXT,
        )
    )


class Sender:
    """Sends messages in threads.

    A target that does not respond blocks at most `MOST_STUCK` threads, and it does not delay messages to other targets.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._running: Counter[str] = Counter()

    async def send(self, target: Target, subject: str, text: str, severity: str | None) -> bool:
        """Send a message. Return True if the message has certainly arrived within the time-out, otherwise False."""
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
            with suppress(RuntimeError):  # the event loop may be closed by now
                loop.call_soon_threadsafe(finish, arrived)

        self._running[target.name] += 1
        # A daemon thread, because a hanging thread must not prevent the server from stopping.
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
        # Log only the type, because the error's text may contain the URL.
        log.warning("cannot send a message to %s: %s", target.name, type(error).__name__)
        return False
