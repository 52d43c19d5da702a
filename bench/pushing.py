"""Measures the time from writing a reading to the arrival of its push at a client."""

import asyncio
import time
from statistics import median, quantiles
from typing import Any

from bench.child import Failed
from bench.report import number
from bench.site import Site
from tests.support.clients import Client

GAP_S = 0.05


async def pushes(watcher: Client, site: Site, sensor_id: int, meanwhile: asyncio.Task[Any]) -> list[float]:
    """Write readings of a watched sensor until the task `meanwhile` is done.

    Return the time from writing each reading to the arrival of its push, in milliseconds.
    """
    times = []
    while not meanwhile.done():
        began = time.monotonic()
        await asyncio.to_thread(site.write, [sensor_id])
        await watcher.next("envs")
        times.append((time.monotonic() - began) * 1000)
        await asyncio.sleep(GAP_S)
    return times


def spread(times: list[float]) -> str:
    """Return the median and the 95th percentile of the times, in milliseconds, as text."""
    return f"{number(median(times))}, {number(late(times))} ms"


def late(times: list[float]) -> float:
    """Return the 95th percentile of the times. Raise `Failed` if there are fewer than two times."""
    if len(times) < 2:
        raise Failed(f"only {len(times)} pushes were measured, but at least 2 are needed")
    return quantiles(times, n=20)[-1]
