"""The private MariaDB and Redis servers of the tests start, restart, freeze and end as expected."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pymysql
import pytest

from tests.support.services.mariadb import MariaDB
from tests.support.services.redis import Redis
from tests.support.serving import ROOT


@pytest.fixture
def own_mariadb() -> Iterator[MariaDB]:
    with MariaDB() as mariadb:
        mariadb.create_database("site")
        mariadb.execute("CREATE TABLE t (name TEXT)", database="site")
        mariadb.execute("INSERT INTO t VALUES (%s)", "冷库一号", database="site")
        yield mariadb


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    with Redis() as redis:
        redis.execute("SET name value")
        yield redis


def names(mariadb: MariaDB) -> list[tuple[str]]:
    return mariadb.execute("SELECT name FROM t", database="site")


def names_by_settings(mariadb: MariaDB, **options: float) -> object:
    settings = mariadb.settings("site") | options
    assert settings.pop("kind") == "mysql"
    settings["database"] = settings.pop("name")
    with pymysql.connect(**settings) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name FROM t")
        return cursor.fetchall()


def test_mariadb_can_be_reached_with_its_settings(own_mariadb: MariaDB) -> None:
    assert names_by_settings(own_mariadb) == (("冷库一号",),)


def test_mariadb_restarts_with_its_data_on_the_same_port(own_mariadb: MariaDB) -> None:
    port = own_mariadb.port
    for end in (own_mariadb.stop, own_mariadb.kill):
        end()
        with pytest.raises(pymysql.err.OperationalError):
            names(own_mariadb)
        own_mariadb.start()
        assert names(own_mariadb) == [("冷库一号",)]
        assert own_mariadb.port == port


def test_frozen_mariadb_answers_nothing_until_it_is_thawed(own_mariadb: MariaDB) -> None:
    own_mariadb.freeze()
    with pytest.raises(pymysql.err.OperationalError):
        names_by_settings(own_mariadb, read_timeout=0.5)
    own_mariadb.thaw()
    assert names(own_mariadb) == [("冷库一号",)]


def test_redis_restarts_with_its_data_on_the_same_port(own_redis: Redis) -> None:
    port = own_redis.port
    for end in (own_redis.stop, own_redis.kill):
        end()
        with pytest.raises(ConnectionRefusedError):
            own_redis.execute("PING")
        own_redis.start()
        assert own_redis.execute("GET name").split() == ["$5", "value"]
        assert own_redis.port == port


def test_frozen_redis_answers_nothing_until_it_is_thawed(own_redis: Redis) -> None:
    own_redis.freeze()
    with pytest.raises(TimeoutError):
        own_redis.execute("PING")
    own_redis.thaw()
    assert own_redis.execute("PING") == "+PONG"


def test_ci_permits_only_the_skip_without_cold_store_data() -> None:
    permitted = re.search(r'^PERMITTED = "(.*)"$', (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert permitted
    assert permitted[1] in (ROOT / "tests" / "conftest.py").read_text()


@pytest.mark.services
@pytest.mark.parametrize("service", ["own_mariadb", "own_redis"])
def test_nothing_is_left_after_clean_up(service: str, request: pytest.FixtureRequest) -> None:
    server: MariaDB | Redis = request.getfixturevalue(service)
    pid = server.pid
    server.cleanup()
    assert not is_alive(pid)
    assert not server.directory.exists()


@pytest.mark.services
def test_a_server_ends_when_its_test_process_is_killed() -> None:
    script = "from tests.support.services.redis import Redis; r = Redis().start(); print(r.pid, r.directory); input()"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tests:
        assert tests.stdout is not None
        pid, directory = tests.stdout.readline().decode().split()
        tests.kill()
    wait_until(lambda: not is_alive(int(pid)) and not Path(directory).exists())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
