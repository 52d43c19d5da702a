"""Every process finds out whether alarms are being recorded. The time of these tests is simulated."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from alarm_service import recording
from alarm_service.recording import LIMIT_S, Recording
from db import tables
from db.database import Database
from db.limits import LEASE_LIMITS
from errors import Unavailable
from record import lease
from tests.support.sites import site


class Elapsed:
    """A monotonic clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def elapsed(monkeypatch: pytest.MonkeyPatch) -> Elapsed:
    clock = Elapsed()
    monkeypatch.setattr(recording, "time", clock)
    return clock


@pytest.fixture
def state(each_database: dict[str, Any]) -> Iterator[Database]:
    with site(each_database) as built:
        database = Database(built.database.settings, LEASE_LIMITS, 2, writes=True)
        yield database
        database.close()


def process(state: Database, holder: str) -> tuple[Recording, list[bool]]:
    changes: list[bool] = []

    async def changed(is_working: bool) -> None:
        changes.append(is_working)

    return Recording(state, "alarm journal", holder, changed), changes


async def pass_time(elapsed: Elapsed, seconds: float, *processes: Recording) -> None:
    """Let each process watch and check every half second."""
    for _ in range(round(seconds / 0.5)):
        elapsed.now += 0.5
        for each in processes:
            await each.watch()
            await each.check()


async def test_all_processes_report_a_judge_that_cannot_write(state: Database, elapsed: Elapsed) -> None:
    (judge, told), (other, other_told) = process(state, "judge"), process(state, "other")
    await pass_time(elapsed, 10.0, judge, other)
    assert (told, other_told) == ([], [])
    with pytest.raises(Unavailable), judge.attempt("judge"):
        raise Unavailable("the table is full")
    await pass_time(elapsed, LIMIT_S, judge, other)
    assert (told, other_told) == ([], [])
    await pass_time(elapsed, 1.0, judge, other)
    assert (told, other_told) == ([False], [False])
    with judge.attempt("judge"):
        pass
    await pass_time(elapsed, 1.0, judge, other)
    assert (told, other_told) == ([False, True], [False, True])


async def test_a_pause_of_the_process_is_no_fault(state: Database, elapsed: Elapsed) -> None:
    judge, told = process(state, "judge")
    await pass_time(elapsed, 2.0, judge)
    attempt = asyncio.create_task(judge.watch())
    await asyncio.sleep(0)  # the attempt begins, and the process pauses before its end
    elapsed.now += 600.0
    await judge.check()
    await attempt
    await pass_time(elapsed, 2.0, judge)
    assert told == []


async def test_another_process_clears_the_failure_of_the_last_judge(state: Database, elapsed: Elapsed) -> None:
    (first, told), (second, _) = process(state, "first"), process(state, "second")
    with pytest.raises(Unavailable), first.attempt("judge"):
        raise Unavailable("the table is full")
    await second.watch()  # it gets the lease first
    await pass_time(elapsed, 10.0, second, first)
    assert told == []


@pytest.mark.parametrize("waits", [True, False])
def test_an_abandoned_lease_is_reserved_only_if_its_holder_has_unrecorded_work(waits: bool, state: Database) -> None:
    def acquire(holder: str) -> lease.HeldLease | None:
        with state.engine.begin() as connection:
            return lease.acquire(connection, "work", holder, waits=waits)

    held = acquire("ended")
    assert held is not None
    an_hour_ago = held.now - timedelta(hours=1)
    with state.engine.begin() as connection:
        earlier = {"begun": an_hour_ago - timedelta(hours=1), "expires": an_hour_ago}
        connection.execute(sa.update(tables.lease).where(tables.lease.c.lease_name == "work").values(earlier))
    assert (acquire("next") is None) is waits
