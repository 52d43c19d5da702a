"""Kills a server at random moments of its life, while people go on acknowledging alarms."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, NamedTuple

import pytest

from tests.support.clients import ConnectRefused, connected
from tests.support.judged import holder, kept
from tests.support.serving import StorewatchServer
from tests.support.serving_inside import until
from tests.support.sites import Site

LONGEST_LIFE_S = 2.0  # of a server that judges, or waits for the lease
WAITING = 0.2  # share of the kills that hit a server that does not judge yet
PACE_S = 0.1  # between two steps of what is replayed, while servers are killed
LONG_S = 120.0  # only what never happens takes so long
PERSON = "李 Li"

Which = tuple[str, str, datetime]
"""A sensor's name, and the kind and the beginning of an alarm there."""


class Size(NamedTuple):
    """How often the server is killed, and how much happens meanwhile."""

    kills: int
    steps: int


in_both_sizes = pytest.mark.parametrize(
    "size",
    [pytest.param(Size(5, 200), id="short"), pytest.param(Size(100, 3_000), id="full", marks=pytest.mark.faults)],
)


async def acknowledge(built: Site, server: StorewatchServer, which: Which) -> None:
    """Acknowledge an alarm once it is raised, however often the server is killed meanwhile."""

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


@asynccontextmanager
async def killing(built: Site, server: StorewatchServer, kills: int) -> AsyncIterator["asyncio.Task[None]"]:
    """Kill the server `kills` times, each time at a random moment of its life, and start it again."""

    async def kill() -> None:
        moments, before = random.Random(11), ""
        for _ in range(kills):
            if moments.random() > WAITING:
                await until(lambda: holder(built) != before, LONG_S)  # noqa: B023 - it is awaited here
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
