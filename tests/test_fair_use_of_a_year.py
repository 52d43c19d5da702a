"""Charts of a year of a large site table, asked for over many connections, delay the pushes of others only little."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support import marks
from tests.support.clients import Client
from tests.support.credentials import access, log_in, user
from tests.support.fault_results import RecordResult
from tests.support.services.mariadb import MariaDB
from tests.support.serving import Serve
from tests.support.serving_inside import until
from tests.support.signed_in import SignedIn
from tests.support.site_tables import SiteTables

pytestmark = marks.TIMED_FAULTS

ROWS, SENSORS, PART = 3_000_000, 20, 200_000
GREEDY_CONNECTIONS = 8
PHASE_S = 40.0
BETWEEN_READINGS_S = 0.25
COUNTER, FREEZER = 98, 99
"""Sensors of the other organisation. The values of the counter grow. The freezer has an alarm rule."""
PHASES = ("without", "with", "without", "with")


def fill(site: SiteTables) -> None:
    """Create the site's tables. The table of readings has `ROWS` readings of a year."""
    site.execute(
        "CREATE TABLE organisation (org_id INT PRIMARY KEY, org_name VARCHAR(50))",
        "CREATE TABLE storehouse (store_house_id INT PRIMARY KEY, org_id INT, store_house_name VARCHAR(50))",
        "CREATE TABLE sensor (sensor_id INT PRIMARY KEY, store_house_id INT, sensor_name VARCHAR(50),"
        " metric VARCHAR(20), interval_s INT)",
        "CREATE TABLE reading (reading_id BIGINT AUTO_INCREMENT PRIMARY KEY, sensor_id INT, time DATETIME(3),"
        " value DOUBLE, KEY (sensor_id, time))",
        "INSERT INTO organisation VALUES (1, 'greedy'), (2, 'other')",
        "INSERT INTO storehouse VALUES (1, 1, 'large'), (2, 2, 'small')",
        f"INSERT INTO sensor SELECT seq, 1, CONCAT('sensor ', seq), 'temperature', 60 FROM seq_1_to_{SENSORS}",
        f"INSERT INTO sensor VALUES ({COUNTER}, 2, 'counter', 'pieces', 5)",
        f"INSERT INTO sensor VALUES ({FREEZER}, 2, 'freezer', 'temperature', 60)",
    )
    step_s = 366 * 86_400 * SENSORS / ROWS
    for low in range(0, ROWS, PART):
        site.execute(
            "INSERT INTO reading (sensor_id, time, value)"
            f" SELECT 1 + seq % {SENSORS}, UTC_TIMESTAMP(3) - INTERVAL ({ROWS} - seq) DIV {SENSORS} * {step_s} SECOND,"
            f" 4 + seq % 7 FROM seq_{low}_to_{min(low + PART, ROWS) - 1}"
        )


@pytest.fixture(scope="module")
def year() -> Iterator[SiteTables]:
    with MariaDB() as mariadb:
        site = SiteTables(mariadb)
        fill(site)
        yield site


@dataclass
class Others:
    """Another user's client, and the delays from a reading or a breach to its arrival at this client."""

    site: SiteTables
    client: Client
    before: int
    """Number of readings that the counter had before."""
    sent: list[float] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)
    breaches: int = 0

    async def listen(self) -> None:
        """Record when each value of the counter, or a later one, arrives."""
        while True:
            told = await self.client.next("envs")
            assert not told["stale"]
            counted = next(env["value"] for env in told["envs"] if env["sensor_id"] == COUNTER)
            while counted is not None and len(self.arrived) < counted - self.before:
                self.arrived.append(time.monotonic())

    async def measure(self, seconds: float) -> tuple[list[float], float]:
        """Add readings. Return the sorted delays of their pushes, and the delay of an alarm."""
        start, first = time.monotonic(), len(self.sent)
        alarm = asyncio.create_task(self.breach())
        while time.monotonic() < start + seconds:
            self.sent.append(time.monotonic())
            await asyncio.to_thread(self._add, COUNTER, self.before + len(self.sent))
            await asyncio.sleep(BETWEEN_READINGS_S * random.uniform(0.5, 1.5))
        await until(lambda: len(self.arrived) == len(self.sent))
        delays = (arrived - sent for sent, arrived in zip(self.sent[first:], self.arrived[first:], strict=True))
        return sorted(delays), await alarm

    async def breach(self) -> float:
        """Let the freezer become warm and cold again. Return the delay until the alarm is raised."""
        await asyncio.sleep(10.0)
        delays = []
        for value, state in ((5, "active"), (-20, "cleared")):
            start = time.monotonic()
            await asyncio.to_thread(self._add, FREEZER, value)
            while not any(alarm["state"] == state for alarm in (await self.client.next("alarms"))["alarms"]):
                pass
            delays.append(time.monotonic() - start)
        return max(delays)

    def _add(self, sensor_id: int, value: float) -> None:
        self.site.insert_by(
            "INSERT INTO reading (sensor_id, time, value) VALUES (%s, UTC_TIMESTAMP(3), %s)", sensor_id, value
        )


