"""The test `make soak`: clients connect, watch, send requests and disconnect.

The resources that the server uses must not keep growing.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tests.support import fault_page
from tests.support.clients import TRANSPORTS, Client, PythonClient
from tests.support.fault_results import Machine, Results, Soak, read_results
from tests.support.services.mariadb import MariaDB
from tests.support.services.redis import Redis
from tests.support.serving_inside import until
from tests.support.serving_watched import WatchedServer, serving_watched
from tests.support.sites import Site, site
from tests.support.watched_server import Sample

SECONDS = 1_200.0
SAMPLES = 100
BROWSERS = 60
STAYS_S = (0.5, 15.0)
PAUSE_S = 0.5
"""Seconds between two readings of the same sensor."""
POOLED = 29
"""Maximum number of the server's database connections. The server opens each connection when it first needs it."""
LEVEL = {"rss": 1.05, "fds": 1.1, "tasks": 1.1}
"""Highest permitted growth of each of the server's resources.

Growth is the median of the last fifth of the samples, divided by the median of the second fifth.
"""
RULES: list[dict[str, Any]] = [{"scope": {"metric": "temperature"}, "high": {"limit": 8, "delay": 0, "reopen": 0}}]


class Row(NamedTuple):
    """A sample of the server's resources, its time in seconds since the start, and the number of browsers so far."""

    seconds: float
    came: int
    sample: Sample


@dataclass
class Life:
    """The activity around the server: readings that raise alarms, and browsers that connect and disconnect."""

    site: Site
    url: str
    stays_s: tuple[float, float] = STAYS_S
    cuts: Sequence[str] = tuple(TRANSPORTS)
    """Transports whose browsers sometimes lose the connection instead of closing it."""
    came: int = 0
    cut: int = 0
    readings: int = 0
    alarms: int = 0
    """Number of alarm transitions that all browsers together have received."""
    over: bool = False
    """Whether the test is ending. Connected browsers then disconnect, and no more browsers connect."""
    _random: random.Random = field(default_factory=lambda: random.Random(3))

    async def measure(self) -> None:
        """Commit pairs of readings until the test ends. Every third pair is out of limits."""
        while not self.over:
            value = 9.5 if self.readings // 2 % 3 == 0 else 4.5
            now = datetime.now(UTC)
            rows = [(self.site.ids[name], now, value + self._random.random()) for name in ("temperature", "far")]
            await asyncio.to_thread(self.site.add_all, rows)
            self.readings += len(rows)
            await asyncio.sleep(PAUSE_S)

    async def browse(self) -> None:
        """Connect, watch a storehouse, wait and disconnect, again and again until the test ends."""
        while not self.over:
            self.came += 1
            async with self._browser() as client:
                await self._browse_storehouse(client)
                await asyncio.sleep(self._random.uniform(*self.stays_s))
                if self._random.random() < 0.3:
                    await client.call("unregister")

    @asynccontextmanager
    async def _browser(self) -> AsyncIterator[Client]:
        transport = self._random.choice(list(TRANSPORTS))
        client = PythonClient()
        try:
            await client.connect(self.url, TRANSPORTS[transport])
            yield client
            self.alarms += sum(len(told["alarms"]) for told in client.received("alarms"))
            if transport in self.cuts and self._random.random() < 0.3:
                self.cut += 1
                await client.cut()
        finally:
            await client.close()

    async def _browse_storehouse(self, client: Client) -> None:
        store_house_id = self.site.ids[self._random.choice(("north", "south"))]
        question = {"store_house_id": store_house_id}
        watched = await client.call("register", question)
        if self._random.random() < 0.5:  # as a browser does after a reconnect
            await client.call("register", question | {"cursor": max(0, watched["data"]["cursor"] - 20)})
        match self._random.randrange(4):
            case 0:
                await client.call("overview")
            case 1:
                await client.call("queryAlarms", question | {"data_minute": 10})
            case 2:
                span = {"start": "2026-01-01T00:00:00Z", "end": datetime.now(UTC).isoformat()}
                await client.call("queryEnvs", question | span)
            case 3:
                await client.call("nonsense", {"any": "thing"})


@contextmanager
def surroundings() -> Iterator[tuple[Site, dict[str, Any]]]:
    """Start a private MariaDB with a site, and a private Redis.

    Yield the site, and server settings for both services.
    """
    with ExitStack() as running:
        mariadb = running.enter_context(MariaDB())
        redis = running.enter_context(Redis())
        mariadb.create_database("soak")
        where = mariadb.settings("soak")
        built = running.enter_context(site(where))
        yield built, {"database": where, "redis": redis.settings(), "rules": RULES}


@asynccontextmanager
async def living(life: Life, browsers: int) -> AsyncIterator[None]:
    """Commit readings and run this number of browsers during the block."""
    tasks = [asyncio.create_task(work) for work in (life.measure(), *(life.browse() for _ in range(browsers)))]
    try:
        yield
    finally:
        life.over = True  # tasks are not cancelled, because `wait_for` in these clients sometimes loses a cancellation
        await asyncio.gather(*tasks)


