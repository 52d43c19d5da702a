"""One process at a time is the judge, which evaluates the alarm rules.

If another process becomes the judge, it continues where the previous judge stopped.
"""

import asyncio
import math
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

import ask.episodes
import record.readings
import record.sites
from alarm_service.judge_term import JudgeTerm
from alarm_service.sensor_states import SensorStates
from alarm_service.site_alarms import LEASE
from alarms.model import Episode
from ask import Ask
from ask.answers import Alarm
from ask.readings import Reading
from db import tables
from db.limits import Limits
from live.source import Position
from record import episode_actions, lease
from record.episode_rows import identity
from record.episodes import WrittenEpisode
from tests.support import marks
from tests.support.clients import Client, connected
from tests.support.judged import RULES, Course, holder, is_done, kept, outcome, steps, without
from tests.support.serving import Serve
from tests.support.serving_inside import serving_inside, until
from tests.support.sites import Site, site
from tests.test_several_processes import beside

FAST = {"poll_interval": 0.1}
TAKEN_OVER_S = 5.0
BREACHES = 20
LONG_S = 60.0  # a wait takes this long only if the test fails
QUICK: list[dict[str, Any]] = [
    {
        "scope": {"metric": "temperature"},
        "high": {"limit": 5, "delay": 2, "reopen": 0},
        "high_high": {"limit": 8, "reopen": 0},
    },
    {"scope": {"metric": "door"}, "switch": {"limit": 1, "delay": 1, "severity": "warning"}},
]


@pytest.fixture
def built(each_database: dict[str, Any]) -> Iterator[Site]:
    with site(each_database) as site_built:
        site_built.settings = {"database": each_database, "rules": QUICK} | FAST
        yield site_built


@pytest.fixture
async def north(mariadb_database: dict[str, Any]) -> AsyncIterator[Site]:
    with site(mariadb_database) as site_built:
        site_built.settings = {"database": mariadb_database, "rules": QUICK} | FAST
        yield site_built


def now() -> datetime:
    """Return the current time, rounded to milliseconds like the times of alarms."""
    return datetime.fromtimestamp(round(datetime.now(UTC).timestamp(), 3), UTC)


def ago(seconds: float) -> datetime:
    return now() - timedelta(seconds=seconds)


def transitions(built: Site) -> list[list[str]]:
    """Return one list of transitions per alarm. The alarms are ordered by their first transition."""
    return list(steps(built).values())


async def become(built: Site, wanted: list[list[str]]) -> None:
    """Wait until the alarms have exactly the given transitions."""
    with suppress(TimeoutError):
        await until(lambda: transitions(built) == wanted, LONG_S)
    assert transitions(built) == wanted, kept(built)


async def stands(built: Site, *wanted: str) -> Alarm:
    """Wait until the newest alarm has exactly the given transitions. Return the alarm."""
    with suppress(TimeoutError):
        await until(lambda: transitions(built)[-1:] == [list(wanted)], LONG_S)
    assert transitions(built)[-1:] == [list(wanted)], kept(built)
    return kept(built)[-1]


async def judges(built: Site, other_than: str = "") -> str:
    """Wait until a process other than `other_than` evaluates alarm rules. Return the name of the process."""
    await until(lambda: holder(built) not in ("", other_than), LONG_S)
    return holder(built)


