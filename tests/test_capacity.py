"""Tests of how the benchmark computes the capacity of several processes from measured costs. No server runs."""

from dataclasses import replace

import pytest

from bench import capacity
from bench.capacity import BACK_S, BUSY, Deployment, Kind, Load, Measured, Usage

SERVER = {
    Kind.TICK: 4000.0,
    Kind.READING: 10.0,
    Kind.CONNECT: 1000.0,
    Kind.PUSH: 8.0,
    Kind.PICTURE: 40.0,
    Kind.CROSSING: 100.0,
}
COSTS = {
    "server": SERVER,
    "nginx": {Kind.PUSH: 12.0},
    "mariadb": {Kind.TICK: 2000.0, Kind.READING: 0.5, Kind.COMMIT: 10.0},
    "redis": {Kind.CROSSING: 5.0},
}
MEASURED = Measured(
    costs=COSTS,
    process_mb=80,
    connection_kb=40,
    nginx_connection_kb=20,
    push_bytes=2000,
)
USAGE = Usage(sensors=10, every_s=10, browsers=20)
"""The sensors, readings and browsers of a storehouse. They give each browser one push per second."""
ONE = Deployment(processes=1, nginx_cores=1, memory_gb=4, network_gbit=1, mariadb_cores=1)
FOUR = Deployment(processes=4, nginx_cores=4, memory_gb=16, network_gbit=4, mariadb_cores=1)


def test_learn_recovers_the_costs_from_measurements() -> None:
    works = [
        (Kind.TICK, {Kind.TICK: 10.0}),
        (Kind.PUSH, {Kind.TICK: 10.0, Kind.PUSH: 500.0}),
        (Kind.PICTURE, {Kind.TICK: 20.0, Kind.PUSH: 700.0, Kind.PICTURE: 80.0}),
    ]
    lessons = [(kind, work, capacity.cpu_us(SERVER, work)) for kind, work in works]
    assert capacity.learn(lessons) == pytest.approx({kind: SERVER[kind] for kind, _ in works})


def test_learn_uses_known_costs() -> None:
    lessons = [(Kind.PUSH, {Kind.TICK: 10.0, Kind.PUSH: 100.0}, 1800.0)]
    assert capacity.learn(lessons, {Kind.TICK: 100.0}) == pytest.approx({Kind.TICK: 100.0, Kind.PUSH: 8.0})


def test_measurement_errors_never_make_a_cost_negative() -> None:
    lessons = [(Kind.TICK, {Kind.TICK: 10.0}, 1000.0), (Kind.PING, {Kind.TICK: 10.0, Kind.PING: 5.0}, 990.0)]
    assert capacity.learn(lessons)[Kind.PING] == 0


def test_more_processes_read_more_but_push_the_same() -> None:
    load = Load(connections=8000, storehouses=80, changes=0.5, readings=100)
    single, four = capacity.work(load, 1), capacity.work(load, 4)
    assert (single[Kind.READING], four[Kind.READING]) == (100, 400)
    assert (single[Kind.TICK], four[Kind.TICK]) == (1, 4)
    assert single[Kind.PUSH] == four[Kind.PUSH] == 4000
    assert single[Kind.COMMIT] == four[Kind.COMMIT] == 100


def test_a_process_builds_envs_only_for_its_watched_storehouses() -> None:
    crowded = Load(connections=8000, storehouses=80, changes=1, readings=80)
    assert capacity.work(crowded, 4)[Kind.PICTURE] == 4 * 80
    sparse = replace(crowded, connections=100)
    assert capacity.work(sparse, 4)[Kind.PICTURE] == 100


def test_shorter_intervals_mean_more_ticks() -> None:
    load = Load(connections=0, storehouses=0, changes=0, readings=0, interval_s=0.1)
    assert capacity.work(load, 2)[Kind.TICK] == pytest.approx(20)


def test_arrival_time_includes_tick_and_burst() -> None:
    assert capacity.arrival_s(interval_s=1.0, burst_s=0.1) == pytest.approx((0.55, 1.09))


def test_a_storehouse_is_pushed_at_most_once_per_tick() -> None:
    load = Usage(sensors=100, every_s=1, browsers=10).load(1000)
    assert (load.storehouses, load.readings, load.changes) == (100, 10_000, 1)


def test_each_part_is_fully_used_at_its_limit() -> None:
    for part, connections in capacity.limits(MEASURED, USAGE, FOUR).items():
        used = capacity.shares(MEASURED, USAGE.load(connections), FOUR)[part]
        assert used == pytest.approx(1, rel=1e-3), part


def test_push_costs_set_the_limits_of_nginx_and_network() -> None:
    limits = capacity.limits(MEASURED, USAGE, ONE)
    assert limits["nginx's CPU"] == pytest.approx(BUSY * 1e6 / 12, rel=1e-3)
    assert limits["network"] == pytest.approx(BUSY * 1e9 / 8 / 2000, rel=1e-3)


def test_all_clients_can_reconnect_within_the_connection_timeout() -> None:
    limits = capacity.limits(MEASURED, USAGE, ONE)
    assert limits["reconnection"] == pytest.approx(BACK_S * 1e6 / 1000, rel=1e-3)


def test_more_processes_carry_more_but_load_the_database_more() -> None:
    single, four = (capacity.limits(MEASURED, USAGE, deployment) for deployment in (ONE, FOUR))
    # The load is less than four times as high, because each of the four processes gets every reading.
    assert 2 < four["the processes' CPU"] / single["the processes' CPU"] < 3
    assert four["MariaDB's CPU"] < single["MariaDB's CPU"]


def test_capacity_is_zero_if_ticks_use_all_the_cpu() -> None:
    heavy = replace(MEASURED, costs={**COSTS, "mariadb": {Kind.TICK: 1e7}})
    assert capacity.limits(heavy, USAGE, ONE)["MariaDB's CPU"] == pytest.approx(0, abs=1)


def test_a_part_without_costs_has_no_limit() -> None:
    assert capacity.limits(replace(MEASURED, costs={**COSTS, "nginx": {}}), USAGE, ONE)["nginx's CPU"] == pytest.approx(
        capacity.MOST, rel=1e-3
    )


def test_redis_carries_fewer_events_with_more_processes() -> None:
    four, eight = capacity.crossings(MEASURED, 4), capacity.crossings(MEASURED, 8)
    assert four["the processes' CPU"] == eight["the processes' CPU"] == BUSY * 1e6 / 100
    assert four["Redis's CPU"] == BUSY * 1e6 / 5 / 4
    assert eight["Redis's CPU"] == four["Redis's CPU"] / 2


def test_an_event_without_a_measured_cost_has_no_limit() -> None:
    unmeasured = replace(MEASURED, costs={**COSTS, "redis": {Kind.CROSSING: 0.0}})
    assert capacity.crossings(unmeasured, 4)["Redis's CPU"] is None


def test_an_event_that_never_occurs_costs_nothing() -> None:
    assert capacity.learn([(Kind.PUSH, {Kind.PUSH: 0.0}, 100.0)]) == {Kind.PUSH: 0.0}
