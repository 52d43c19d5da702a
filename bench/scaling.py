"""The benchmark Scaling measures one server process and predicts the costs of 4 processes with 8,000 connections.

It then measures the costs of the 4 processes and compares them with the prediction.
"""

import time
from collections.abc import Sequence

from bench import capacity, lessons, peers
from bench.capacity import Deployment, Kind, Load, Measured, Usage, Work
from bench.child import files
from bench.lessons import EVERY, INTERVAL_S, READINGS, ROUND_S, SENSORS, STOREHOUSES
from bench.peers import AT_ONCE, Workspace
from bench.report import NOT_MEASURED, Report, number, quotient
from bench.server_group import ServerGroup, Services, Spent, server_group, write
from bench.site import Site, mariadb
from tests.support.services.mariadb import MariaDB
from tests.support.services.redis import Redis

TITLE = (
    "the first rows show the measured costs of one process. "
    "The next rows compare predicted and measured figures for 4 processes behind nginx with 8,000 connections. "
    "The last rows show computed capacities"
)
PROCESSES, CLIENTS = 4, 8000
ROUNDS = 43
"""Number of rounds in the measurement. In each round, every storehouse is written and pushed once."""
QUIET_MS = 3000
SETTLE_S = 2.0

USAGES = {
    "a reading per minute": Usage(sensors=13, every_s=60, browsers=20),
    "a reading every 10 s": Usage(sensors=13, every_s=10, browsers=20),
}
DEPLOYMENTS = {
    "one process": Deployment(processes=1, nginx_cores=1, memory_gb=4, network_gbit=1, mariadb_cores=4),
    "one machine": Deployment(processes=6, nginx_cores=2, memory_gb=16, network_gbit=10, mariadb_cores=4),
    "ten machines": Deployment(processes=60, nginx_cores=20, memory_gb=160, network_gbit=100, mariadb_cores=4),
}


def run(workspace: Workspace, report: Report) -> None:
    """Measure one process, predict the costs of several processes, and compare the prediction with a measurement."""
    report.start("scaling", TITLE)
    peers.allow_files(2 * CLIENTS)
    with mariadb() as database, Redis() as redis:
        site = Site(database, "site")
        site.fill(STOREHOUSES, SENSORS, READINGS)
        services = Services(database, redis, site)
        measured = lessons.learn(workspace, services)
        _tell_costs(report, measured)
        with server_group(workspace, services, PROCESSES, INTERVAL_S, CLIENTS) as several:
            _connect(report, several, measured)
            _push(report, several, measured)
    _tell_capacity(report, measured)


def _tell_costs(report: Report, measured: Measured) -> None:
    for kind in Kind:
        costs = ", ".join(number(round(costs[kind], 2)) for costs in measured.costs.values())
        report.tell(f"CPU time per {kind}: {', '.join(measured.costs)}", f"{costs} us")
    report.tell("memory of a process", number(measured.process_mb, "MB"))
    memory = f"{number(measured.connection_kb)}, {number(measured.nginx_connection_kb)} kB"
    report.tell("memory per connection: server, nginx", memory)
    report.tell("size of a push, in bytes", number(measured.push_bytes))


# Measurement of several processes.


def _connect(report: Report, several: ServerGroup, measured: Measured) -> None:
    before = [files(server.pid) for server in several.servers]
    meter = several.meter()
    several.load.ask(f"connect {CLIENTS} {AT_ONCE} {STOREHOUSES}")
    spent = meter.read()
    connections = [files(server.pid) - there for server, there in zip(several.servers, before, strict=True)]
    report.tell("connections per process: lowest, highest", f"{min(connections):,}, {max(connections):,}")
    for part in ("server", "nginx"):
        expected_us = measured.costs[part][Kind.CONNECT]
        _compare(report, f"{part}, CPU time per connecting browser", expected_us, spent.cpu_us[part] / CLIENTS, "us")
    time.sleep(SETTLE_S)


