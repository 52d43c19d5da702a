"""How long it takes from a reading to its push, as one client sees it."""

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
    """Write readings of a sensor that is watched; return how many milliseconds each took until it was pushed."""
    times = []
    while not meanwhile.done():
        began = time.monotonic()
        await asyncio.to_thread(site.write, [sensor_id])
        await watcher.next("envs")
        times.append((time.monotonic() - began) * 1000)
        await asyncio.sleep(GAP_S)
    return times


def spread(times: list[float]) -> str:
    """Return the median and the 95th percentile."""
    return f"{number(median(times))}, {number(late(times))} ms"


def late(times: list[float]) -> float:
    """Return the 95th percentile; raises Failed where there are fewer than two times."""
    if len(times) < 2:
        raise Failed(f"only {len(times)} pushes were measured")
    return quantiles(times, n=20)[-1]