async def warmed_up(server: WatchedServer, built: Site) -> Sample:
    """Run 64 short visits of browsers, so that the server opens its database connections.

    Then return a sample of the server's resources without connected clients. The number of tasks is the lowest of
    several samples, because a query of the server itself may be running during a sample.
    """
    first = Life(built, server.url, (0.0, 0.1), ["websocket"])
    async with living(first, 16):
        await until(lambda: first.came >= 64)
    samples = [await alone(server) for _ in range(5)]
    return msgspec.structs.replace(samples[-1], tasks=min(sample.tasks for sample in samples))


async def watch(server: WatchedServer, life: Life, seconds: float, samples: int) -> list[Row]:
    """Take `samples` samples of the server's resources, evenly spaced over `seconds` seconds. Return them."""
    began = time.monotonic()
    rows = []
    for number in range(1, samples + 1):
        await asyncio.sleep(max(0.0, began + number * seconds / samples - time.monotonic()))
        rows.append(Row(time.monotonic() - began, life.came, await server.sample()))
    return rows


def growth(rows: Sequence[Row]) -> dict[str, float]:
    """Return the growth of each resource in `LEVEL`.

    Growth is the median of the last fifth of the samples, divided by the median of the second fifth.
    """
    fifth = len(rows) // 5
    second, last = rows[fifth : 2 * fifth], rows[-fifth:]
    return {name: _median(last, name) / _median(second, name) for name in LEVEL}


def _median(rows: Sequence[Row], name: str) -> float:
    return statistics.median(float(getattr(row.sample, name)) for row in rows)


async def alone(server: WatchedServer, patience_s: float = 60.0) -> Sample:
    """Wait until no client is connected, then return a sample of the server's resources."""
    async with asyncio.timeout(patience_s):
        while (sample := await server.sample()).clients:  # noqa: ASYNC110 - no event signals this
            await asyncio.sleep(0.2)
    return sample


async def settled(server: WatchedServer, before: Sample, patience_s: float = 60.0) -> Sample:
    """Wait until no client is connected, and no more tasks and files are left than before. Return the last sample.

    The last tasks may outlive their connections for a moment. After `patience_s` seconds, the function returns anyway.
    """
    left = await alone(server, patience_s)
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            while left.tasks > before.tasks or left.fds > before.fds + POOLED:
                await asyncio.sleep(0.2)
                left = await server.sample()
    return left


def results(rows: Sequence[Row], life: Life, before: Sample, left: Sample) -> Soak:
    """Return the results for docs/faults.md, with ten samples of the server's resources."""
    some = rows[9 :: len(rows) // 10] if len(rows) >= 20 else rows
    grown = growth(rows)
    return Soak(
        Machine.this(),
        [
            [row.seconds, row.came, row.sample.clients, row.sample.tasks, row.sample.fds, row.sample.rss / 1e6]
            for row in some
        ],
        {
            "connections": life.came,
            "lost": life.cut,
            "transitions": life.alarms,
            "memory_growth": grown["rss"] - 1,
            "files_growth": grown["fds"] - 1,
            "tasks_growth": grown["tasks"] - 1,
            "tasks_before": before.tasks,
            "tasks_after": left.tasks,
            "files_before": before.fds,
            "files_after": left.fds,
            "mb_before": before.rss / 1e6,
            "mb_after": left.rss / 1e6,
        },
    )


async def soak(seconds: float, directory: Path) -> bool:
    """Run the test and print its results. If a test of full length passes, write the results to docs/faults.md.

    Return True if the test passes. The test passes if no resource keeps growing. In addition, no tasks or files may be
    left after the last client has disconnected.
    """
    with surroundings() as (built, settings):
        async with serving_watched(directory, settings) as server:
            before = await warmed_up(server, built)
            life = Life(built, server.url)
            async with living(life, BROWSERS):
                rows = await watch(server, life, seconds, SAMPLES)
            left = await settled(server, before)
    measured = results(rows, life, before, left)
    print(fault_page.soak_tables(measured))
    grown = {name: share for name, share in growth(rows).items() if share > LEVEL[name]}
    is_left = left.tasks > before.tasks or left.fds > before.fds + POOLED
    print(f"still growing: {', '.join(grown)}" if grown else "nothing keeps growing")
    print("tasks or files are left" if is_left else "no tasks or files are left")
    passed = not grown and not is_left
    if passed and seconds >= SECONDS:
        stored = read_results()
        fault_page.write(Results(stored.machine, stored.figures, measured))
    return passed


def main() -> int:
    """Run the command. Return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=SECONDS)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as directory, suppress(KeyboardInterrupt):
        return 0 if asyncio.run(soak(seconds, Path(directory) / "server")) else 1
    return 1


if __name__ == "__main__":
    sys.exit(main())
