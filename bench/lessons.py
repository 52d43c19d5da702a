"""Measures the cost of each kind of work of one server process.

Each measurement is called a lesson. It determines the cost of one kind of work. The costs of all other work in the
measurement are known from earlier lessons.
"""

import json
import time
from collections.abc import Sequence

import redis

from bench import capacity
from bench.capacity import PING_INTERVAL_S, Costs, Kind, Measured, Work
from bench.child import Failed
from bench.peers import AT_ONCE, Workspace
from bench.server_group import PARTS, Meter, ServerGroup, Services, Spent, server_group, write

STOREHOUSES, SENSORS, READINGS = 80, 13, 10_000
FIRST = [SENSORS * index + 1 for index in range(STOREHOUSES)]
"""Id of the first sensor of each storehouse."""
GROUPS = 10
EVERY = [[first + index for first in FIRST[group::GROUPS] for index in range(SENSORS)] for group in range(GROUPS)]
"""Ids of all sensors, in groups. Each group contains the sensors of a tenth of the storehouses.

The readings of one group are written in one commit.
"""
INTERVAL_S, ROUND_S = 1.0, 1.4
"""Poll interval and duration of a round, both in seconds. A round writes each storehouse's readings once.

A round takes longer than the poll interval, because a storehouse that changes twice between two polls is pushed only
once.
"""
FAST_INTERVAL_S, FAST_ROUND_S = 0.1, 0.14
"""Poll interval and duration of a round, in seconds, for measuring pushes.

In slower rounds, the pushes would use less CPU time than the polls.
"""
CLIENTS = 2000
ROUNDS, FAST_ROUNDS, FAST_TURNS = 12, 28, 3
REST_S, FAST_REST_S = 16.0, 3.0
SETTLE_S = 2.0
ASKS = 2000
CROSSINGS = 2000

Lesson = tuple[Kind, Work, Spent]


def learn(workspace: Workspace, services: Services) -> Measured:
    """Measure one server process, nginx, MariaDB and Redis. Return their costs."""
    lessons = [_commits(services)]
    with server_group(workspace, services, 1, INTERVAL_S, CLIENTS) as group:
        lessons += [_ticks(group), _readings(group), _crossings(group)]
        process_mb, nginx_bytes = group.memory_mb(), group.nginx_memory_bytes()
        lessons += [_connects(group), _pings(group)]
        grown_mb, nginx_grown = group.memory_mb() - process_mb, group.nginx_memory_bytes() - nginx_bytes
        lessons.append(_asks(group))
    with server_group(workspace, services, 1, FAST_INTERVAL_S, CLIENTS) as fast:
        fast_lessons, push_bytes = _pushes(fast)
    return Measured(
        {part: _costs(part, lessons, fast_lessons) for part in PARTS},
        process_mb,
        connection_kb=grown_mb * 1000 / CLIENTS,
        nginx_connection_kb=nginx_grown / 1000 / CLIENTS,
        push_bytes=push_bytes,
    )


def _costs(part: str, lessons: Sequence[Lesson], fast: Sequence[Lesson]) -> Costs:
    costs = capacity.learn((kind, work, spent.cpu_us.get(part, 0.0)) for kind, work, spent in lessons)
    known_costs = {kind: costs[kind] for kind in (Kind.COMMIT, Kind.READING)}
    pushing = capacity.learn(((kind, work, spent.cpu_us[part]) for kind, work, spent in fast), known_costs)
    return {**costs, Kind.PUSH: pushing[Kind.PUSH], Kind.PICTURE: pushing[Kind.PICTURE]}


def _beside(spent: Spent, clients: int) -> dict[Kind, float]:
    """Return the number of polls and the number of pings that happened during a measurement."""
    return {Kind.TICK: spent.seconds / INTERVAL_S, Kind.PING: spent.seconds * clients / PING_INTERVAL_S}


def _rest(group: ServerGroup, seconds: float) -> Spent:
    time.sleep(SETTLE_S)
    meter = group.meter()
    time.sleep(seconds)
    return meter.read()


def _commits(services: Services) -> Lesson:
    meter = Meter({"mariadb": [services.mariadb.pid]})
    rows = write(services.site, EVERY, ROUNDS, ROUND_S)
    return Kind.COMMIT, {Kind.COMMIT: rows}, meter.read()


def _ticks(group: ServerGroup) -> Lesson:
    spent = _rest(group, REST_S)
    return Kind.TICK, _beside(spent, 0), spent


