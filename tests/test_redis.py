"""Redis between the server processes: messages through Redis, outages of Redis, and the recovery after an outage."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import redis.asyncio as aioredis
import socketio

from settings import Redis as RedisSettings
from tests.support import marks
from tests.support.clients import TRANSPORTS, Client, connected
from tests.support.services.process import DidNotStart
from tests.support.services.redis import Redis
from tests.support.serving import Serve, StorewatchServer
from tests.support.serving_inside import SOON, serving_inside, until
from tests.support.sites import Site, site
from transport import redis_manager

RECOVERY_S = 5.0
LOST = "does not answer; messages to other processes are dropped"
BACK = "is reachable"
DELAYS = 200
"""Number of delays that the test tries. For each delay, it starts a Redis listener and cancels it after the delay.

After a short delay, the listener is still connecting.
"""
DELAY_STEP_S = 2e-5


@pytest.fixture(scope="module")
def own_redis() -> Iterator[Redis]:
    """A Redis server that a test may freeze and kill. It runs at the start of each test."""
    with Redis() as server:
        yield server


@pytest.fixture
def north(tmp_path: Path) -> Iterator[Site]:
    where = {"path": str(tmp_path / "site.db")}
    with site(where) as built:
        built.settings = {"database": where, "poll_interval": 0.05, "log_level": "DEBUG"}
        yield built


@pytest.fixture
async def pair(north: Site, own_redis: Redis, serve: Serve) -> AsyncIterator[list[StorewatchServer]]:
    settings = north.settings | {"redis": own_redis.settings()}
    async with serve(settings) as first, serve(settings) as other:
        await until(lambda: listeners(own_redis) == 2)
        yield [first, other]


def listeners(redis: Redis) -> int:
    return int(redis.execute("PUBSUB NUMSUB socketio").split(":")[-1])


def newest_sid(server: StorewatchServer) -> str:
    """Return the session id (sid) of the newest connection."""
    return str(re.findall(r" server: (\S+) connected from", server.log())[-1])


async def wait_until_disconnected(server: StorewatchServer, sid: str) -> None:
    await until(lambda: f" server: {sid} disconnected" in server.log())


def publish(redis: Redis, sid: str, number: int) -> None:
    """Emit an event to a connection of another process, as a server process does."""
    message = {"method": "emit", "event": "notice", "data": [number], "namespace": "/", "room": f"ROOM_{sid}"}
    redis.execute(f"PUBLISH socketio '{json.dumps(message)}'")


def log_count(server: StorewatchServer, pattern: str) -> int:
    """Return the number of log lines about Redis that match `pattern`."""
    return len(re.findall(f" transport.redis_manager: redis .* {pattern}", server.log()))


async def register(client: Client, built: Site) -> None:
    assert (await client.call("register", {"store_house_id": built.ids["north"]}))["ok"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_another_program_reaches_a_browser_on_any_process(
    transport: str, pair: list[StorewatchServer], own_redis: Redis
) -> None:
    program = socketio.AsyncRedisManager(own_redis.url(), write_only=True)
    async with AsyncExitStack() as running:
        for server in pair:
            client = await running.enter_async_context(connected("python", server.url, TRANSPORTS[transport]))
            await program.emit("notice", {"for": server.port}, room=f"ROOM_{newest_sid(server)}")
            assert await client.next("notice") == {"for": server.port}
            assert len(client.received("notice")) == 1
        await program.redis.aclose()


async def test_a_process_can_reach_and_disconnect_another_processes_clients(
    north: Site, own_redis: Redis, serve: Serve
) -> None:
    settings = north.settings | {"redis": own_redis.settings()}
    async with serving_inside(settings) as inside, serve(settings) as other:
        await until(lambda: listeners(own_redis) == 2)
        async with connected("python", inside.url) as ours, connected("node4", other.url) as theirs:
            await inside.server.sio.emit("notice", {"to": "all"})
            assert await ours.next("notice") == await theirs.next("notice") == {"to": "all"}
            await inside.server.sio.disconnect(newest_sid(other))
            await asyncio.wait_for(theirs.disconnected.wait(), SOON)
            assert theirs.reason == "server disconnect"
            assert len(ours.received("notice")) == len(theirs.received("notice")) == 1


async def test_events_and_pushes_send_nothing_through_redis(
    pair: list[StorewatchServer], own_redis: Redis, north: Site
) -> None:
    async with aioredis.from_url(own_redis.url()) as another, another.pubsub() as heard:
        await heard.psubscribe("*")
        await heard.get_message(timeout=SOON)
        for server in pair:
            for transport in TRANSPORTS.values():
                async with connected("python", server.url, transport) as client:
                    await register(client, north)
                    assert not (await client.call("nonsense"))["ok"]
                    north.add("temperature", 5.5)
                    north.raise_alarm("temperature", datetime.now(UTC))
                    await client.next("alarms")
                    await client.next("envs")
                    await client.call("unregister")
                    sid = newest_sid(server)
                await wait_until_disconnected(server, sid)
        own_redis.execute("PUBLISH socketio last")
        message = await heard.get_message(timeout=SOON)
        assert message["data"] == b"last"


@pytest.mark.parametrize("how", ["killed", "frozen"])
@pytest.mark.parametrize(
    "pushed_s", [pytest.param(SOON, id="short"), pytest.param(1.0, id="full", marks=marks.TIMED_FAULTS)]
)
async def test_messages_arrive_again_after_a_redis_outage(
    how: str, pushed_s: float, pair: list[StorewatchServer], own_redis: Redis, north: Site
) -> None:
    server = pair[0]
    async with connected("python", server.url) as client:
        await register(client, north)
        sid = newest_sid(server)
        if how == "killed":
            await asyncio.to_thread(own_redis.kill)
        else:
            own_redis.freeze()
        await until(lambda: log_count(server, LOST) == 1)
        before = len(client.received("envs"))
        north.add("temperature", 7.5)
        await until(lambda: len(client.received("envs")) > before, pushed_s)
        assert log_count(server, BACK) == 1
        await asyncio.sleep(2)  # long enough for the backoff of retries to grow
        if how == "killed":
            await asyncio.to_thread(own_redis.start)
        else:
            own_redis.thaw()
        back = time.monotonic()
        await until(lambda: log_count(server, BACK) == 2)
        assert time.monotonic() - back < RECOVERY_S
        assert log_count(server, LOST) == 1
        for number in range(10):
            publish(own_redis, sid, number)
        assert [await client.next("notice") for _ in range(10)] == list(range(10))
        await until(lambda: listeners(own_redis) == 2)
    assert "Traceback" not in server.log()


async def test_redis_with_a_full_disk_counts_as_reachable(
    pair: list[StorewatchServer], own_redis: Redis, north: Site
) -> None:
    async with connected("python", pair[0].url) as client:
        await register(client, north)
        sid = newest_sid(pair[0])
        own_redis.limit_files(1)
        try:
            own_redis.execute("SET any thing")
            await until(lambda: pings_refused(own_redis) > 4)  # more than one refused ping for each process
            publish(own_redis, sid, 1)
            assert await client.next("notice") == 1
        finally:
            own_redis.limit_files()
    assert [log_count(server, LOST) for server in pair] == [0, 0]


def pings_refused(redis: Redis) -> int:
    match = re.search(r"cmdstat_ping:.*rejected_calls=(\d+)", redis.execute("INFO commandstats"))
    return int(match[1]) if match else 0


async def test_local_clients_get_messages_while_redis_hangs(north: Site, own_redis: Redis, serve: Serve) -> None:
    """Clients of the other process get each message at most once."""
    settings = north.settings | {"redis": own_redis.settings()}
    async with serving_inside(settings) as inside, serve(settings) as other:
        await until(lambda: listeners(own_redis) == 2)
        async with connected("python", inside.url) as ours, connected("python", other.url) as theirs:
            own_redis.freeze()
            for number in range(8):
                async with asyncio.timeout(10):  # eight waits for Redis would take 16 s, but only the first emit waits
                    await inside.server.sio.emit("notice", number)
                assert await ours.next("notice") == number
            await until(lambda: log_count(other, LOST) == 1)
            own_redis.thaw()
            await until(lambda: log_count(other, BACK) == 2)
            for number in range(100, 104):
                publish(own_redis, newest_sid(other), number)
            while await theirs.next("notice") != 103:
                pass
            numbers = theirs.received("notice")
            assert sorted(set(numbers)) == numbers


async def test_a_server_stops_in_time_while_redis_hangs(north: Site, own_redis: Redis, serve: Serve) -> None:
    async with serve(north.settings | {"redis": own_redis.settings()}) as server:
        await until(lambda: listeners(own_redis) == 1)
        own_redis.freeze()
        try:
            assert await asyncio.wait_for(server.terminate(), 5) == 0
        finally:
            own_redis.thaw()


async def test_the_redis_listener_can_be_cancelled_at_any_moment(own_redis: Redis) -> None:
    manager = redis_manager.create_manager(msgspec.convert(own_redis.settings(), RedisSettings), 1000, 10.0)
    socketio.AsyncServer(async_mode="tornado", client_manager=manager)
    for step in range(DELAYS):
        listening = asyncio.create_task(manager.listen())
        await asyncio.sleep(step * DELAY_STEP_S)
        listening.cancel()
        done, _ = await asyncio.wait([listening], timeout=SOON)
        assert done, step


@pytest.mark.services
async def test_a_server_started_without_redis_connects_to_it_later(north: Site, serve: Serve) -> None:
    late = Redis()
    try:
        async with serve(north.settings | {"redis": late.settings()}) as server:
            async with connected("python", server.url) as client:
                await register(client, north)
                await until(lambda: log_count(server, LOST) == 1)
                await asyncio.to_thread(late.start)
                began = time.monotonic()
                await until(lambda: listeners(late) == 1)
                assert time.monotonic() - began < RECOVERY_S
                publish(late, newest_sid(server), 1)
                assert await client.next("notice") == 1
            assert log_count(server, LOST) == log_count(server, BACK) == 1
    finally:
        late.cleanup()


@pytest.mark.services
async def test_a_wrong_password_is_reported_without_its_value(north: Site, serve: Serve) -> None:
    late = Redis()
    settings = north.settings | {"redis": late.settings() | {"password": "wr0ng"}}
    try:
        async with serve(settings) as server:
            await until(lambda: log_count(server, LOST) == 1)
            await asyncio.to_thread(late.start)
            await until(lambda: log_count(server, f"{LOST}: .*password") == 1)
            assert "wr0ng" not in server.log()
        with pytest.raises(DidNotStart) as ended:
            async with serve(settings):
                pass
        assert (ended.value.exit_code, "denies access" in ended.value.log) == (2, True)
        assert "wr0ng" not in ended.value.log
    finally:
        late.cleanup()


async def test_a_lost_cancellation_does_not_keep_the_listener_running() -> None:
    manager = redis_manager.create_manager(RedisSettings(port=1), 1, 1.0)

    async def lose_a_cancellation() -> None:
        with suppress(asyncio.CancelledError):  # as redis-py does
            await asyncio.sleep(SOON)
        async for _ in manager._listen():
            raise AssertionError

    listener = asyncio.create_task(lose_a_cancellation())
    await asyncio.sleep(0)
    listener.cancel()
    async with asyncio.timeout(SOON):
        with pytest.raises(asyncio.CancelledError):
            await listener
