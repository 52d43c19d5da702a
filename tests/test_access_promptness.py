"""If sessions end or permissions change, 200 open connections are informed within five seconds."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import yaml

from tests.support import marks
from tests.support.clients import TRANSPORTS, Client, PythonClient
from tests.support.credentials import access, log_in, token, user
from tests.support.fault_results import RecordResult
from tests.support.serving import Serve, with_defaults
from tests.support.serving_inside import until
from tests.support.signed_in import SignedIn
from tests.support.sites import Site, site

PROMISED_S = 5.0
EACH = 50
PAUSE_S = 0.1
LASTS_S = 30.0  # lifetime of a token: long enough for every client to connect

pytestmark = marks.TIMED_FAULTS


class Watcher:
    """A client that watches `north`. It records when the event about its permissions arrives."""

    def __init__(self, client: Client, event: str) -> None:
        self.client = client
        self.at: float | None = None
        self.shown = 0
        """Number of `envs` events that the client had received when it received the event about its permissions."""
        self._event = event

    def check(self) -> bool:
        """Return whether the client has received the event about its permissions.

        Record the time of the first call that returns True.
        """
        if self.at is None and self.client.received(self._event):
            self.at, self.shown = time.time(), len(self.client.received("envs"))
        return self.at is not None

    @property
    def shown_since(self) -> int:
        return len(self.client.received("envs")) - self.shown


async def connect_watcher(
    running: AsyncExitStack, url: str, north: Site, client: PythonClient, event: str, **auth: str
) -> Watcher:
    running.push_async_callback(client.close)
    await client.connect(url, TRANSPORTS["websocket"], auth or None)
    assert (await client.call("register", {"store_house_id": north.ids["north"]}))["ok"]
    return Watcher(client, event)


async def seconds_until_told(watchers: Sequence[Watcher], since: float) -> float:
    """Wait until every watching client has received the event about its permissions.

    Return the time from `since` until the last client received it, in seconds.
    """

    def all_are() -> bool:
        checked = [watcher.check() for watcher in watchers]  # no short circuit: each call records a time
        return all(checked)

    await until(all_are)
    return max((watcher.at or since) - since for watcher in watchers)


async def write(built: Site) -> None:
    """Commit readings at the site `built` until cancelled."""
    while True:
        await asyncio.to_thread(built.add, "temperature", 4.0 + time.monotonic() % 1)
        await asyncio.sleep(PAUSE_S)


async def test_200_watchers_learn_of_access_changes_within_five_seconds(
    serve: Serve, tmp_path: Path, record_result: RecordResult
) -> None:
    where = {"path": str(tmp_path / "site.db")}
    settings: dict[str, Any] = {"host": "127.0.0.1", "database": where, "poll_interval": 0.1, "max_per_address": 1000}
    with site(where) as north:
        before = access(user("gone", "operate"), user("moved", "operate"))
        after = access(user("moved", "watch", organisations=[north.ids["idle"]]), revoked=["revoked"])
        async with serve(settings | {"access": before}) as server, AsyncExitStack() as running:
            cookies = {name: await log_in(server.url, name) for name in ("gone", "moved")}

            async def connect_watchers(event: str, *, cookie: str | None = None, **auth: str) -> list[Watcher]:
                clients = [SignedIn(cookie and cookies[cookie]) for _ in range(EACH)]
                return [await connect_watcher(running, server.url, north, client, event, **auth) for client in clients]

            removed = await connect_watchers("ended", cookie="gone")
            moved = await connect_watchers("whoami", cookie="moved")
            revoked = await connect_watchers("ended", token=token("revoked"))
            end = int(time.time() + LASTS_S)
            expired = await connect_watchers("ended", token=token(exp=end))
            writing = asyncio.create_task(write(north))
            await until(lambda: all(len(watcher.client.received("envs")) > 1 for watcher in expired))

            server.config.write_text(yaml.safe_dump(with_defaults(settings | {"access": after})), encoding="utf-8")
            changed_s = await seconds_until_told([*removed, *moved, *revoked], time.time())
            expired_s = await seconds_until_told(expired, end)
            shown = [watcher.shown_since for watcher in (*removed, *moved, *revoked, *expired)]
            writing.cancel()
            await asyncio.wait([writing])
    record_result("permissions change", clients=len(shown), changed_s=changed_s, expired_s=expired_s)
    assert max(changed_s, expired_s) < PROMISED_S
    assert set(shown) == {0}
    assert {watcher.client.last("ended")["code"] for watcher in (*removed, *revoked)} == {"revoked"}
    assert {watcher.client.last("ended")["code"] for watcher in expired} == {"expired"}
    assert {watcher.client.last("ask_error")["code"] for watcher in moved} == {"not_found"}
