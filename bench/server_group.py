"""Runs server processes behind nginx with MariaDB and Redis, as in `deploy/`, and measures their CPU time."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.child import Child, memory_bytes, process_tree, tree_cpu_ns
from bench.peers import Workspace
from bench.site import Site
from tests.support.services.mariadb import MariaDB
from tests.support.services.nginx import Nginx
from tests.support.services.redis import Redis
from tests.support.serving import StorewatchServer

SLOTS = 2.25
"""Number of nginx connections for each browser.

A browser uses two. The rest is a reserve, because nginx closes new connections if less than 1/16 of its connections is
free.
"""
PARTS = ("server", "nginx", "mariadb", "redis")


@dataclass(frozen=True)
class Services:
    """The services that must run before the servers start, and the site whose readings the servers poll."""

    mariadb: MariaDB
    redis: Redis
    site: Site


@dataclass(frozen=True)
class Spent:
    """The CPU time in microseconds that each part (`server`, `nginx`, `mariadb`, `redis`) used within `seconds`."""

    seconds: float
    cpu_us: Mapping[str, float]

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.seconds + other.seconds, {part: used + other.cpu_us[part] for part, used in self.cpu_us.items()}
        )


class Meter:
    """Measures how much CPU time each part (server, nginx, MariaDB, Redis) uses from the creation of the meter on.

    The processes of a part are measured together with their descendants.
    """

    def __init__(self, pids: Mapping[str, Sequence[int]]) -> None:
        self.start = time.monotonic()
        self._pids = pids
        self._before = self._used()

    def read(self) -> Spent:
        """Return the CPU time that each part (server, nginx, MariaDB, Redis) has used since the meter was created."""
        used = self._used()
        return Spent(time.monotonic() - self.start, {part: used[part] - self._before[part] for part in used})

    def _used(self) -> dict[str, float]:
        return {part: sum(map(tree_cpu_ns, pids)) / 1000 for part, pids in self._pids.items()}


@dataclass(frozen=True)
class ServerGroup:
    """Running servers, and a load generator that connects to them through nginx."""

    servers: Sequence[StorewatchServer]
    nginx: Nginx
    services: Services
    load: Child

    def meter(self) -> Meter:
        """Start a meter for the servers, nginx, MariaDB and Redis."""
        pids = {
            "server": [server.pid for server in self.servers],
            "nginx": [self.nginx.pid],
            "mariadb": [self.services.mariadb.pid],
            "redis": [self.services.redis.pid],
        }
        return Meter(pids)

    def memory_mb(self) -> float:
        """Return the mean memory of a server process, in MB."""
        return sum(memory_bytes(server.pid) for server in self.servers) / len(self.servers) / 1e6

    def nginx_memory_bytes(self) -> int:
        """Return the memory of nginx and its workers, in bytes."""
        return sum(memory_bytes(pid) for pid in process_tree(self.nginx.pid))


@contextmanager
def server_group(
    workspace: Workspace, services: Services, processes: int, interval_s: float, connections: int
) -> Iterator[ServerGroup]:
    """Run server processes that poll every `interval_s` seconds, and an nginx for `connections` browsers."""
    settings = {
        "database": services.site.settings,
        "redis": services.redis.settings(),
        "poll_interval": interval_s,
    }
    with ExitStack() as running:
        servers = []
        for index in range(processes):
            folder = workspace.folder / f"servers-{processes}-{interval_s:g}-{index}"
            folder.mkdir()
            server = StorewatchServer(folder, settings).start()
            running.callback(server.stop)
            servers.append(server)
        nginx = running.enter_context(Nginx([server.port for server in servers], round(SLOTS * connections)))
        # The first `time` in an `envs` is its own, the second is the time of the first sensor's reading.
        load = running.enter_context(workspace.load(nginx.port, "stamp=2", "tabs"))
        yield ServerGroup(servers, nginx, services, load)


def write(site: Site, commits: Sequence[list[int]], rounds: int, round_s: float) -> int:
    """Write readings for one group of sensors after another, at a steady pace. Each group is written in one commit.

    Return the number of readings.
    """
    start = time.monotonic()
    for turn in range(rounds * len(commits)):
        time.sleep(max(0.0, start + turn * round_s / len(commits) - time.monotonic()))
        site.write(commits[turn % len(commits)])
    return rounds * sum(len(sensors) for sensors in commits)