@dataclass
class Greedy:
    """Clients of one user. Each asks for one chart of a year after another."""

    clients: list[Client]
    answers: list[Any] = field(default_factory=list)
    longest_s: float = 0.0

    async def ask(self, client: Client, over: asyncio.Event) -> None:
        """Ask until `over` is set. Then wait for the last answer."""
        while not over.is_set():
            end, start = datetime.now(UTC), time.monotonic()
            span = {"start": (end - timedelta(days=366)).isoformat(), "end": end.isoformat()}
            self.answers.append(await client.call("queryEnvs", {"store_house_id": 1, **span}, timeout=600))
            self.longest_s = max(self.longest_s, time.monotonic() - start)


def p99(delays: list[float]) -> float:
    return delays[int(len(delays) * 0.99)]


@pytest.mark.services
async def test_charts_of_a_year_do_not_double_the_push_delay(
    year: SiteTables, serve: Serve, say: Callable[[str], None], record_result: RecordResult
) -> None:
    users = [user("greedy", organisations=[1]), user("other", organisations=[2])]
    settings = {
        "database": year.settings(),
        "access": access(*users),
        "rules": [{"scope": {"sensor_id": FREEZER}, "high": {"limit": -10, "reopen": 0}}],
    }
    async with serve(settings) as server, AsyncExitStack() as stack:

        async def connect(name: str) -> Client:
            client = SignedIn(await log_in(server.url, name))
            stack.push_async_callback(client.close)
            await client.connect(server.url, ["websocket"])
            return client

        watcher = await connect("other")
        answer = await watcher.call("register", {"store_house_id": 2})
        before = next(env["value"] for env in answer["data"]["envs"] if env["sensor_id"] == COUNTER) or 0
        others = Others(year, watcher, int(before))
        listening = asyncio.create_task(others.listen())
        greedy = Greedy([await connect("greedy") for _ in range(GREEDY_CONNECTIONS)])
        measured: dict[str, list[tuple[list[float], float]]] = {phase: [] for phase in PHASES}
        for phase in PHASES:
            over = asyncio.Event()
            charts = [asyncio.create_task(greedy.ask(client, over)) for client in greedy.clients if phase == "with"]
            measured[phase].append(await others.measure(PHASE_S))
            over.set()
            await asyncio.gather(*charts)
        listening.cancel()
        waited = [told["position"] for client in greedy.clients for told in client.received("ask_waiting")]
    lines = [
        f"{phase} charts: p50 {delays[len(delays) // 2]:.2f} s, p99 {p99(delays):.2f} s, alarm {alarm:.2f} s"
        for phase, phases in measured.items()
        for delays, alarm in phases
    ]
    say("\n".join(lines))
    quiet, busy = (sorted(delay for delays, _ in measured[phase] for delay in delays) for phase in ("without", "with"))
    record_result(
        "charts of a year",
        rows=ROWS,
        connections=GREEDY_CONNECTIONS,
        charts=len(greedy.answers),
        longest_s=greedy.longest_s,
        quiet_s=p99(quiet),
        busy_s=p99(busy),
    )
    assert all(answer["ok"] for answer in greedy.answers), [a for a in greedy.answers if not a["ok"]][:3]
    assert len(greedy.answers) >= 2 * GREEDY_CONNECTIONS
    assert set(waited) <= set(range(1, GREEDY_CONNECTIONS - 1))
    assert p99(busy) < 2 * p99(quiet)
    slowest = {phase: max(alarm for _, alarm in phases) for phase, phases in measured.items()}
    assert slowest["with"] < 2 * slowest["without"] + 1.0
