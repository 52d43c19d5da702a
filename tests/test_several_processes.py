"""Two processes behind nginx act as one, whatever happens to them and Redis. `-m faults` runs the full form."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest
import sqlalchemy as sa

from ask import journal
from ask.answers import Alarm
from ask.journal import Transition
from db import tables
from record import lease
from tests.support.clients import TRANSPORTS, Kind
from tests.support.followers import Follower, followers
from tests.support.services.nginx import Nginx
from tests.support.services.redis import Redis
from tests.support.serving import Serve, StorewatchServer
from tests.support.serving_inside import until
from tests.support.sites import Site, site

TOGETHER_S = 60.0  # for all to be back; only what never happens takes so long
BEAT_S = 0.15  # between two changes among the alarms
TAKEN_OVER_S = 5.0
FROZEN_S = 10.0


class Size(NamedTuple):
    """How many watch, and how often everything befalls them."""

    followers: dict[tuple[Kind, str], int]
    rounds: int


def size(rounds: int, websocket: int, polling: int, upgrade: int, node_each: int) -> Size:
    python: Sequence[tuple[str, int]] = [("websocket", websocket), ("polling", polling), ("upgrade", upgrade)]
    return Size(
        {("python", transport): count for transport, count in python}
        | {("node4", transport): node_each for transport in TRANSPORTS},
        rounds,
    )


CONNECTIONS = 2_048  # of nginx: its usual 512 are not enough for 200 browsers of which some poll

SHORT = size(rounds=1, websocket=12, polling=8, upgrade=4, node_each=1)
FULL = size(rounds=2, websocket=90, polling=60, upgrade=35, node_each=5)


@pytest.fixture
def north(mariadb_database: dict[str, Any]) -> Iterator[Site]:
    with site(mariadb_database) as built:
        built.settings = {"database": mariadb_database, "poll_interval": 0.2}
        yield built


class Life:
    """Alarms that are raised, acknowledged and cleared all along."""

    def __init__(self, built: Site) -> None:
        self.raised = 0
        self._site = built

    async def run(self) -> None:
        """Go on until cancelled, each alarm overlapping with the next."""
        while True:
            self.raised += 1  # before: a cancellation may meet the commit
            await asyncio.to_thread(self._site.raise_alarm, "temperature", datetime.now(UTC))
            await asyncio.sleep(BEAT_S)
            await self._change("acknowledged = 1", self.raised - 1)
            await asyncio.sleep(BEAT_S)
            await self._change(CLEARED, self.raised - 2)
            await asyncio.sleep(BEAT_S)

    async def end(self) -> None:
        """Clear what is still open."""
        await asyncio.to_thread(self._site.execute, f"UPDATE alarm SET {CLEARED} WHERE cleared IS NULL")

    async def _change(self, change: str, alarm_id: int) -> None:
        await asyncio.to_thread(self._site.execute, f"UPDATE alarm SET {change} WHERE alarm_id = {alarm_id}")


CLEARED = "state = 'cleared', cleared = UTC_TIMESTAMP(3)"


@asynccontextmanager
async def beside(*works: Any) -> AsyncIterator[None]:
    """Run these coroutines for the length of a block."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
        for task in tasks:
            assert not task.done() or task.exception() is None, task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def written(built: Site) -> list[Transition]:
    """The journal."""
    with built.database.engine.connect() as connection:
        return journal.after(connection, 0, 1_000_000)


def holder(built: Site) -> str:
    """The process that writes the journal."""
    with built.database.engine.connect() as connection:
        return str(connection.scalar(sa.select(tables.lease.c.holder)))


def last_states(transitions: Sequence[Transition]) -> dict[Any, Alarm]:
    return {transition.alarm.alarm_id: transition.alarm for transition in transitions}


async def together(watchers: Sequence[Follower]) -> None:
    await until(lambda: all(watcher.watching for watcher in watchers), TOGETHER_S)


def has_been_told(watcher: Follower, count: int) -> bool:
    return len(watcher.told) >= count


async def all_is_told(built: Site, raised: int, watchers: Sequence[Follower]) -> None:
    """Wait for the end of the journal to reach everybody, then compare."""

    def closed() -> bool:
        states = last_states(written(built))
        return len(states) == raised and not any(alarm.is_open for alarm in states.values())

    await until(closed)
    transitions = written(built)
    one_after_the_other(transitions)
    for watcher in watchers:
        assert watcher.first_cursor is not None
        expected = [transition.alarm for transition in transitions if transition.transition_id > watcher.first_cursor]
        await until(partial(has_been_told, watcher, len(expected)))
        assert msgspec.convert(watcher.told, list[Alarm]) == expected, watcher.name


