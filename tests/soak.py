"""`make soak`: browsers come, watch, ask and go for a long time; what the server holds must level off."""

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

from tests.support.clients import TRANSPORTS, Client, PythonClient
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
"""Between two readings of each sensor."""
POOLED = 16
"""So many connections to databases are kept, and opened when they are first needed."""
LEVEL = {"rss": 1.05, "fds": 1.1, "tasks": 1.1}
"""By how much the median of the last fifth may be above that of the second."""
RULES: list[dict[str, Any]] = [{"scope": {"metric": "temperature"}, "high": {"limit": 8, "delay": 0, "reopen": 0}}]


class Row(NamedTuple):
    """A sample, and how many browsers had come by then."""

    seconds: float
    came: int
    sample: Sample


@dataclass
class Life:
    """What goes on around the server: readings, the alarms they raise, and browsers that come and go."""

    site: Site
    url: str
    stays_s: tuple[float, float] = STAYS_S
    cuts: Sequence[str] = tuple(TRANSPORTS)
    """Of those who come by these, some are cut off instead of taking their leave."""
    came: int = 0
    cut: int = 0
    readings: int = 0
    alarms: int = 0
    """Transitions that browsers were told, each counted for each of them."""
    over: bool = False
    """Whoever is there takes his leave, and nobody comes any more."""
    _random: random.Random = field(default_factory=lambda: random.Random(3))

    async def measure(self) -> None:
        """Commit readings of which every third is out of limits."""
        while not self.over:
            value = 9.5 if self.readings // 2 % 3 == 0 else 4.5
            now = datetime.now(UTC)
            rows = [(self.site.ids[name], now, value + self._random.random()) for name in ("temperature", "far")]
            await asyncio.to_thread(self.site.add_all, rows)
            self.readings += len(rows)
            await asyncio.sleep(PAUSE_S)

    async def browse(self) -> None:
        """Come and go."""
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
        if self._random.random() < 0.5:  # as one that was away
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
    """A site in a MariaDB and a Redis of our own, and the settings by which a server finds them."""
    with ExitStack() as running:
        mariadb = running.enter_context(MariaDB())
        redis = running.enter_context(Redis())
        mariadb.create_database("soak")
        where = mariadb.settings("soak")
        built = running.enter_context(site(where))
        yield built, {"database": where, "redis": redis.settings(), "rules": RULES}


@asynccontextmanager
async def living(life: Life, browsers: int) -> AsyncIterator[None]:
    """Have all that go on for the length of a block."""
    tasks = [asyncio.create_task(work) for work in (life.measure(), *(life.browse() for _ in range(browsers)))]
    try:
        yield
    finally:
        life.over = True  # not cancelled: the wait_for in these clients loses a cancellation now and then
        await asyncio.gather(*tasks)


async def warmed_up(server: WatchedServer, built: Site) -> Sample:
    """What it holds with its connections to the databases open, before anybody comes who counts."""
    first = Life(built, server.url, (0.0, 0.1), ["websocket"])
    async with living(first, 16):
        await until(lambda: first.came >= 64)
    return await alone(server)


async def watch(server: WatchedServer, life: Life, seconds: float, samples: int) -> list[Row]:
    """Return so many samples, evenly spaced in this time."""
    began = time.monotonic()
    rows = []
    for number in range(1, samples + 1):
        await asyncio.sleep(max(0.0, began + number * seconds / samples - time.monotonic()))
        rows.append(Row(time.monotonic() - began, life.came, await server.sample()))
    return rows


def growth(rows: Sequence[Row]) -> dict[str, float]:
    """What the last fifth's median is of that of the second fifth, for all that must level off."""
    fifth = len(rows) // 5
    second, last = rows[fifth : 2 * fifth], rows[-fifth:]
    return {name: _median(last, name) / _median(second, name) for name in LEVEL}


def _median(rows: Sequence[Row], name: str) -> float:
    return statistics.median(float(getattr(row.sample, name)) for row in rows)


async def alone(server: WatchedServer, patience_s: float = 60.0) -> Sample:
    """What it holds when nobody is there any more."""
    async with asyncio.timeout(patience_s):
        while (sample := await server.sample()).clients:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.2)
    return sample


def table(rows: Sequence[Row]) -> str:
    """Ten of the samples, and what has grown."""
    lines = [
        "    s | browsers so far | clients | tasks | files |   MB",
        "----: | --------------: | ------: | ----: | ----: | ---:",
    ]
    for row in rows[9 :: len(rows) // 10] if len(rows) >= 20 else rows:
        sample = row.sample
        lines.append(
            f"{row.seconds:5.0f} | {row.came:15} | {sample.clients:7} | {sample.tasks:5} | {sample.fds:5} | "
            f"{sample.rss / 1e6:4.0f}"
        )
    grown = ", ".join(f"{name} {share:.3f}" for name, share in growth(rows).items())
    return "\n".join([*lines, f"median of the last fifth by that of the second: {grown}"])


async def soak(seconds: float, directory: Path) -> bool:
    """Run it and print what it showed; whether all has levelled off."""
    with surroundings() as (built, settings):
        async with serving_watched(directory, settings) as server:
            before = await warmed_up(server, built)
            life = Life(built, server.url)
            async with living(life, BROWSERS):
                rows = await watch(server, life, seconds, SAMPLES)
            left = await alone(server)
    print(table(rows))
    print(
        f"{life.came} connections, {life.cut} of them cut off; {life.readings} readings; {life.alarms} transitions told"
    )
    for when, sample in (("before the first came", before), ("when all have gone", left)):
        print(f"{when}: {sample.clients} clients, {sample.tasks} tasks, {sample.fds} files, {sample.rss / 1e6:.0f} MB")
    grown = {name: share for name, share in growth(rows).items() if share > LEVEL[name]}
    is_left = left.tasks > before.tasks or left.fds > before.fds + POOLED
    print(f"still growing: {', '.join(grown)}" if grown else "all has levelled off")
    print("something has stayed behind" if is_left else "nothing has stayed behind")
    return not grown and not is_left


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=SECONDS)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as directory, suppress(KeyboardInterrupt):
        return 0 if asyncio.run(soak(seconds, Path(directory) / "server")) else 1
    return 1


if __name__ == "__main__":
    sys.exit(main())
