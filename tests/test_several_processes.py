"""Two server processes behind nginx act as one server, even if one of them or Redis fails.

`-m faults` runs the tests in full size.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest

from ask import journal
from ask.answers import Alarm
from ask.journal import Transition
from record import lease
from tests.support import marks
from tests.support.clients import TRANSPORTS, Kind
from tests.support.fault_results import RecordResult
from tests.support.followers import Follower, followers
from tests.support.judged import holder
from tests.support.services.nginx import Nginx
from tests.support.services.redis import Redis
from tests.support.serving import Serve, StorewatchServer
from tests.support.serving_inside import SOON, until
from tests.support.sites import Site, site

ALL_WATCHING_TIMEOUT_S = 60.0  # time-out for every browser to watch again; reached only if the test fails
CHANGE_INTERVAL_S = 0.15  # between two alarm changes
TAKEN_OVER_S = 5.0


class Size(NamedTuple):
    """The size of a test: the number of browsers of each kind and transport, and the number of rounds of faults."""

    followers: dict[tuple[Kind, str], int]
    rounds: int


def size(rounds: int, websocket: int, polling: int, upgrade: int, node_each: int) -> Size:
    python: Sequence[tuple[str, int]] = [("websocket", websocket), ("polling", polling), ("upgrade", upgrade)]
    return Size(
        {("python", transport): count for transport, count in python}
        | {("node4", transport): node_each for transport in TRANSPORTS},
        rounds,
    )


CONNECTIONS = 2_048  # limit of nginx; the default of 512 is too low for 200 browsers, because some of them poll

SHORT = size(rounds=1, websocket=12, polling=8, upgrade=4, node_each=1)
FULL = size(rounds=2, websocket=90, polling=60, upgrade=35, node_each=5)


@pytest.fixture
def north(mariadb_database: dict[str, Any]) -> Iterator[Site]:
    with site(mariadb_database) as built:
        built.settings = {"database": mariadb_database, "poll_interval": 0.2}
        yield built


class AlarmChanges:
    """Changes alarms in the database: raises, acknowledges and clears them continuously."""

    def __init__(self, built: Site) -> None:
        self.raised = 0
        self._site = built

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Change alarms during the block, then clear all open alarms."""
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(over))
            yield
            over.set()  # do not cancel the task: its thread would raise an alarm after the others are cleared
        await asyncio.to_thread(self._site.execute, f"UPDATE alarm SET {CLEARED} WHERE cleared IS NULL")

    async def _repeat(self, over: asyncio.Event) -> None:
        """Change alarms until `over` is set. Each alarm is cleared only after the next alarm was raised."""
        while not over.is_set():
            await asyncio.to_thread(self._site.raise_alarm, "temperature", datetime.now(UTC))
            self.raised += 1
            await asyncio.sleep(CHANGE_INTERVAL_S)
            await self._change("acknowledged = 1", self.raised - 1)
            await asyncio.sleep(CHANGE_INTERVAL_S)
            await self._change(CLEARED, self.raised - 2)
            await asyncio.sleep(CHANGE_INTERVAL_S)

    async def _change(self, change: str, alarm_id: int) -> None:
        await asyncio.to_thread(self._site.execute, f"UPDATE alarm SET {change} WHERE alarm_id = {alarm_id}")


CLEARED = "state = 'cleared', cleared = UTC_TIMESTAMP(3)"