@pytest.mark.parametrize(
    ("frozen_s", "taken_over_s", "steps_of_readings"),
    [  # `frozen_s` is longer than the lease plus the time of a takeover
        pytest.param(6.0, LONG_S, 100, id="short"),
        pytest.param(10.0, TAKEN_OVER_S, 150, id="full", marks=marks.TIMED_FAULTS),
    ],
)
async def test_a_frozen_and_resumed_judge_loses_or_doubles_nothing(
    frozen_s: float, taken_over_s: float, steps_of_readings: int, north: Site, serve: Serve
) -> None:
    course = Course(steps_of_readings, seed=3)
    course.add_sensors(north)
    settings = north.settings | {"rules": RULES}
    async with serve(settings) as first, AsyncExitStack() as running:
        judge_loop = await judges(north)
        await running.enter_async_context(serve(settings))
        for step in range(course.length):
            await asyncio.to_thread(north.add_all, course.rows(north, step))
            await asyncio.sleep(0.1)
            if step == 40:
                first.freeze()
                until_thawed = asyncio.create_task(asyncio.sleep(frozen_s))
                await until(lambda: holder(north) != judge_loop, taken_over_s)
        await until_thawed
        first.thaw()
        await until(lambda: is_done(north), LONG_S)
        await until(lambda: without(outcome(north)) == course.episodes(), LONG_S)
    assert len(kept(north)) == len({(alarm.sensor_name, alarm.kind, alarm.since) for alarm in kept(north)})
    for told in transitions(north):
        assert told[0] in ("pending", "raised")
        assert told.count("raised") <= 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_delay_continues_across_a_restart(number: signal.Signals, built: Site, serve: Serve) -> None:
    async with serve(built.settings) as server:
        await judges(built)
        built.add("door", 1.0, opened := now())
        built.add("temperature", 6.0, ago(1))
        await until(lambda: len(transitions(built)) == 2, LONG_S)
        await asyncio.to_thread(server.kill if number == signal.SIGKILL else server.stop)
        built.add("temperature", 6.5, warm := ago(-1.5))
        await asyncio.to_thread(server.start)
        await become(built, [["pending", "raised"]] * 2)
        raised = {alarm.metric: alarm.raised for alarm in kept(built)}
        assert raised == {"door": opened + timedelta(seconds=1), "temperature": warm}


@pytest.mark.slow
async def test_readings_during_downtime_are_judged_by_their_own_time(built: Site, serve: Serve) -> None:
    async with serve(built.settings) as server:
        await judges(built)
        await snapshot_taken(built)
        await server.terminate()
        began = ago(9)
        built.add("temperature", 9.0, began)
        built.add("temperature", 3.0, ago(1))
        await asyncio.to_thread(server.start)
        alarm = await stands(built, "raised", "cleared")
        assert abs(alarm.raised - began) < timedelta(milliseconds=1)
        assert (alarm.severity, alarm.peak, alarm.late) == ("critical", 9.0, False)


async def snapshot_taken(built: Site, other_than: Sequence[Any] = ()) -> Sequence[Any]:
    def heads() -> Sequence[Any]:
        with built.database.engine.connect() as connection:
            return connection.execute(sa.select(tables.judge_snapshot).where(tables.judge_snapshot.c.part == 0)).all()

    await until(lambda: heads() not in ([], other_than), LONG_S)
    return heads()


