"""What ends, and what one may do and see, counts on live connections within seconds, however many there are."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.clients import TRANSPORTS, Client, PythonClient
from tests.support.credentials import access, log_in, token, user
from tests.support.serving import Serve, with_defaults
from tests.support.serving_inside import until
from tests.support.signed_in import SignedIn
from tests.support.sites import Site, site

PROMISED_S = 5.0
EACH = 50
PAUSE_S = 0.1
LASTS_S = 30.0  # of a token: long enough for all to have come

pytestmark = pytest.mark.faults


class Told:
    """A client that watches `north`, and when it was told by an event that something has changed."""

    def __init__(self, client: Client, event: str) -> None:
        self.client = client
        self.at: float | None = None
        self.shown = 0
        """How many `envs` had come by then."""
        self._event = event

    def check(self) -> bool:
        """Whether it has been told by now."""
        if self.at is None and self.client.received(self._event):
            self.at, self.shown = time.time(), len(self.client.received("envs"))
        return self.at is not None

    @property
    def shown_since(self) -> int:
        return len(self.client.received("envs")) - self.shown


async def enter(running: AsyncExitStack, url: str, north: Site, client: PythonClient, event: str, **auth: str) -> Told:
    running.push_async_callback(client.close)
    await client.connect(url, TRANSPORTS["websocket"], auth or None)
    assert (await client.call("register", {"store_house_id": north.ids["north"]}))["ok"]
    return Told(client, event)


async def seconds(told: Sequence[Told], since: float) -> float:
    """How long after `since` the last of them was told."""

    def all_are() -> bool:
        checked = [watcher.check() for watcher in told]  # each of them, each time
        return all(checked)

    await until(all_are)
    return max((watcher.at or since) - since for watcher in told)


async def write(built: Site) -> None:
    """Commit a reading after the other, until cancelled."""
    while True:
        await asyncio.to_thread(built.add, "temperature", 4.0 + time.monotonic() % 1)
        await asyncio.sleep(PAUSE_S)


async def test_of_200_watchers_each_hears_within_five_seconds_that_it_ends_or_may_see_less(
    serve: Serve, tmp_path: Path, say: Callable[[str], None]
) -> None:
    where = {"path": str(tmp_path / "site.db")}
    settings: dict[str, Any] = {"host": "127.0.0.1", "database": where, "poll_interval": 0.1, "max_per_address": 1000}
    with site(where) as north:
        before = access(user("gone", "operate"), user("moved", "operate"))
        after = access(user("moved", "watch", organisations=[north.ids["idle"]]), revoked=["revoked"])
        async with serve(settings | {"access": before}) as server, AsyncExitStack() as running:
            cookies = {name: await log_in(server.url, name) for name in ("gone", "moved")}

            async def come(event: str, *, cookie: str | None = None, **auth: str) -> list[Told]:
                clients = [SignedIn(cookie and cookies[cookie]) for _ in range(EACH)]
                return [await enter(running, server.url, north, client, event, **auth) for client in clients]

            struck_off = await come("ended", cookie="gone")
            moved = await come("whoami", cookie="moved")
            revoked = await come("ended", token=token("revoked"))
            end = int(time.time() + LASTS_S)
            expired = await come("ended", token=token(exp=end))
            writing = asyncio.create_task(write(north))
            await until(lambda: all(len(watcher.client.received("envs")) > 1 for watcher in expired))

            server.config.write_text(yaml.safe_dump(with_defaults(settings | {"access": after})), encoding="utf-8")
            changed_s = await seconds([*struck_off, *moved, *revoked], time.time())
            expired_s = await seconds(expired, end)
            shown = [watcher.shown_since for watcher in (*struck_off, *moved, *revoked, *expired)]
            writing.cancel()
            await asyncio.wait([writing])
    say(f"told of what the settings changed after {changed_s:.1f} s, of the end of a token after {expired_s:.1f} s")
    assert max(changed_s, expired_s) < PROMISED_S
    assert set(shown) == {0}
    assert {watcher.client.last("ended")["code"] for watcher in (*struck_off, *revoked)} == {"revoked"}
    assert {watcher.client.last("ended")["code"] for watcher in expired} == {"expired"}
    assert {watcher.client.last("ask_error")["code"] for watcher in moved} == {"not_found"}
