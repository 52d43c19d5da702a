"""The server closes a client that sends too many packets, of whatever kind.

It closes no client that keeps to the rate limit.
"""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.support import credentials
from tests.support.bare_server import TEXT, UPGRADE, Raw, bare, frame
from tests.support.clients import connected
from tests.support.serving import Serve
from tests.support.sites import site
from tests.test_metrics import figures
from transport import RateLimit
from transport.handler import CHUNK_BYTES, MAX_WORK_PER_TURN, Handler

AT_ONCE = 20
SLOW = RateLimit(0.001, AT_ONCE)
PACKETS = ('42["message"]', "437[]", "40/nowhere,", "3")


@pytest.mark.slow
@pytest.mark.parametrize("fast_accept", [False, True])
@pytest.mark.parametrize("packet", PACKETS)
async def test_a_websocket_flood_is_closed_at_once_and_counted(packet: str, fast_accept: bool) -> None:
    async with bare(fast_accept, rate_limit=SLOW) as server:
        before = server.resources()
        flooding = await server.joined()
        # The client starts another frame and sends no close frame, so the server must not wait for one.
        await flooding.send(frame(TEXT, packet) * 1_000 + b"\x81")
        assert await flooding.is_closed()
        await server.settled(before)
        assert server.sio.rejections == {"flood": 1}


@pytest.mark.parametrize("kind", [0, 9], ids=["fragments", "pings"])
async def test_fragments_and_pings_count_as_packets(kind: int) -> None:
    async with bare(rate_limit=SLOW) as server:
        flooding = await server.joined()
        await flooding.send(frame(TEXT, "42", flags=0) + frame(kind, b"", flags=0x80 if kind else 0) * 1_000)
        assert await flooding.is_closed()
        assert server.sio.rejections == {"flood": 1}


async def test_repeated_connects_and_disconnects_count_as_a_flood() -> None:
    async with bare(rate_limit=SLOW) as server:
        flooding = await server.websocket()
        await flooding.text()
        await flooding.send((frame(TEXT, "40") + frame(TEXT, "41")) * AT_ONCE)
        assert await flooding.is_closed()
        assert server.sio.rejections["flood"] == 1


async def test_a_flood_of_posts_is_refused_and_counted() -> None:
    async with bare(rate_limit=SLOW) as server:
        polling = await server.open()
        assert (await polling.post("40")).status == 200
        assert (await polling.post("\x1e".join(["437[]"] * (AT_ONCE - 1)))).status == 200
        refused = await polling.post("437[]")
        assert (refused.status, "Too many packets" in refused.body) == (429, True)
        assert server.sio.rejections["flood"] == 1
        assert (await polling.get()).status == 400


async def test_the_server_soon_ignores_input_of_a_closed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, on_message = itertools.count(), Handler.on_message

    def counted(handler: Handler, message: str | bytes) -> Any:
        next(taken)
        return on_message(handler, message)

    async with bare() as server:
        closed = await server.joined()
        monkeypatch.setattr(Handler, "on_message", counted)
        await closed.say("4nonsense")  # malformed, so the server sends a close frame and waits for the answer
        while not await is_refused(closed, frame(TEXT, "3") * 10_000):
            pass
        assert await closed.is_closed()
    assert next(taken) < (MAX_WORK_PER_TURN + CHUNK_BYTES) / len(frame(TEXT, "3"))


async def is_refused(raw: Raw, data: bytes) -> bool:
    """Send data. Return whether sending fails because the connection is closed."""
    try:
        await raw.send(data)
    except ConnectionError:
        return True
    return False


@pytest.mark.slow
async def test_the_server_closes_a_client_over_its_packet_limit(serve: Serve, tmp_path: Path) -> None:
    where = {"path": str(tmp_path / "site.db")}
    with site(where):
        pass
    async with serve({"database": where, "rate_burst": 10}) as server, connected("python", server.url) as calm:
        flooding = Raw(*await asyncio.open_connection("127.0.0.1", server.port))
        await flooding.send_request("GET", "EIO=4&transport=websocket", b"", UPGRADE)
        await flooding.head()
        await flooding.say("40")
        await flooding.send(frame(TEXT, "437[]") * 10_000)
        assert await flooding.is_closed()
        assert (await calm.call("whoami"))["ok"]
        metrics = figures((await credentials.fetch(f"{server.url}metrics")).body.decode())
    assert metrics['storewatch_rejected_requests_total{reason="flood"}'] == 1
