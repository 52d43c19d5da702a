"""Killed at random moments while alarms come and go: what becomes of them is what would have become of them."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import pytest

from tests.clients import Refused, connected
from tests.judged import RULES, Course, Episode, holder, is_done, kept, outcome, some, steps, without
from tests.services.mariadb import MariaDB
from tests.serving import Serve, StorewatchServer
from tests.serving_inside import until
from tests.sites import Site, site

LONGEST_LIFE_S = 2.0  # of a server that judges, or of one that waits to
WAITING = 0.2  # of the kills meet a server that does not judge yet
PACE_S = 0.1  # between two steps of the course, while servers are killed
LONG_S = 120.0  # only what never happens takes so long
PERSON = "李 Li"


class Size(NamedTuple):
    """How often the server is killed, and how much happens meanwhile."""

    kills: int
    steps: int


SHORT, FULL = Size(5, 200), Size(100, 3_000)


@pytest.fixture
def sites(mariadb: MariaDB, request: pytest.FixtureRequest) -> Iterator[list[Site]]:
    names = [f"kills_{random.randrange(10**9)}_{number}" for number in range(2)]
    for name in names:
        mariadb.create_database(name)
    with site(mariadb.settings(names[0])) as one, site(mariadb.settings(names[1])) as other:
        for built, name in ((one, names[0]), (other, names[1])):
            built.settings = {"database": mariadb.settings(name), "poll_interval": 0.1, "rules": RULES}
        yield [one, other]


@pytest.mark.parametrize(
    "size", [pytest.param(SHORT, id="short"), pytest.param(FULL, id="full", marks=pytest.mark.faults)]
)
async def test_a_server_killed_at_random_moments_comes_to_the_same_alarms_and_acknowledgements(
    size: Size, sites: list[Site], serve: Serve
) -> None:
    course = Course(size.steps, seed=7)
    undisturbed, disturbed = sites
    for built in sites:
        course.add_sensors(built)
    async with serve(undisturbed.settings) as server:
        await play(course, undisturbed, server, 0)
    async with serve(disturbed.settings) as server, killing(disturbed, server, size.kills) as killed:
        await play(course, disturbed, server, PACE_S)
        await killed
    assert outcome(disturbed) == outcome(undisturbed)
    assert without(outcome(undisturbed)) == course.episodes()
    assert any(one.acknowledged_by == PERSON for one in outcome(disturbed))
    for told in (steps(built) for built in sites):
        assert all(transitions[0] in ("pending", "raised") for transitions in told.values())
    assert told_of(disturbed) == told_of(undisturbed)


def told_of(built: Site) -> set[tuple[str, str, Any, tuple[str, ...]]]:
    """What those who watch were told of each alarm of the sensor whose readings come in time."""
    told = steps(built)
    return {
        (str(one.sensor_name), one.kind, one.since, tuple(told[one.alarm_id]))
        for one in kept(built)
        if one.sensor_name == "rack"
    }


async def play(course: Course, built: Site, server: StorewatchServer, pace_s: float) -> None:
    """Commit the course step by step; some of the alarms are acknowledged as soon as they are raised."""
    seen = {course.step_of(one.raised): one for one in some(course.episodes(), "rack", 3)}
    for step in range(course.length):
        await asyncio.to_thread(built.add_all, course.rows(built, step))
        if step in seen:
            await acknowledge(built, server, seen[step])
        await asyncio.sleep(pace_s)
    await until(lambda: is_done(built), LONG_S)
    with suppress(TimeoutError):  # what the passing of time brings about comes a little later
        await until(lambda: without(outcome(built)) == course.episodes())


async def acknowledge(built: Site, server: StorewatchServer, episode: Episode) -> None:
    def raised() -> list[Any]:
        return [
            one.alarm_id
            for one in kept(built)
            if (one.sensor_name, one.kind, one.since) == (episode.sensor_name, episode.kind, episode.since)
            and one.state != "pending"
        ]

    await until(raised, LONG_S)
    question = {"alarm_id": raised()[0], "by": PERSON}
    async with asyncio.timeout(LONG_S):
        while True:
            with suppress(Refused, TimeoutError, OSError):
                async with connected("python", server.url) as client:
                    answer = await client.call("ackAlarm", question, timeout=3)
                    if answer["ok"]:
                        return
                    assert answer["error"]["code"] == "unavailable", answer
            await asyncio.sleep(0.1)


@asynccontextmanager
async def killing(built: Site, server: StorewatchServer, kills: int) -> AsyncIterator["asyncio.Task[None]"]:
    """Kill the server so often, each time at a random moment of its life, and start it again."""

    async def kill() -> None:
        moments, before = random.Random(11), ""
        for _ in range(kills):
            if moments.random() > WAITING:
                await until(lambda: holder(built) != before, LONG_S)  # noqa: B023 - it is awaited here
            await asyncio.sleep(moments.uniform(0, LONGEST_LIFE_S))
            before = holder(built)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)

    task = asyncio.create_task(kill())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
