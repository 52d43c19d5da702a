"""If the server is killed at random moments, the alarms are the same as without kills."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.support.fault_results import RecordResult
from tests.support.judged import RULES, Course, is_done, kept, outcome, some, steps, without
from tests.support.kills import LONG_S, PACE_S, Size, acknowledge, in_both_sizes, killing, recovered
from tests.support.services.mariadb import MariaDB
from tests.support.serving import Serve, StorewatchServer
from tests.support.serving_inside import until
from tests.support.sites import Site, site


@pytest.fixture
def sites(mariadb: MariaDB) -> Iterator[list[Site]]:
    names = [f"kills_{random.randrange(10**9)}_{number}" for number in range(2)]
    for name in names:
        mariadb.create_database(name)
    with site(mariadb.settings(names[0])) as first, site(mariadb.settings(names[1])) as second:
        for built, name in ((first, names[0]), (second, names[1])):
            built.settings = {"database": mariadb.settings(name), "poll_interval": 0.1, "rules": RULES}
        yield [first, second]


@in_both_sizes
async def test_random_kills_change_no_alarm_and_no_acknowledgement(
    size: Size, sites: list[Site], serve: Serve, record_result: RecordResult
) -> None:
    course = Course(size.steps, seed=7)
    undisturbed, disturbed = sites
    for built in sites:
        course.add_sensors(built)
    async with (
        serve(undisturbed.settings) as quiet,
        serve(disturbed.settings) as server,
        killing(disturbed, server, size.kills) as killed,
    ):
        await asyncio.gather(play(course, undisturbed, quiet, 0), play(course, disturbed, server, PACE_S))
        await killed
        await recovered(disturbed, undisturbed)
    record_result("judge killed", kills=size.kills, alarms=len(outcome(disturbed)), expected=len(outcome(undisturbed)))
    assert outcome(disturbed) == outcome(undisturbed)
    assert without(outcome(undisturbed)) == course.episodes()
    for told in (steps(built) for built in sites):
        # A reopened alarm has lost its acknowledgement, so look for the transition.
        assert any("acknowledged" in transitions for transitions in told.values())
        assert all(transitions[0] in ("pending", "raised") for transitions in told.values())
    assert told_of(disturbed) == told_of(undisturbed)


def told_of(built: Site) -> set[tuple[str, str, Any, tuple[str, ...]]]:
    """Return the journal's transitions of each alarm of the sensor `rack`, whose readings are never late."""
    told = steps(built)
    return {
        (str(alarm.sensor_name), alarm.kind, alarm.since, tuple(told[alarm.alarm_id]))
        for alarm in kept(built)
        if alarm.sensor_name == "rack"
    }


async def play(course: Course, built: Site, server: StorewatchServer, pace_s: float) -> None:
    """Commit the generated readings minute by minute. Acknowledge some of the alarms as soon as they are raised."""
    seen = {course.step_of(episode.raised): episode for episode in some(course.episodes(), "rack", 3)}
    for step in range(course.length):
        await asyncio.to_thread(built.add_all, course.rows(built, step))
        if step in seen:
            await acknowledge(built, server, (seen[step].sensor_name, seen[step].kind, seen[step].since))
        await asyncio.sleep(pace_s)
    await until(lambda: is_done(built), LONG_S)
    with suppress(TimeoutError):  # passing time causes further changes a little later
        await until(lambda: without(outcome(built)) == course.episodes())
