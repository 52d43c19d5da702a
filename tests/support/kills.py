"""Kills a server at random times, while clients keep acknowledging alarms."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, NamedTuple

import pytest

from tests.support.clients import ConnectRefused, connected
from tests.support.judged import holder, kept, outcome
from tests.support.serving import StorewatchServer
from tests.support.serving_inside import until
from tests.support.sites import Site

LONGEST_LIFE_S = 2.0  # maximum time from acquiring the lease, or from the start, to the kill
WAITING = 0.2  # share of the kills that do not wait until the server has acquired the lease
PACE_S = 0.1  # seconds between two steps of readings while the server is killed
LONG_S = 120.0  # time-out of every wait, in seconds
PERSON = "李 Li"

Which = tuple[str, str, datetime]
"""The values that identify an alarm: the name of the sensor, the kind of the alarm, and the time `since`."""


class Size(NamedTuple):
    """The size of a test: the number of kills, and the number of minutes of readings that are written meanwhile."""

    kills: int
    steps: int


in_both_sizes = pytest.mark.parametrize(
    "size",
    [pytest.param(Size(3, 90), id="short"), pytest.param(Size(100, 3_000), id="full", marks=pytest.mark.faults)],
)


async def acknowledge(built: Site, server: StorewatchServer, which: Which) -> None:
    """Wait until this alarm is raised, then acknowledge the alarm. Retry while the server is down."""

    def raised() -> list[Any]:
        return [
            row.alarm_id
            for row in kept(built)
            if (row.sensor_name, row.kind, row.since) == which and row.state != "pending"
        ]

    await until(raised, LONG_S)
    question = {"alarm_id": raised()[0], "by": PERSON}
    async with asyncio.timeout(LONG_S):
        while True:
            with suppress(ConnectRefused, TimeoutError, OSError):
                async with connected("python", server.url) as client:
                    answer = await client.call("ackAlarm", question, timeout=3)
                    if answer["ok"]:
                        return
                    assert answer["error"]["code"] == "unavailable", answer
            await asyncio.sleep(0.1)


async def recovered(disturbed: Site, undisturbed: Site) -> None:
    """Wait until both sites have the same alarms. After `LONG_S` seconds, return anyway.

    After the last kill, the server first has to acquire the lease again.
    """
    with suppress(TimeoutError):
        await until(lambda: outcome(disturbed) == outcome(undisturbed), LONG_S)


@asynccontextmanager
async def killing(built: Site, server: StorewatchServer, kills: int) -> AsyncIterator["asyncio.Task[None]"]:
    """During the block, kill the server `kills` times at random moments. Restart the server after each kill."""

    async def kill() -> None:
        moments, before = random.Random(11), ""
        for _ in range(kills):
            if moments.random() > WAITING:
                await until(lambda: holder(built) != before, LONG_S)  # noqa: B023 - awaited within the iteration
            await asyncio.sleep(moments.uniform(0, LONGEST_LIFE_S))
            before = holder(built)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)

    task = asyncio.create_task(kill())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
