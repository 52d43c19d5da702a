"""Faults of MariaDB, Redis, nginx, the server processes, the SQLite file and the clock."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pymysql

import settings
from db.database import Database
from db.limits import BATCH_LIMITS
from tests.support.cable import Cable
from tests.support.fault_table import Fault, Stage, Told
from tests.support.services.mariadb import MariaDB
from tests.support.services.private import HOST
from tests.support.services.redis import Redis

FILE_LIMIT = 1_000_000
"""Maximum size of the server's files while the disk is full, in bytes."""


def _mariadb(stage: Stage) -> MariaDB:
    assert stage.mariadb is not None
    return stage.mariadb


def _hold(stage: Stage, *statements: str) -> None:
    """Execute the statements on a new connection to MariaDB. Keep the connection open."""
    mariadb = _mariadb(stage)
    name = str(stage.built.database.settings.name)
    connection = pymysql.connect(host=HOST, port=mariadb.port, user="root", database=name)
    stage.held.append(connection)
    for statement in statements:
        connection.cursor().execute(statement)


def _let_go(stage: Stage) -> None:
    while stage.held:
        stage.held.pop().close()


def _take_connections(stage: Stage) -> None:
    """Open connections to MariaDB until no more are possible. Kill the connections of the Storewatch servers."""
    mariadb = _mariadb(stage)
    where = mariadb.settings(str(stage.built.database.settings.name))
    login = {key: where[key] for key in ("host", "port", "user", "password")}
    _hold(stage, "SET GLOBAL max_connections = 20")
    root = stage.held[0].cursor()
    ours: set[int] = set()
    while True:
        with suppress(pymysql.err.OperationalError):
            while True:
                stage.held.append(pymysql.connect(**login))
                ours.add(stage.held[-1].thread_id())
        root.execute("SELECT id FROM information_schema.processlist WHERE user = %s", (where["user"],))
        others = {number for (number,) in root.fetchall()} - ours
        if not others:
            return
        for number in others:
            with suppress(pymysql.err.OperationalError):
                root.execute(f"KILL {number}")


def _give_connections_back(stage: Stage) -> None:
    stage.held[0].cursor().execute("SET GLOBAL max_connections = 151")
    _let_go(stage)


def _fill(stage: Stage) -> None:
    """Set a size limit so that the file of the table `reading` cannot grow. Then fill the free space in this file."""
    mariadb = _mariadb(stage)
    name = str(stage.built.database.settings.name)
    mariadb.limit_files(os.path.getsize(mariadb.data / name / "reading.ibd"))
    number, portion = 10_000_000 + stage.writer.last, 500
    while portion:
        time_and_value = f"'2020-01-01' + INTERVAL seq SECOND, seq + {number}"
        rows = f"SELECT {stage.built.ids['far']}, {time_and_value} FROM seq_1_to_{portion}"
        try:
            mariadb.execute(f"INSERT INTO reading (sensor_id, time, value) {rows}", database=name)
            number += portion
        except pymysql.err.OperationalError:
            portion //= 10


def make_room(mariadb: MariaDB, name: str, sensor_id: int) -> None:
    """Add readings until the file of the table `reading` is the largest of MariaDB's files.

    A size limit that stops the growth of this file then affects no other file.
    """
    for day in range(15):
        rows = f"SELECT {sensor_id}, '2019-01-01' + INTERVAL {day} DAY + INTERVAL seq SECOND, -seq FROM seq_1_to_10000"
        mariadb.execute(f"INSERT INTO reading (sensor_id, time, value) {rows}", database=name)


MARIADB = [
    Fault("MariaDB stopped", "stale", lambda on: _mariadb(on).stop(), lambda on: _mariadb(on).start()),
    Fault("MariaDB killed", "stale", lambda on: _mariadb(on).kill(), lambda on: _mariadb(on).start()),
    Fault("MariaDB frozen", "stale", lambda on: _mariadb(on).freeze(), lambda on: _mariadb(on).thaw()),
    Fault("MariaDB's connections all taken", "stale", _take_connections, _give_connections_back),
    Fault(
        "table of readings locked", "stale", lambda on: _hold(on, "LOCK TABLES reading WRITE"), _let_go, is_lock=True
    ),
    Fault(
        "leases locked",
        "nobody",
        lambda on: _hold(on, "BEGIN", "SELECT * FROM lease FOR UPDATE"),
        _let_go,
        is_lock=True,
    ),
    Fault("MariaDB's disk full", "nobody", _fill, lambda on: _mariadb(on).limit_files()),
]