def _readings(group: ServerGroup) -> Lesson:
    meter = group.meter()
    rows = write(group.services.site, EVERY, ROUNDS, ROUND_S)
    time.sleep(INTERVAL_S)
    spent = meter.read()
    return Kind.READING, {**_beside(spent, 0), Kind.COMMIT: rows, Kind.READING: rows}, spent


def _crossings(group: ServerGroup) -> Lesson:
    """Measure events from Redis.

    The benchmark sends the events as another program would send them. It sends them to a room in which the process has
    no clients.
    """
    where = group.services.redis.settings()
    event = {"method": "emit", "event": "note", "data": "x" * 100, "namespace": "/", "room": "nobody"}
    with redis.Redis(where["host"], where["port"], password=where["password"]) as program:
        meter = group.meter()
        for _ in range(CROSSINGS):
            program.publish("socketio", json.dumps({**event, "host_id": "another"}))
        time.sleep(INTERVAL_S)
        spent = meter.read()
    return Kind.CROSSING, {**_beside(spent, 0), Kind.CROSSING: CROSSINGS}, spent


def _connects(group: ServerGroup) -> Lesson:
    """Measure browsers that connect over ten seconds.

    If all browsers connected in one burst, their pings would coincide and cost less.
    """
    meter = group.meter()
    for second in range(PING_INTERVAL_S):
        group.load.ask(f"connect {CLIENTS // PING_INTERVAL_S} {AT_ONCE} {STOREHOUSES}")
        time.sleep(max(0.0, meter.start + second + 1 - time.monotonic()))
    spent = meter.read()
    return Kind.CONNECT, {**_beside(spent, 0), Kind.CONNECT: CLIENTS}, spent


def _pings(group: ServerGroup) -> Lesson:
    spent = _rest(group, REST_S)
    return Kind.PING, _beside(spent, CLIENTS), spent


def _asks(group: ServerGroup) -> Lesson:
    meter = group.meter()
    group.load.ask(f"ask {ASKS} 1")
    spent = meter.read()
    return Kind.ASK, {**_beside(spent, CLIENTS), Kind.ASK: ASKS}, spent


def _pushes(fast: ServerGroup) -> tuple[list[Lesson], float]:
    """Measure polls, then pushes to many clients of one storehouse, then pushes to a few clients of each storehouse.

    Return the measurements, and the size of one push in bytes.
    """
    fast.load.ask(f"connect {CLIENTS // 2} {AT_ONCE} 1")
    fast.load.ask(f"connect {CLIENTS // 2} {AT_ONCE} {STOREHOUSES}")
    turns = [(_rest(fast, FAST_REST_S), _pushed(fast, FIRST[:1]), _pushed(fast, FIRST[1:])) for _ in range(FAST_TURNS)]
    rests, many, few = zip(*turns, strict=True)
    rest = _sum(rests)
    lessons: list[Lesson] = [
        # Pings and other periodic work cost the same as without pushes, so they count as part of the polls.
        (Kind.TICK, {Kind.TICK: rest.seconds}, rest),
        _lesson(Kind.PUSH, many, 1),
        _lesson(Kind.PICTURE, few, len(FIRST) - 1),
    ]
    came = many[0][1]
    if not came["messages"]:
        raise Failed("no push of the one storehouse arrived")
    return lessons, came["bytes"] / came["messages"]


Pushed = tuple[Spent, dict[str, int]]


def _pushed(fast: ServerGroup, sensors: list[int]) -> Pushed:
    fast.load.ask("reset")
    meter = fast.meter()
    write(fast.services.site, [sensors], FAST_ROUNDS, FAST_ROUND_S)
    time.sleep(FAST_INTERVAL_S)
    return meter.read(), fast.load.ask("stats")


def _lesson(kind: Kind, turns: Sequence[Pushed], storehouses: int) -> Lesson:
    spent = _sum([turn[0] for turn in turns])
    written = storehouses * FAST_ROUNDS * len(turns)
    work: dict[Kind, float] = {Kind.TICK: spent.seconds, Kind.COMMIT: written, Kind.READING: written}
    work[Kind.PUSH] = sum(came["messages"] for _, came in turns)
    # If a storehouse has many clients, the cost of building its `envs` is negligible and counts as part of the pushes.
    return kind, work | ({Kind.PICTURE: written} if kind is Kind.PICTURE else {}), spent


def _sum(spent: Sequence[Spent]) -> Spent:
    total = spent[0]
    for part in spent[1:]:
        total += part
    return total
