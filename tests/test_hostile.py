"""Tests of the server under attack.

The server keeps serving honest clients, and leaks no connections and no memory.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.clients import Client, connected
from tests.support.fault_results import RecordResult
from tests.support.serving import ROOT, Serve, StorewatchServer
from tests.support.serving_inside import until
from tests.support.sites import Site, site

HANG_S = 1800.0  # time-out of an attack, which takes this long only if the server hangs


class Size(NamedTuple):
    """The parameters of an attack: the number and pace of the inputs, and the number of honest clients.

    `calm_s` is the length of the periods without an attack, in seconds. If `timed` is true, the test checks the answer
    times of the honest clients.
    """

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
    """A client that sends `register` again and again, and measures the answer times."""

    def __init__(self, client: Client, store_house_id: int, pace_s: float) -> None:
        self.took: list[float] = []
        self.is_working = True
        self._client = client
        self._pace_s = pace_s
        self._question = {"store_house_id": store_house_id}

    async def run(self) -> None:
        """Send events until `is_working` is false."""
        # A flag ends the loop, because the library's client loses a cancellation that arrives together with an answer.
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
    """Run `number` honest clients during the block.

    Raise an error if the server refuses an event of a client or disconnects a client.
    """
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


async def p99_s(honest: list[Honest]) -> float:
    """Wait until there are at least two new answer times of honest clients.

    Return the 99th percentile of all answer times since the previous call, in seconds.
    """
    await until(lambda: sum(len(worker.took) for worker in honest) > 1)
    took = [seconds for worker in honest for seconds in worker.took]
    for worker in honest:
        worker.took.clear()
    return statistics.quantiles(took, n=100)[-1]


async def attack(server: StorewatchServer, inputs: int, per_second: float) -> dict[str, int]:
    sent: dict[str, int] = await output_of("tests.support.hostile", server.port, inputs, per_second)
    return sent


async def output_of(module: str, *arguments: float) -> Any:
    """Run a module in its own process. Return the JSON that the module prints."""
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


@pytest.mark.serial  # it compares response times with and without the attack
@pytest.mark.slow
@pytest.mark.parametrize(
    "size", [pytest.param(SHORT, id="short"), pytest.param(FULL, id="full", marks=pytest.mark.faults)]
)
async def test_hostile_inputs_delay_no_client_and_leak_nothing(
    size: Size, built: Site, serve: Serve, record_result: RecordResult
) -> None:
    async with serve(built.settings) as server:
        await attack(server, min(size.inputs, 20_000), 1e9)  # warm-up: the first use allocates memory that stays in use
        async with working(server, built, size.honest) as honest:
            await asyncio.sleep(size.calm_s)
            calm_s, connections, memory = await p99_s(honest), sockets(server), memory_mb(server)
            begun = time.monotonic()
            sent = await attack(server, size.inputs, size.per_second)
            lasted_s, attacked_s = time.monotonic() - begun, await p99_s(honest)
            await until(lambda: sockets(server) <= connections)
            after = memory_mb(server)
            await asyncio.sleep(size.calm_s)
            calm_s = max(calm_s, await p99_s(honest))  # allows for other load on the machine
    record_result(
        "hostile inputs",
        inputs=sum(sent.values()),
        seconds=lasted_s,
        honest=size.honest,
        calm_ms=calm_s * 1000,
        attacked_ms=attacked_s * 1000,
        before_mb=memory,
        after_mb=after,
    )
    assert sum(sent.values()) >= size.inputs
    assert after <= 1.1 * memory
    assert not size.timed or attacked_s < 2 * calm_s


class Crowd(NamedTuple):
    """The parameters of an attack with idle connections.

    `of_each` is the number of attackers of each kind, and `honest` is the number of honest clients. The server must
    close every attacker within `within_s` seconds. `calm_s` is the length of the period without an attack, in seconds.
    If `timed` is true, the test checks the answer times of the honest clients.
    """

    of_each: int
    honest: int
    within_s: float
    calm_s: float
    timed: bool


@pytest.mark.serial  # it compares response times with and without the attack
@pytest.mark.slow
@pytest.mark.parametrize(
    "crowd",
    [
        pytest.param(Crowd(10, 5, 60.0, calm_s=0.5, timed=False), id="short"),
        # Time limits: 10 s for headers and bodies; 5 s to join a namespace, and then 5 s to answer the close frame.
        pytest.param(Crowd(250, 200, 15.0, calm_s=20.0, timed=True), id="full", marks=pytest.mark.faults),
    ],
)
async def test_idle_attackers_are_closed_without_delaying_other_clients(
    crowd: Crowd, built: Site, serve: Serve, record_result: RecordResult
) -> None:
    async with serve(built.settings) as server, working(server, built, crowd.honest, 1.0) as honest:
        await asyncio.sleep(crowd.calm_s)
        calm_s = await p99_s(honest)
        fewest, most = await output_of("tests.support.loiterers", server.port, crowd.of_each)
        attacked_s = await p99_s(honest)
        await asyncio.sleep(crowd.calm_s)
        calm_s = max(calm_s, await p99_s(honest))  # allows for other load on the machine
    record_result(
        "idle attackers",
        attackers=4 * crowd.of_each,
        honest=crowd.honest,
        fewest_s=fewest,
        most_s=most,
        calm_ms=calm_s * 1000,
        attacked_ms=attacked_s * 1000,
    )
    assert most < crowd.within_s
    assert not crowd.timed or attacked_s < 2 * calm_s
