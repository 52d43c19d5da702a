"""The server among people who mean it no good: it answers the others, and is none the worse for it afterwards."""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.clients import Client, connected
from tests.support.serving import ROOT, Serve, StorewatchServer
from tests.support.serving_inside import until
from tests.support.sites import Site, site

HANG_S = 1800.0  # of an attack; only what hangs takes so long


class Size(NamedTuple):
    """How much is sent, how fast, and who goes on working meanwhile; `timed`: whether it counts how fast they do."""

    inputs: int
    per_second: float
    honest: int
    calm_s: float
    timed: bool


SHORT = Size(2_000, 1e9, honest=5, calm_s=0.5, timed=False)
FULL = Size(100_000, 500, honest=20, calm_s=20.0, timed=True)


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Site]:
    where = {"path": str(tmp_path / "site.db")}
    with site(where) as running:
        running.settings = {"database": where, "poll_interval": 0.2}
        yield running


class Honest:
    """Who asks and is answered, again and again."""

    def __init__(self, client: Client, store_house_id: int, pace_s: float) -> None:
        self.took: list[float] = []
        self.is_working = True
        self._client = client
        self._pace_s = pace_s
        self._question = {"store_house_id": store_house_id}

    async def run(self) -> None:
        """Ask for as long as it is working."""
        # The library's client loses a cancellation that comes together with an answer.
        while self.is_working:
            begun = time.perf_counter()
            answer = await self._client.call("register", self._question)
            self.took.append(time.perf_counter() - begun)
            assert answer["ok"], answer
            await asyncio.sleep(self._pace_s)


@asynccontextmanager
async def working(
    server: StorewatchServer, built: Site, number: int, pace_s: float = 0.1
) -> AsyncIterator[list[Honest]]:
    """So many honest clients, working for the length of a block; raises where one is not served."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected("python", server.url)) for _ in range(number)]
        honest = [Honest(client, built.ids["north"], pace_s) for client in clients]
        works = [asyncio.create_task(worker.run()) for worker in honest]
        try:
            yield honest
            assert not any(client.disconnected.is_set() for client in clients)
        finally:
            for worker in honest:
                worker.is_working = False
            await asyncio.gather(*works)


async def slowest(honest: list[Honest]) -> float:
    """The p99 of what they waited since they were last asked, in seconds; they may still have to wait for it."""
    await until(lambda: sum(len(worker.took) for worker in honest) > 1)
    took = [seconds for worker in honest for seconds in worker.took]
    for worker in honest:
        worker.took.clear()
    return statistics.quantiles(took, n=100)[-1]


async def attack(server: StorewatchServer, inputs: int, per_second: float) -> dict[str, int]:
    sent: dict[str, int] = await told_by("tests.support.hostile", server.port, inputs, per_second)
    return sent


async def told_by(module: str, *arguments: float) -> Any:
    """Run it as a process of its own; the JSON that it prints."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(HANG_S):
            out, _ = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
    assert child.returncode == 0
    return json.loads(out)


def memory_mb(server: StorewatchServer) -> float:
    status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def sockets(server: StorewatchServer) -> int:
    return sum(os.readlink(file).startswith("socket:") for file in Path(f"/proc/{server.pid}/fd").iterdir())


@pytest.mark.parametrize(
    "size", [pytest.param(SHORT, id="short"), pytest.param(FULL, id="full", marks=pytest.mark.faults)]
)
async def test_hostile_inputs_harm_nobody_and_leave_nothing_behind(
    size: Size, built: Site, serve: Serve, say: Callable[[str], None]
) -> None:
    async with serve(built.settings) as server:
        await attack(server, min(size.inputs, 20_000), 1e9)  # what is used for the first time takes memory that stays
        async with working(server, built, size.honest) as honest:
            await asyncio.sleep(size.calm_s)
            calm_s, connections, memory = await slowest(honest), sockets(server), memory_mb(server)
            begun = time.monotonic()
            sent = await attack(server, size.inputs, size.per_second)
            lasted_s, attacked_s = time.monotonic() - begun, await slowest(honest)
            await until(lambda: sockets(server) <= connections)
            after = memory_mb(server)
            await asyncio.sleep(size.calm_s)
            calm_s = max(calm_s, await slowest(honest))  # whatever else the machine does
    say(f"{sent}: {sum(sent.values())} in {lasted_s:.0f} s; memory {memory:.1f} MB, then {after:.1f} MB")
    say(f"honest clients waited {calm_s * 1000:.1f} ms, and {attacked_s * 1000:.1f} ms meanwhile (p99)")
    assert sum(sent.values()) >= size.inputs
    assert after <= 1.1 * memory
    assert not size.timed or attacked_s < 2 * calm_s


class Crowd(NamedTuple):
    """How many of each kind loiter, how many work, and by when the former must be closed."""

    of_each: int
    honest: int
    within_s: float
    calm_s: float
    timed: bool


@pytest.mark.parametrize(
    "crowd",
    [
        pytest.param(Crowd(10, 5, 60.0, calm_s=0.5, timed=False), id="short"),
        # Headers and bodies have 10 s; who joins nothing has 5, and as many to answer the goodbye.
        pytest.param(Crowd(250, 200, 15.0, calm_s=20.0, timed=True), id="full", marks=pytest.mark.faults),
    ],
)
async def test_who_only_holds_connections_is_closed_and_others_do_not_notice(
    crowd: Crowd, built: Site, serve: Serve, say: Callable[[str], None]
) -> None:
    async with serve(built.settings) as server, working(server, built, crowd.honest, 1.0) as honest:
        await asyncio.sleep(crowd.calm_s)
        calm_s = await slowest(honest)
        fewest, most = await told_by("tests.support.loiterers", server.port, crowd.of_each)
        attacked_s = await slowest(honest)
        await asyncio.sleep(crowd.calm_s)
        calm_s = max(calm_s, await slowest(honest))  # whatever else the machine does
    say(f"{4 * crowd.of_each} stayed {fewest:.1f} to {most:.1f} s")
    say(f"honest clients waited {calm_s * 1000:.1f} ms, and {attacked_s * 1000:.1f} ms meanwhile (p99)")
    assert most < crowd.within_s
    assert not crowd.timed or attacked_s < 2 * calm_s