@asynccontextmanager
async def beside(*works: Any) -> AsyncIterator[None]:
    """Run these coroutines in the background during a block. If one of them fails, end the block with its error."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
        yield
        for task in tasks:
            task.cancel()


def journal_transitions(built: Site) -> list[Transition]:
    """Return all alarm transitions in the alarm journal."""
    with built.database.engine.connect() as connection:
        return journal.after(connection, 0, 1_000_000)


def last_states(transitions: Sequence[Transition]) -> dict[Any, Alarm]:
    return {transition.alarm.alarm_id: transition.alarm for transition in transitions}


async def together(watchers: Sequence[Follower]) -> None:
    await until(lambda: all(watcher.watching for watcher in watchers), ALL_WATCHING_TIMEOUT_S)


def has_received(watcher: Follower, count: int) -> bool:
    return len(watcher.told) >= count


async def check_all_delivered(built: Site, raised: int, watchers: Sequence[Follower]) -> None:
    """Wait until every alarm is cleared in the journal.

    Check that each watching client has received the whole journal.
    """

    def closed() -> bool:
        states = last_states(journal_transitions(built))
        return len(states) == raised and not any(alarm.is_open for alarm in states.values())

    await until(closed)
    transitions = journal_transitions(built)
    check_stages_differ(transitions)
    for watcher in watchers:
        assert watcher.first_cursor is not None
        expected = [transition.alarm for transition in transitions if transition.transition_id > watcher.first_cursor]
        await until(partial(has_received, watcher, len(expected)))
        assert msgspec.convert(watcher.told, list[Alarm]) == expected, watcher.name


def check_stages_differ(transitions: Sequence[Transition]) -> None:
    """Check that two consecutive transitions of an alarm always differ."""
    assert len(transitions) > len(last_states(transitions)), "alarms have more than one stage"
    for alarm_id in last_states(transitions):
        stages = [transition.alarm for transition in transitions if transition.alarm.alarm_id == alarm_id]
        for before, after in pairwise(stages):
            assert before != after


@pytest.mark.parametrize(
    "size", [pytest.param(SHORT, id="short"), pytest.param(FULL, id="full", marks=pytest.mark.faults)]
)
async def test_every_browser_gets_each_transition_once_despite_faults(
    size: Size, north: Site, serve: Serve, record_result: RecordResult
) -> None:
    with Redis() as redis:
        settings = north.settings | {"redis": redis.settings()}
        async with serve(settings) as first, serve(settings) as other:
            with Nginx([first.port, other.port], CONNECTIONS) as nginx:
                watchers = followers(size.followers, nginx.url, north.ids["north"])
                async with beside(*(watcher.run() for watcher in watchers)):
                    await together(watchers)
                    changes = AlarmChanges(north)
                    async with changes.running():
                        for _ in range(size.rounds):
                            await cause_faults([first, other], redis, watchers)
                    await check_all_delivered(north, changes.raised, watchers)
        times = sum(watcher.times for watcher in watchers)
        record_result("processes and Redis restart", browsers=len(watchers), connections=times, alarms=changes.raised)
        assert all(watcher.times > 1 for watcher in watchers)


async def cause_faults(servers: Sequence[StorewatchServer], redis: Redis, watchers: Sequence[Follower]) -> None:
    """Restart both servers in turn, kill Redis, freeze Redis, and kill one server."""
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


async def test_an_unanswered_request_does_not_block_other_clients(north: Site, serve: Serve) -> None:
    """nginx must keep using a server that did not answer a request. Otherwise one client could block all others."""
    async with serve(north.settings) as first, serve(north.settings) as other, aiohttp.ClientSession() as http:
        with Nginx([first.port, other.port], CONNECTIONS) as nginx:
            async with http.get(nginx.url, headers={f"Too-Large-{n}": "x" * 6_000 for n in range(4)}) as refused:
                assert refused.status == 502
            for tab in range(20):
                async with http.get(nginx.url, params={"tab": str(tab)}) as answer:
                    assert answer.status == 200


@pytest.mark.parametrize(
    "others_killed", [False, True], ids=["both continue", "the frozen process continues by itself"]
)
@pytest.mark.parametrize(
    ("frozen_s", "taken_over_s"),  # `frozen_s` is longer than the lease plus the time of a takeover
    [pytest.param(6.0, SOON, id="short"), pytest.param(10.0, TAKEN_OVER_S, id="full", marks=marks.TIMED_FAULTS)],
)
async def test_another_process_replaces_a_frozen_journal_writer(
    frozen_s: float, taken_over_s: float, others_killed: bool, north: Site, serve: Serve
) -> None:
    async with serve(north.settings) as first, AsyncExitStack() as running:
        await until(lambda: holder(north))  # so that `first` writes the journal
        other = await running.enter_async_context(serve(north.settings))
        watchers = [Follower("python", "websocket", server.url, north.ids["north"]) for server in (first, other)]
        changes = AlarmChanges(north)
        async with beside(*(watcher.run() for watcher in watchers)):
            await together(watchers)
            async with changes.running():
                await until(lambda: all(watcher.told for watcher in watchers))
                writing = holder(north)
                first.freeze()
                until_thawed = asyncio.create_task(asyncio.sleep(frozen_s))
                await until(lambda: holder(north) != writing, taken_over_s)
                count = len(watchers[1].told)
                await until(lambda: len(watchers[1].told) > count + 3)
                await until_thawed
                if others_killed:  # then `first` continues with an outdated state, and no process holds the lease
                    await asyncio.to_thread(other.kill)
                    watchers.pop()
                    await asyncio.sleep(lease.DURATION.total_seconds())
                first.thaw()
                await until(lambda: len(watchers[0].told) > count + 3)
            await check_all_delivered(north, changes.raised, watchers)
