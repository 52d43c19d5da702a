"""Computes the capacity of several server processes from the measured cost of each kind of work.

The module contains no I/O. docs/scaling.md explains the model. An installation has four parts: the server processes,
nginx, MariaDB and Redis. The CPU time that a part needs for one kind of work is the cost of the work times its
frequency. The CPU time of the part is the sum over all kinds of work. The costs are measured with one server process.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

PING_INTERVAL_S = 10
"""Storewatch's ping interval, in seconds."""


class Kind(StrEnum):
    """A kind of work that the server processes, nginx, MariaDB or Redis do."""

    COMMIT = "committed reading"
    TICK = "poll of a process"
    """One poll of a process. Its cost includes other periodic work, such as queries for alarms and the heartbeat."""
    READING = "reading that a process polls"
    """One reading that one process gets from a poll. Every process polls every reading."""
    CONNECT = "connecting browser"
    """One browser that connects by websocket and registers for a storehouse."""
    PING = "ping"
    """One ping and its pong. The cost includes the other periodic work for an idle connection."""
    ASK = "request (`orgs`)"
    PUSH = "push"
    """Push of one message to one browser."""
    PICTURE = "`envs` that a process builds"
    """One `envs` message. A process builds it once for all its clients that watch the storehouse."""
    CROSSING = "Redis event that a process receives"
    """One event that one process receives from Redis. Every process receives every event.

    Pushes do not go through Redis.
    """


Work = Mapping[Kind, float]
"""How often all server processes together do each kind of work in a period of time."""
Costs = Mapping[Kind, float]
"""CPU time in microseconds that one part of the installation needs to do each kind of work once."""


def cpu_us(costs: Costs, work: Work) -> float:
    """Return the CPU time that one part of the installation needs for the work, in microseconds."""
    return sum(costs.get(kind, 0.0) * times for kind, times in work.items())


def learn(lessons: Iterable[tuple[Kind, Work, float]], known_costs: Costs | None = None) -> Costs:
    """Compute the cost of each kind of work from measurements. Return these costs together with `known_costs`.

    Costs are CPU time in microseconds. A measurement (lesson) consists of the kind of work whose cost it determines,
    the amounts of all work that was done, and the CPU time that was used. The costs of the other kinds of work in a
    lesson must be in `known_costs` or come from earlier lessons.
    """
    costs = dict(known_costs or {})
    for kind, work, measured_us in lessons:
        # Work that was never done gets no cost, for example if no push arrived.
        costs[kind] = max(0.0, (measured_us - cpu_us(costs, work)) / work[kind]) if work[kind] else 0.0
    return costs


@dataclass(frozen=True)
class Load:
    """The load on all processes together."""

    connections: float
    storehouses: float
    """Number of watched storehouses."""
    changes: float
    """Number of pushes per second to each client that watches a storehouse. There is at most one push per poll."""
    readings: float
    """Number of readings that are committed per second."""
    interval_s: float = 1.0
    """Seconds between two polls of a process."""


def work(load: Load, processes: int) -> Work:
    """Return how often per second all processes together do each kind of work."""
    return {
        Kind.COMMIT: load.readings,
        Kind.TICK: processes / load.interval_s,
        Kind.READING: processes * load.readings,
        Kind.PING: load.connections / PING_INTERVAL_S,
        Kind.PUSH: load.connections * load.changes,
        Kind.PICTURE: min(processes * load.storehouses, load.connections) * load.changes,
    }


def arrival_s(interval_s: float, burst_s: float) -> tuple[float, float]:
    """Return the median and the 99th percentile of the time from a commit to the push's arrival, in seconds.

    A reading waits for the next poll. Then its push waits while other pushes of the same poll are sent. All pushes of
    one poll together take `burst_s` seconds.
    """
    return interval_s / 2 + burst_s / 2, 0.99 * interval_s + burst_s


@dataclass(frozen=True)
class Measured:
    """The measured costs from which the capacity is computed."""

    costs: Mapping[str, Costs]
    """For each part of the installation (`server`, `nginx`, `mariadb`, `redis`), the cost of each kind of work."""
    process_mb: float
    """Memory of a server process without connections, in MB."""
    connection_kb: float
    """Memory that a server process needs for each connection, in kB."""
    nginx_connection_kb: float
    """Memory that nginx needs for each browser, in kB."""
    push_bytes: float


@dataclass(frozen=True)
class Usage:
    """The sensors, readings and browsers of one storehouse."""

    sensors: int
    every_s: float
    """Seconds between two readings of a sensor."""
    browsers: float
    """Number of browsers that watch the storehouse."""

    def load(self, connections: float) -> Load:
        """Return the load for this number of connections."""
        storehouses = connections / self.browsers
        readings = self.sensors / self.every_s
        return Load(connections, storehouses, min(1.0, readings), storehouses * readings)


@dataclass(frozen=True)
class Deployment:
    """The processes of a deployment and the resources of its machines."""

    processes: int
    nginx_cores: int
    memory_gb: float
    network_gbit: float
    """Network bandwidth of all machines together, in Gbit/s."""
    mariadb_cores: int


BUSY = 0.5
"""Share of a resource (CPU, network or memory) that may be used in normal operation. The rest is a reserve."""
BACK_S = 20.0
"""Time in which all clients must be able to reconnect after a restart, in seconds.

This is the connection time-out of a client.
"""
MOST = 1e9
"""Largest number of connections that `limits` considers.

For a resource that never reaches its permitted load, `limits` returns about this number.
"""


def shares(measured: Measured, load: Load, deployment: Deployment) -> dict[str, float]:
    """Return the load of each resource as a share of the permitted load. A share above 1 is an overload."""
    server, nginx, mariadb = (measured.costs[part] for part in ("server", "nginx", "mariadb"))
    second = work(load, deployment.processes)
    memory_kb = deployment.processes * measured.process_mb * 1000
    memory_kb += load.connections * (measured.connection_kb + measured.nginx_connection_kb)
    back: Work = {Kind.CONNECT: load.connections}
    return {
        "the processes' CPU": cpu_us(server, second) / 1e6 / deployment.processes / BUSY,
        "reconnection": cpu_us(server, back) / 1e6 / deployment.processes / BACK_S,
        "nginx's CPU": cpu_us(nginx, second) / 1e6 / deployment.nginx_cores / BUSY,
        "MariaDB's CPU": cpu_us(mariadb, second) / 1e6 / deployment.mariadb_cores / BUSY,
        "network": second[Kind.PUSH] * measured.push_bytes * 8 / 1e9 / deployment.network_gbit / BUSY,
        "memory": memory_kb / 1e6 / deployment.memory_gb / BUSY,
    }


def limits(measured: Measured, usage: Usage, deployment: Deployment) -> dict[str, float]:
    """Return, for each resource, the number of connections at which the resource has reached its permitted load.

    The smallest of these numbers is the capacity of the deployment.
    """
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
    """Return two limits for the number of events per second that other programs may send through Redis.

    The CPU of the server processes sets one limit, and the CPU of Redis sets the other. A limit is None if the CPU time
    for one event was too small to be measured.
    """
    server, redis = (measured.costs[part][Kind.CROSSING] for part in ("server", "redis"))
    return {
        "the processes' CPU": BUSY * 1e6 / server if server else None,
        "Redis's CPU": BUSY * 1e6 / redis / processes if redis else None,
    }