def one_after_the_other(transitions: Sequence[Transition]) -> None:
    """No alarm goes through the same stage twice in a row, and none begins in the middle."""
    assert len(transitions) > len(last_states(transitions)), "alarms have more than one stage"
    for alarm_id in last_states(transitions):
        stages = [transition.alarm for transition in transitions if transition.alarm.alarm_id == alarm_id]
        for before, after in pairwise(stages):
            assert before != after


@pytest.mark.parametrize(
    "size", [pytest.param(SHORT, id="short"), pytest.param(FULL, id="full", marks=pytest.mark.faults)]
)
async def test_after_all_that_can_befall_the_processes_and_redis_every_browser_was_told_each_transition_once(
    size: Size, north: Site, serve: Serve, say: Callable[[str], None]
) -> None:
    with Redis() as redis:
        settings = north.settings | {"redis": redis.settings()}
        async with serve(settings) as first, serve(settings) as other:
            with Nginx([first.port, other.port], CONNECTIONS) as nginx:
                watchers = followers(size.followers, nginx.url, north.ids["north"])
                async with beside(*(watcher.run() for watcher in watchers)):
                    await together(watchers)
                    life = Life(north)
                    async with beside(life.run()):
                        for _ in range(size.rounds):
                            await disturb([first, other], redis, watchers)
                    await life.end()
                    await all_is_told(north, life.raised, watchers)
        times = sum(watcher.times for watcher in watchers)
        say(f"{len(watchers)} browsers, who connected {times} times, were told of {life.raised} alarms, each step once")
        assert all(watcher.times > 1 for watcher in watchers)


async def disturb(servers: Sequence[StorewatchServer], redis: Redis, watchers: Sequence[Follower]) -> None:
    """Everything that can happen to them, one thing after another."""
    for server in servers:  # a rolling restart
        await server.terminate()
        await asyncio.to_thread(server.start)
        await together(watchers)
    await asyncio.to_thread(redis.kill)
    await asyncio.sleep(3)
    await asyncio.to_thread(redis.start)
    redis.freeze()
    await asyncio.sleep(5)
    redis.thaw()
    await asyncio.to_thread(servers[0].kill)
    await together(watchers)
    await asyncio.to_thread(servers[0].start)
    await together(watchers)


async def test_a_request_that_nobody_answers_turns_nobody_else_away(north: Site, serve: Serve) -> None:
    """Else whoever can send one could do so again and again."""
    async with serve(north.settings) as first, serve(north.settings) as other, aiohttp.ClientSession() as http:
        with Nginx([first.port, other.port], CONNECTIONS) as nginx:
            async with http.get(nginx.url, headers={f"Too-Large-{n}": "x" * 6_000 for n in range(4)}) as refused:
                assert refused.status == 502
            for tab in range(20):
                async with http.get(nginx.url, params={"tab": str(tab)}) as answer:
                    assert answer.status == 200


@pytest.mark.parametrize("alone", [False, True], ids=["and goes on beside it", "and must go on alone"])
async def test_another_process_goes_on_when_the_one_that_writes_the_journal_is_frozen(
    alone: bool, north: Site, serve: Serve
) -> None:
    async with serve(north.settings) as first, serve(north.settings) as other:
        watchers = [Follower("python", "websocket", server.url, north.ids["north"]) for server in (first, other)]
        life = Life(north)
        async with beside(*(watcher.run() for watcher in watchers)):
            await together(watchers)
            async with beside(life.run()):
                await until(lambda: all(watcher.told for watcher in watchers))
                writing = holder(north)
                first.freeze()  # it was the first to acquire the lease, so it is the one that writes
                until_thawed = asyncio.create_task(asyncio.sleep(FROZEN_S))
                await until(lambda: holder(north) != writing, TAKEN_OVER_S)
                count = len(watchers[1].told)
                await until_thawed
                assert len(watchers[1].told) > count + 3
                if alone:  # it wakes when what it knew is out of date, and nobody keeps it from writing
                    await asyncio.to_thread(other.kill)
                    watchers.pop()
                    await asyncio.sleep(lease.DURATION.total_seconds())
                first.thaw()
                await until(lambda: len(watchers[0].told) > count + 3)
            await life.end()
            await all_is_told(north, life.raised, watchers)