@pytest.mark.slow
async def test_a_judge_restarted_from_a_snapshot_writes_new_snapshots(
    built: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving_inside(built.settings):
        first = await snapshot_taken(built)
        monkeypatch.setattr("alarm_service.judge_input.MOST_WAITING", 0)
        built.add("temperature", 9.0)
        await stands(built, "raised")
        monkeypatch.undo()
        await snapshot_taken(built, first)


@pytest.mark.slow
async def test_an_unreadable_snapshot_loses_no_alarm(built: Site, serve: Serve) -> None:
    async with serve(built.settings) as server:
        built.add("temperature", 9.0)
        await stands(built, "raised")
        await snapshot_taken(built)
        await server.terminate()
        built.execute("UPDATE judge_snapshot SET content = 'x'")
        await asyncio.to_thread(server.start)
        built.add("temperature", 3.0)
        await stands(built, "raised", "cleared")


async def test_readings_during_the_judges_start_are_judged_in_order(
    built: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = Course(100, seed=2)
    course.add_sensors(built)
    rows = [row for step in range(course.length) for row in course.rows(built, step)]
    halves = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    newest = Ask.newest

    async def after_more_have_come(asking: Ask) -> list[Reading]:
        # The first call comes from the server when it starts to track readings. The next call comes from the judge.
        if halves:
            await asyncio.to_thread(built.add_all, halves.pop(0))
        return await newest(asking)

    monkeypatch.setattr(Ask, "newest", after_more_have_come)
    async with serving_inside(built.settings | {"rules": RULES}):
        await until(lambda: is_done(built), LONG_S)
        with suppress(TimeoutError):  # a door's alarm is cleared by passing time, a little later
            await until(lambda: outcome(built) == course.episodes(), LONG_S)
    assert outcome(built) == course.episodes()
    assert last_told(built) >= {(each.sensor_name, each.kind, each.raised, each.cleared) for each in course.episodes()}


def last_told(built: Site) -> set[tuple[Any, ...]]:
    """Return the sensor, kind, `raised` and `cleared` of each alarm.

    The values come from the alarm's last transition in the journal.
    """
    journal = tables.alarm_journal.c
    with built.database.engine.connect() as connection:
        rows = connection.scalars(sa.select(journal.alarm).order_by(journal.transition_id)).all()
    last = {alarm.alarm_id: alarm for alarm in (msgspec.json.decode(row, type=Alarm) for row in rows)}
    return {(alarm.sensor_name, alarm.kind, alarm.raised, alarm.cleared) for alarm in last.values()}


@pytest.mark.slow
async def test_a_late_reading_moves_the_end_of_a_cleared_alarm(built: Site, serve: Serve) -> None:
    async with serve(built.settings):
        await judges(built)
        built.add("temperature", 9.0, ago(9))
        built.add("temperature", 3.0, ago(1))
        await stands(built, "raised", "cleared")
        built.add("temperature", 3.0, back := ago(5))
        await until(lambda: [alarm.cleared for alarm in kept(built)] == [back], LONG_S)
        assert transitions(built) == [["raised", "cleared"]]


@pytest.mark.slow
async def test_a_worsened_alarm_keeps_its_severity(built: Site, serve: Serve) -> None:
    async with serve(built.settings):
        await judges(built)
        built.add("temperature", 6.0, ago(9))
        built.add("temperature", 6.0, ago(6))
        await stands(built, "pending", "raised")
        rows = [(built.ids["temperature"], ago(3), 6.5), (built.ids["temperature"], ago(2), 9.0)]
        built.add_all([*rows, (built.ids["door"], now(), 1.0)])
        # Once the door's alarm is raised, all earlier refreshes have been written.
        await until(lambda: ["pending", "raised"] in transitions(built)[1:], LONG_S)
        worse = next(alarm for alarm in kept(built) if alarm.kind == "high")
        assert (worse.severity, worse.value, worse.peak) == ("critical", 9.0, 9.0)


async def test_a_late_alarm_that_worsens_becomes_current_and_critical(
    built: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alarm_service.judge_loop.POLL_S", 0.0)  # checks late alarms at each poll

    def high() -> Alarm:
        (alarm,) = (each for each in kept(built) if each.kind == "high")
        return alarm

    built.execute("DELETE FROM reading")
    settings = built.settings | {"rules": [QUICK[0] | {"no_data": "3m"}]}
    async with serving_inside(settings):
        built.add("temperature", 6.0, ago(600))
        built.add("temperature", 6.0, ago(590))
        await until(lambda: ["pending", "raised"] in transitions(built), LONG_S)
        assert high().late
    async with serving_inside(settings):
        await until(lambda: ["raised"] in transitions(built), LONG_S)  # a no-data alarm: the judge has started
        built.add("temperature", 9.0)
        await until(lambda: ["pending", "raised", "worsened"] in transitions(built), LONG_S)
        assert (high().severity, high().value, high().late) == ("critical", 9.0, False)


@pytest.mark.slow
async def test_the_first_reading_of_a_new_sensor_is_judged(built: Site, serve: Serve) -> None:
    async with serve(built.settings):
        await judges(built)
        with built.database.engine.begin() as connection:
            built.ids["new"] = record.sites.ensure_sensor(
                connection, built.ids["south"], "new", "temperature", interval_s=60
            )
        built.add("new", 9.0)
        assert (await stands(built, "raised")).sensor_name == "new"


async def test_a_reading_stored_before_its_sensor_is_judged_after_restart(
    built: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alarm_service.judge_snapshots.SNAPSHOT_S", 0.1)
    built.ids["new"] = max(built.ids[name] for name in ("temperature", "door", "far")) + 1
    async with serving_inside(built.settings):
        await judges(built)
        built.add("new", 9.0)
        await until(lambda: read_up_to(built) >= readings(built), LONG_S)
        assert kept(built) == []
    with built.database.engine.begin() as connection:
        made = record.sites.ensure_sensor(connection, built.ids["south"], "new", "temperature", interval_s=60)
    assert made == built.ids["new"]
    async with serving_inside(built.settings):
        assert (await stands(built, "raised")).sensor_name == "new"


def read_up_to(built: Site) -> int:
    """Return the id of the last reading that the judge's last snapshot includes, or -1 if there is no snapshot."""
    snapshot = tables.judge_snapshot.c
    with built.database.engine.connect() as connection:
        head = connection.scalar(sa.select(snapshot.content).where(snapshot.part == 0))
    return int(msgspec.json.decode(head)["position"]["known"]) if head else -1


def readings(built: Site) -> int:
    with built.database.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.max(tables.reading.c.reading_id))) or 0


async def test_a_rule_saved_in_any_process_reaches_the_judge(north: Site, serve: Serve) -> None:
    async with serve(north.settings) as first, serve(north.settings) as second:
        await judges(north)
        north.add("temperature", 6.0, ago(3))
        north.add("temperature", 6.0, ago(1))
        before = await stands(north, "pending", "raised")
        for server, limit in ((first, 7.0), (second, 6.5)):  # one of the two servers is not the judge
            async with connected("python", server.url) as client:
                await save_rules(client, limit)
        async with beside(adding(north, 6.2)):
            after = await stands(north, "pending", "raised", "cleared")
        assert (before.alarm_id, before.limit) == (after.alarm_id, 5.0)
        north.add("temperature", 6.7, ago(-3))
        await until(lambda: transitions(north)[1:] == [["raised"]], LONG_S)
        assert kept(north)[-1].limit == 6.5


async def adding(built: Site, value: float) -> None:
    """Add readings with this value until cancelled."""
    while True:
        await asyncio.to_thread(built.add, "temperature", value)
        await asyncio.sleep(0.2)


async def save_rules(client: Client, limit: float) -> None:
    rules = [{"scope": {"metric": "temperature"}, "high": {"limit": limit, "reopen": 0.0}}]
    answer = await client.call("saveRules", {"rules": rules, "by": "Li"})
    assert answer["ok"], answer
    assert answer["data"]["rules"] == rules


@pytest.mark.slow
async def test_no_data_is_raised_once_and_cleared_by_a_reading(built: Site, serve: Serve) -> None:
    rules = [{"scope": {"metric": "temperature"}, "no_data": 2, "high": 5}]
    async with serve(built.settings | {"rules": rules}):
        await judges(built)
        # This sensor has no readings yet: an earlier reading could start an alarm that would then continue.
        built.add("far", 9.0, last := now())
        await until(
            lambda: of_kinds(built, "Far") == {("no_data", last): ["raised"], ("high", last): ["raised"]}, LONG_S
        )
        built.add("far", 9.0)
        await until(lambda: of_kinds(built, "Far")["no_data", last][:2] == ["raised", "cleared"], LONG_S)
        assert of_kinds(built, "Far").keys() == {("no_data", last), ("high", last)}


def of_kinds(built: Site, sensor_name: str) -> dict[tuple[str, Any], list[str]]:
    """Return the transitions of each alarm of a sensor. The keys are the kind and the start of the alarm."""
    alarms = [alarm for alarm in kept(built) if alarm.sensor_name == sensor_name]
    told = steps(built)
    return {(alarm.kind, alarm.since): told[alarm.alarm_id] for alarm in alarms}


@pytest.mark.parametrize("number", [1, 2])
async def test_a_violation_during_closing_by_hand_is_a_new_alarm(number: int, built: Site, serve: Serve) -> None:
    rules = [{"scope": {"metric": "temperature"}, "high": 5}]
    async with serve(built.settings | {"rules": rules}):
        await judges(built)
        built.add("temperature", 9.0, ago(1))
        alarm = await stands(built, "raised")
        close_and_add(built, alarm, [(3.0, ago(0.5)), (9.5, again := ago(0.4))][:number])
        if number == 1:
            built.add("temperature", 9.5, again := now())
        await become(built, [["raised", "closed"], ["raised"]])
        assert [alarm.since for alarm in kept(built)] == [alarm.since, again]


@pytest.mark.parametrize(
    ("before", "changed", "missed", "wanted"),
    [
        pytest.param(
            [(1, 60), (0, 56), (0, 53)], (1, 50), (0, 49), ["raised", "cleared", "reopened", "cleared"], id="ends"
        ),
        pytest.param([(1, 60), (1, 57)], (0, 50), (1, 49), ["raised", "cleared", "reopened"], id="continues"),
    ],
)
async def test_a_reading_missed_by_the_last_judge_corrects_its_alarm(
    before: list[tuple[int, int]],
    changed: tuple[int, int],
    missed: tuple[int, int],
    wanted: list[str],
    built: Site,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the last snapshot, the passing of time changes an alarm. A late reading then shows that this was wrong.

    This reading arrives while no server runs. The readings are pairs of the value and the age in minutes.
    """

    def add(*readings: tuple[int, int]) -> None:
        sensor_id = built.ids["door"]
        built.add_all([(sensor_id, start - timedelta(minutes=minutes), float(value)) for value, minutes in readings])

    async def has_had(count: int) -> None:
        await until(lambda: [told for told in transitions(built) if told[-count:] == wanted[:count]], LONG_S)

    start = now()
    limit = {"limit": 1, "delay": "2m", "clear_delay": "2m"}
    settings = built.settings | {"rules": [{"scope": {"metric": "door"}, "switch": limit}]}
    async with serving_inside(settings):
        first = await snapshot_taken(built)
    add(*before)
    monkeypatch.setattr("alarm_service.judge_snapshots.SNAPSHOT_S", math.inf)  # one snapshot after the takeover
    async with serving_inside(settings):
        await snapshot_taken(built, first)
        await has_had(len(wanted) - 2)
        add(changed)
        await has_had(len(wanted) - 1)
    add(missed)
    async with serving_inside(settings):
        await has_had(len(wanted))


@pytest.mark.parametrize(("ahead_s", "is_reconciled"), [(0.0, True), (1.0, False), (3600.0, True)])
def test_a_judge_waits_for_the_clock_of_the_last_judge(ahead_s: float, is_reconciled: bool) -> None:
    term = JudgeTerm(1, SensorStates([], defaults=False), 0, Position())
    term.judged_until = 1000.0
    episode = Episode(1, (1, None), "switch", 900.0, (), 0, 1.0, 1.0)
    term.reconcile({identity(episode): WrittenEpisode(episode, 1000.0 + ahead_s)}, 1001.0)
    assert term.is_reconciled is is_reconciled


def close_and_add(built: Site, alarm: Alarm, readings: Sequence[tuple[float, datetime]]) -> None:
    """Close an alarm by hand and add readings in the same transaction.

    The judge then learns of the closing and of the readings at the same time.
    """
    number = ask.episodes.episode_id(alarm.alarm_id)
    assert number is not None
    with built.database.engine.begin() as connection:
        episode_actions.close(connection, number, "Li", "repaired", lease.lock(connection, LEASE))
        record.readings.add(connection, [(built.ids["temperature"], time, value) for value, time in readings])


async def test_a_storehouse_outage_is_the_cause_of_its_sensors_alarms(north: Site, serve: Serve) -> None:
    names = [f"rack {number}" for number in range(5)]
    with north.database.engine.begin() as connection:
        for name in names:
            sensor_id = record.sites.ensure_sensor(connection, north.ids["south"], name, "temperature", interval_s=60)
            north.ids[name] = sensor_id
    async with serve(north.settings | {"rules": [{"no_data": 3}]}):
        await judges(north)
        added = now()
        north.add_all([(north.ids[name], added, 4.0) for name in names])  # so that all fall silent at the same time
        await until(lambda: len(alarms_of_south(north)) == 6, LONG_S)
        cause = next(alarm for alarm in alarms_of_south(north) if alarm.sensor_id is None)
        await until(lambda: sum(alarm.cause == cause.alarm_id for alarm in alarms_of_south(north)) == 5, LONG_S)
        assert (cause.kind, cause.severity, cause.state) == ("no_data", "critical", "active")
        async with beside(adding_all(north, names[:4])):
            await until(lambda: cause_of(north).state == "cleared", LONG_S)


@pytest.mark.slow
@pytest.mark.parametrize("taken_over", [False, True], ids=["judging", "taken over"])
async def test_a_long_database_outage_is_one_alarm_of_all_storehouses(
    taken_over: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alarms.outages.DATABASE_OUTAGE_AFTER_S", 2.0)
    monkeypatch.setattr("app.databases.SLOW_LIMITS", Limits(statement=2.0))  # a takeover queries the failed database
    path, where = tmp_path / "site.db", {"path": str(tmp_path / "state.db")}
    with site({"path": str(path)}) as built:
        north = {"store_house_id": built.ids["north"]}
    settings = {"database": {"path": str(path), "map": {}}, "state": where} | FAST
    with site(where) as state, closing(sqlite3.connect(path, isolation_level=None)) as writer:
        # In WAL mode, no lock blocks readers. Storewatch's own files use WAL, but a site's file may use the older mode.
        writer.execute("PRAGMA journal_mode=DELETE")
        if taken_over:
            with state.database.engine.begin() as connection:
                lease.acquire(connection, LEASE, "another", timedelta(days=1))
        async with serving_inside(settings) as inside, connected("python", inside.url) as client:
            await client.call("register", north)
            if not taken_over:
                await snapshot_taken(state)
            writer.execute("BEGIN EXCLUSIVE")
            while taken_over and not (await client.next("envs", LONG_S))["stale"]:
                pass
            state.execute("UPDATE lease SET expires = begun WHERE holder = 'another'")
            (raised,) = (await client.next("alarms", LONG_S))["alarms"]
            writer.execute("ROLLBACK")
            (cleared,) = (await client.next("alarms", LONG_S))["alarms"]
    assert (raised["store_house_id"], raised["sensor_id"], raised["kind"]) == ("*", None, "no_data")
    assert (raised["transition"], raised["severity"], raised["limit"]) == ("raised", "critical", 2.0)
    assert duration(raised["since"], raised["raised"]) == 2.0
    assert (cleared["alarm_id"], cleared["transition"]) == (raised["alarm_id"], "cleared")


def duration(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def alarms_of_south(built: Site) -> list[Alarm]:
    return [alarm for alarm in kept(built) if alarm.store_house_id == built.ids["south"]]


def cause_of(built: Site) -> Alarm:
    return next(alarm for alarm in alarms_of_south(built) if alarm.sensor_id is None)


async def adding_all(built: Site, names: list[str]) -> None:
    """Add readings of these sensors until cancelled."""
    while True:
        for name in names:
            await asyncio.to_thread(built.add, name, 4.0)
        await asyncio.sleep(0.5)


async def test_processes_that_alternate_as_judge_write_nothing_twice(north: Site, serve: Serve) -> None:
    async with serve(north.settings), serve(north.settings):
        await judges(north)
        for value in (9.0, 3.0) * BREACHES:
            north.add("temperature", value)
            north.execute("UPDATE lease SET expires = begun")
            await asyncio.sleep(0.1)
        await become(north, [["raised", "cleared"]] * BREACHES)
        assert len(kept(north)) == BREACHES
