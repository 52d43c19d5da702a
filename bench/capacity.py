"""What a number of server processes carry: computed from what each kind of work costs. Pure; docs/scaling.md says more.

Each part (all server processes, nginx, MariaDB, Redis) uses CPU time in proportion to how often each kind of work is
done. What one process costs is measured; the rest is this arithmetic.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

PING_INTERVAL_S = 10
"""As the product has it."""


class Kind(StrEnum):
    """Kinds of work."""

    COMMIT = "reading that is committed"
    TICK = "tick of a process"
    """With what goes on beside it at the same pace: the journal, the alarm watch; and the heartbeat."""
    READING = "reading that a process gets"
    """Each process gets all of them."""
    CONNECT = "browser that comes"
    """By websocket, and registers for a storehouse."""
    PING = "ping"
    """With its answer, and whatever else is done now and then for a connection that waits."""
    ASK = "question"
    PUSH = "push"
    """One message to one browser."""
    PICTURE = "envs that is made"
    """Once a process, for all who watch the storehouse there."""
    CROSSING = "event by Redis that a process gets"
    """Each process gets all of them; no push is among them."""


Work = Mapping[Kind, float]
"""How often; of all processes together, in some span of time."""
Costs = Mapping[Kind, float]
"""Microseconds of CPU for each, of one part."""


def cpu_us(costs: Costs, work: Work) -> float:
    """Return the microseconds of CPU that the work costs."""
    return sum(costs.get(kind, 0.0) * times for kind, times in work.items())


def learn(lessons: Iterable[tuple[Kind, Work, float]], known_costs: Costs | None = None) -> Costs:
    """Return the costs behind what was measured, in microseconds of CPU, together with the `known_costs`.

    Each lesson is about one kind, the only one in its work that is neither known nor of a lesson before it.
    """
    costs = dict(known_costs or {})
    for kind, work, measured_us in lessons:
        # Work that was never done, such as pushes of which none arrived, teaches nothing.
        costs[kind] = max(0.0, (measured_us - cpu_us(costs, work)) / work[kind]) if work[kind] else 0.0
    return costs


@dataclass(frozen=True)
class Load:
    """What all processes together are to do."""

    connections: float
    storehouses: float
    """That are watched."""
    changes: float
    """How often a storehouse looks different in a second, so that it is pushed: at most once a tick."""
    readings: float
    """Committed in a second."""
    interval_s: float = 1.0
    """Between two ticks."""


def work(load: Load, processes: int) -> Work:
    """Return what there is to do in a second."""
    return {
        Kind.COMMIT: load.readings,
        Kind.TICK: processes / load.interval_s,
        Kind.READING: processes * load.readings,
        Kind.PING: load.connections / PING_INTERVAL_S,
        Kind.PUSH: load.connections * load.changes,
        Kind.PICTURE: min(processes * load.storehouses, load.connections) * load.changes,
    }


def arrival_s(interval_s: float, burst_s: float) -> tuple[float, float]:
    """Return p50 and p99 from a commit to its arrival, in seconds.

    It waits for the next tick, and then its turn among the pushes of that tick, which take `burst_s`.
    """
    return interval_s / 2 + burst_s / 2, 0.99 * interval_s + burst_s


@dataclass(frozen=True)
class Measured:
    """What it is computed from."""

    costs: Mapping[str, Costs]
    """Of each part: `server`, `nginx`, `mariadb`, `redis`."""
    process_mb: float
    """Memory of a process that nobody watches."""
    connection_kb: float
    """Memory of a process for each connection."""
    nginx_connection_kb: float
    """Memory of nginx for each browser."""
    push_bytes: float


@dataclass(frozen=True)
class Usage:
    """The sensors, readings and browsers of one storehouse."""

    sensors: int
    every_s: float
    """Between two readings of a sensor."""
    browsers: float
    """That watch it."""

    def load(self, connections: float) -> Load:
        """Return the load that so many connections come with."""
        storehouses = connections / self.browsers
        readings = self.sensors / self.every_s
        return Load(connections, storehouses, min(1.0, readings), storehouses * readings)


@dataclass(frozen=True)
class Deployment:
    """The processes of a deployment, and what its machines have."""

    processes: int
    nginx_cores: int
    memory_gb: float
    network_gbit: float
    """A second, of all machines together."""
    mariadb_cores: int


BUSY = 0.5
"""How much of a core, a network or a memory is used in good times: the rest is for bad ones."""
BACK_S = 20.0
"""In which everybody can come back after a restart of everything: as long as a client waits for its connection."""
MOST = 1e9
"""Connections, where a part is no limit at all."""


def shares(measured: Measured, load: Load, deployment: Deployment) -> dict[str, float]:
    """Return how much each part is used of what it may give; above 1 it is too much."""
    server, nginx, mariadb = (measured.costs[part] for part in ("server", "nginx", "mariadb"))
    second = work(load, deployment.processes)
    memory_kb = deployment.processes * measured.process_mb * 1000
    memory_kb += load.connections * (measured.connection_kb + measured.nginx_connection_kb)
    back: Work = {Kind.CONNECT: load.connections}
    return {
        "the processes' CPU": cpu_us(server, second) / 1e6 / deployment.processes / BUSY,
        "everybody comes back": cpu_us(server, back) / 1e6 / deployment.processes / BACK_S,
        "nginx's CPU": cpu_us(nginx, second) / 1e6 / deployment.nginx_cores / BUSY,
        "MariaDB's CPU": cpu_us(mariadb, second) / 1e6 / deployment.mariadb_cores / BUSY,
        "network": second[Kind.PUSH] * measured.push_bytes * 8 / 1e9 / deployment.network_gbit / BUSY,
        "memory": memory_kb / 1e6 / deployment.memory_gb / BUSY,
    }


def limits(measured: Measured, usage: Usage, deployment: Deployment) -> dict[str, float]:
    """Return with how many connections each part is at its limit; the least of them is what can be carried."""
    parts = shares(measured, usage.load(0), deployment)
    return {part: _limit(part, measured, usage, deployment) for part in parts}


def _limit(part: str, measured: Measured, usage: Usage, deployment: Deployment) -> float:
    low, high = 0.0, MOST
    while high - low > 1:
        middle = (low + high) / 2
        if shares(measured, usage.load(middle), deployment)[part] > 1:
            high = middle
        else:
            low = middle
    return low


def crossings(measured: Measured, processes: int) -> dict[str, float | None]:
    """Return with how many events a second from other programs a process, and Redis, is at its limit.

    None where the cost is too small to be measured.
    """
    server, redis = (measured.costs[part][Kind.CROSSING] for part in ("server", "redis"))
    return {
        "the processes' CPU": BUSY * 1e6 / server if server else None,
        "Redis's CPU": BUSY * 1e6 / redis / processes if redis else None,
    }