def _failed_over(
    name: str,
    told: Told,
    cable: Cable,
    other: MariaDB | Redis,
    replaced: Callable[[Stage], MariaDB | Redis],
    replace: Callable[[Stage], object],
) -> Fault:
    """Return a fault that kills the server `replaced`, and lets the server `other` replace it at the same address.

    The function `replace` starts `other` and puts it on the stage.
    """
    loop = asyncio.get_running_loop()

    def start(stage: Stage) -> None:
        loop.call_soon_threadsafe(cable.cut)
        replaced(stage).kill()

    def end(stage: Stage) -> None:
        replace(stage)
        cable.lead_to(other.port)
        loop.call_soon_threadsafe(cable.mend)

    return Fault(name, told, start, end)


def mariadb_failed_over(cable: Cable, other: MariaDB) -> Fault:
    """Return a fault in which a second MariaDB server replaces the first one at the same address.

    The second server uses the files of the first server.
    """

    def replace(stage: Stage) -> None:
        other.data = _mariadb(stage).data
        stage.mariadb = other.start()
        stage.built.database = Database(settings.Database(**other.settings("site")), BATCH_LIMITS, 2, writes=True)

    return _failed_over("MariaDB failed over", "stale", cable, other, _mariadb, replace)


def redis_failed_over(cable: Cable, other: Redis) -> Fault:
    """Return a fault in which a second Redis server replaces the first one at the same address.

    The second server is empty at the start.
    """

    def replace(stage: Stage) -> None:
        stage.redis = other.start()

    return _failed_over("Redis failed over", "nobody", cable, other, _redis, replace)


# Redis, nginx, and the processes themselves


def _redis(stage: Stage) -> Redis:
    assert stage.redis is not None
    return stage.redis


def _take_redis_connections(stage: Stage) -> None:
    stage.held.append(_redis(stage).take_connections())


def _give_redis_connections_back(stage: Stage) -> None:
    _redis(stage).give_connections_back(stage.held.pop())


def _fill_redis(stage: Stage) -> None:
    redis = _redis(stage)
    redis.limit_files(1)
    redis.execute("SET any thing")


def _reload(stage: Stage) -> None:
    assert stage.nginx is not None
    stage.nginx.reload()


REDIS = [
    Fault("Redis stopped", "nobody", lambda on: _redis(on).stop(), lambda on: _redis(on).start()),
    Fault("Redis killed", "nobody", lambda on: _redis(on).kill(), lambda on: _redis(on).start()),
    Fault("Redis frozen", "nobody", lambda on: _redis(on).freeze(), lambda on: _redis(on).thaw()),
    Fault("Redis's connections all taken", "nobody", _take_redis_connections, _give_redis_connections_back),
    Fault(
        "Redis's memory full",
        "nobody",
        lambda on: _redis(on).execute("CONFIG SET maxmemory 1"),
        lambda on: _redis(on).execute("CONFIG SET maxmemory 0"),
    ),
    Fault("Redis's disk full", "nobody", _fill_redis, lambda on: _redis(on).limit_files()),
]
PROCESSES = [
    Fault("nginx reloaded", "nobody", _reload, lambda _: None),
    Fault("one of two processes killed", "cut", lambda on: on.servers[0].kill(), lambda on: on.servers[0].start()),
]


# One process with an SQLite file


def _open_file(stage: Stage) -> sqlite3.Connection:
    connection = sqlite3.connect(stage.built.database.settings.path, isolation_level=None, check_same_thread=False)
    stage.held.append(connection)
    return connection


def _lock_file(stage: Stage) -> None:
    _open_file(stage).execute("BEGIN IMMEDIATE")


def _fill_disk(stage: Stage) -> None:
    """Make the write-ahead log the largest of the server's files. Then set a size limit so that the log cannot grow."""
    filling = _open_file(stage)
    # An open read transaction keeps SQLite from restarting the write-ahead log.
    reading = _open_file(stage)
    reading.execute("BEGIN")
    reading.execute("SELECT COUNT(*) FROM reading").fetchall()
    filling.execute(f"CREATE TABLE filling AS SELECT zeroblob({2 * FILE_LIMIT}) AS bytes")
    filling.execute("DROP TABLE filling")
    stage.servers[0].limit_files(FILE_LIMIT)


def _empty_disk(stage: Stage) -> None:
    stage.servers[0].limit_files()
    _let_go(stage)


def _set_clock(hours: int) -> Callable[[Stage], None]:
    """Return a function that makes the server's and the writer's clocks fast by `hours`, or slow if it is negative."""

    def set_clock(stage: Stage) -> None:
        stage.servers[0].set_clock(hours * 3600.0)
        stage.writer.clock_off = timedelta(hours=hours)

    return set_clock


FILE = [
    Fault("SQLite's file locked", "nobody", _lock_file, _let_go, is_lock=True),
    Fault("SQLite's disk full", "nobody", _fill_disk, _empty_disk),
    Fault("clock set back by an hour, then corrected", "nobody", _set_clock(-1), _set_clock(0), is_leap=True),
    Fault("clock set forward by an hour, then corrected", "nobody", _set_clock(1), _set_clock(0), is_leap=True),
]