def _push(report: Report, several: ServerGroup, measured: Measured) -> None:
    several.load.ask("reset")
    meter = several.meter()
    write(several.services.site, EVERY, ROUNDS, ROUND_S)
    due = ROUNDS * CLIENTS
    came = several.load.ask(f"await {due} {QUIET_MS}")
    spent = meter.read()
    report.at_most(f"pushes lost, of {due:,}", due - came["samples"], 0)
    report.tell("pushes per connection: lowest, highest", f"{came['least']:,}, {came['most']:,}")
    work = _work()
    _compare_cpu(report, measured, work, spent)
    expected_mb = measured.process_mb + measured.connection_kb * CLIENTS / PROCESSES / 1000
    _compare(report, "memory of a process", expected_mb, several.memory_mb(), "MB")
    for share, expected_s in zip(("p50", "p99"), capacity.arrival_s(INTERVAL_S, _burst_s(measured, work)), strict=True):
        _compare(report, f"time from commit to arrival, {share}", expected_s, came[f"{share}_us"] / 1e6, "s")
    busy = ", ".join(f"{number(used / spent.seconds / 1e4)} %" for used in spent.cpu_us.values())
    report.tell(f"CPU use as a share of one core: {', '.join(spent.cpu_us)}", busy)
    report.tell("messages between processes through Redis", str(_published(several.services.redis)))
    report.tell("connections to MariaDB", str(_connections(several.services.mariadb)))


def _work() -> Work:
    """Return how often the processes do each kind of work in all rounds together."""
    load = Load(CLIENTS, STOREHOUSES, 1 / ROUND_S, STOREHOUSES * SENSORS / ROUND_S, INTERVAL_S)
    return {kind: times * ROUNDS * ROUND_S for kind, times in capacity.work(load, PROCESSES).items()}


def _compare_cpu(report: Report, measured: Measured, work: Work, spent: Spent) -> None:
    for part in ("server", "nginx"):
        expected_us = capacity.cpu_us(measured.costs[part], work) / work[Kind.PUSH]
        used_us = spent.cpu_us[part] / work[Kind.PUSH]
        _compare(report, f"{part}, total CPU time per push", expected_us, used_us, "us")
    costs, ticks = measured.costs["mariadb"], work[Kind.TICK]
    commits_us = costs[Kind.COMMIT] * work[Kind.COMMIT]
    expected_us, used_us = capacity.cpu_us(costs, work) - commits_us, spent.cpu_us["mariadb"] - commits_us
    _compare(report, "mariadb, CPU time without commits, per poll", expected_us / ticks, used_us / ticks, "us")


def _burst_s(measured: Measured, work: Work) -> float:
    """Return the predicted time from the first to the last push of one poll, in seconds."""
    tick = {kind: work[kind] / work[Kind.TICK] for kind in (Kind.READING, Kind.PICTURE, Kind.PUSH)}
    return sum(capacity.cpu_us(measured.costs[part], tick) for part in ("server", "nginx")) / 1e6


def _compare(report: Report, what: str, predicted: float, measured: float, unit: str) -> None:
    proportion = quotient(measured, predicted)
    error = f"difference {NOT_MEASURED}" if proportion is None else f"{proportion - 1:+.0%}"
    report.tell(f"{what}: predicted, measured", f"{number(predicted)}, {number(measured)} {unit} ({error})")


def _published(redis: Redis) -> int:
    lines = redis.execute("INFO commandstats").splitlines()
    calls = [line.split("calls=")[1].split(",")[0] for line in lines if line.startswith("cmdstat_publish:")]
    return int(calls[0]) - lessons.CROSSINGS if calls else 0


def _connections(database: MariaDB) -> int:
    """Return the number of connections to MariaDB, except the connection of this query."""
    return int(database.execute("SHOW STATUS LIKE 'Threads_connected'")[0][1]) - 1


# Computed capacities.


def _tell_capacity(report: Report, measured: Measured) -> None:
    report.tell("meaning of the three figures in each computed row below", ", ".join(DEPLOYMENTS))
    for use, usage in USAGES.items():
        limits = [capacity.limits(measured, usage, deployment) for deployment in DEPLOYMENTS.values()]
        for part in limits[0]:
            report.tell(f"{use}: connections, limited by {part}", _thousands([each[part] for each in limits]))
        loads = [usage.load(min(each.values())) for each in limits]
        report.tell(f"{use}: capacity in connections", _thousands([load.connections for load in loads]))
        report.tell(
            f"{use}: capacity in pushes per second", _thousands([load.connections * load.changes for load in loads])
        )
        report.tell(f"{use}: capacity in storehouses", _thousands([load.storehouses for load in loads]))
    crossings = [capacity.crossings(measured, deployment.processes) for deployment in DEPLOYMENTS.values()]
    for part in crossings[0]:
        report.tell(f"Redis events per second, limited by {part}", _thousands([each[part] for each in crossings]))


def _thousands(values: Sequence[float | None]) -> str:
    # If the cost of a part was too small to be measured, the part is no limit.
    measured = [None if value is None or value > capacity.MOST - 2 else value for value in values]
    return ", ".join(NOT_MEASURED if value is None else f"{value / 1000:,.1f}k" for value in measured)
