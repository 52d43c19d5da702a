"""The overview contains a summary of each storehouse. Watching clients get a push when a summary changes."""

import asyncio
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

import globals
from access.guard import PushGuard
from ask import answers
from ask.answers import Alarm, Env, Organisation, Quality, Storehouse
from ask.journal import Transition
from ask.readings import Key, Reading
from ask.sensors import Sensor
from ask.visibility import EVERYTHING
from live.newest import Newest
from live.overview_feed import OverviewFeed
from live.storehouse_feed import Outages
from live.storehouse_summary import selected_envs, storehouse_summary
from tests.support.clients import HANG, Client, connected
from tests.support.serving_inside import serving_inside, until
from tests.support.sites import Site
from tests.support.sites import site as site_of_ours
from transport.recipients import Recipients

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
COLD = Storehouse(1, "Cold", 1, "UTC")


def env(sensor_id: int, value: float | None, metric: str = "temperature", quality: Quality = "good") -> Env:
    return Env(sensor_id, f"Sensor {sensor_id}", metric, "", value, NOW + sensor_id * HOUR, quality)


def alarm(sensor_id: int, severity: str = "warning", *, store_house_id: int = 1, **other: Any) -> Alarm:
    about = (sensor_id, store_house_id, sensor_id, None, None, "high", severity, "active", False, 9.0, 5.0, NOW, None)
    return msgspec.structs.replace(Alarm(*about), **other)


# Summary of a storehouse


@pytest.mark.parametrize(
    ("envs", "alarms", "state"),
    [
        ([env(1, 5.0)], [], "good"),
        ([], [], "empty"),
        ([env(1, 5.0), env(2, 4.0, quality="stale")], [], "stale"),
        ([env(1, 5.0), env(2, None, quality="bad")], [], "stale"),
        ([env(1, 5.0, quality="stale")], [alarm(1, "info")], "info"),
        ([env(1, 5.0)], [alarm(1, "info"), alarm(2, "critical"), alarm(3)], "critical"),
        ([env(1, 5.0)], [alarm(1, "严重")], "warning"),
    ],
)
def test_the_state_is_the_worst_of_alarms_and_readings(envs: list[Env], alarms: list[Alarm], state: str) -> None:
    assert storehouse_summary(COLD, envs, alarms, []).state == state


def test_open_and_unacknowledged_alarms_are_counted() -> None:
    summary = storehouse_summary(
        COLD, [], [alarm(1), alarm(2, "critical", acknowledged=True), alarm(3, "info")], []
    ).alarms
    assert summary == answers.OpenAlarms(3, 2, "critical")


@pytest.mark.parametrize(
    ("envs", "alarmed", "expected"),
    [
        ([env(1, -20.0), env(2, -14.0), env(3, -21.0)], set(), [2]),
        ([env(1, 4.0), env(2, -9.0), env(3, 4.5)], set(), [2]),
        ([env(1, 4.0), env(2, 5.0)], set(), [2]),  # if both are equally far from the median, the higher value
        ([env(1, 4.0), env(2, 5.0), env(3, -9.0)], {1}, [1]),
        ([env(1, 40.0, quality="stale"), env(2, 5.0)], {1}, [2]),  # a stale reading is not chosen
        ([env(1, 40.0, quality="stale"), env(2, None, quality="bad")], set(), [2]),  # if none is good, the newest
        ([env(n, 1.0, f"metric {n}") for n in range(1, 7)], {6}, [6, 1, 2, 3]),
    ],
)
def test_the_most_relevant_reading_of_each_metric_is_shown(
    envs: list[Env], alarmed: set[int | str], expected: list[int]
) -> None:
    assert [selected_env.sensor_id for selected_env in selected_envs(envs, alarmed)] == expected


# Pushes, which the emit function only records


class Questions:
    """A stand-in for the database queries. It returns two organisations and no history."""

    async def organisations(self) -> list[Organisation]:
        return [Organisation(1, "One"), Organisation(2, "Two")]

    async def sparks(self, sensors: Sequence[Sensor], /) -> dict[Key, list[float | None]]:
        return {}


@dataclass
class Hall:
    """An overview of two organisations, each with one storehouse and one sensor."""

    now: datetime = NOW
    lost: bool = False
    unrecorded: bool = False
    pushed: list[tuple[Any, Hashable, list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.newest = Newest()
        self.know(COLD, Storehouse(2, "Dry", 2, "UTC"))
        self.overview = OverviewFeed(
            Questions(),
            self.newest,
            self._push,
            lambda: self.now,
            lambda: Outages(self.lost, self.unrecorded),
            self._refresh_owners,
            PushGuard(self.newest),
        )

    def know(self, *storehouses: Storehouse) -> None:
        sensors = [Sensor(number, number, "", "light", "lx", 60, (number, None)) for number in (1, 2)]
        self.newest.set_directory(storehouses, sensors, self.now)

    def read(self, sensor_id: int, value: float) -> None:
        self.newest.add_readings([Reading(sensor_id, None, self.now, value)], self.now)

    async def tick(self) -> list[tuple[int, bool, list[str]]]:
        """Push the changes of the overview. Return the organisation, the stale flag and the rooms of each push."""
        self.pushed.clear()
        await self.overview.push()
        return [(data["organisations"][0]["org_id"], data["stale"], rooms) for data, _, rooms in self.pushed]

    def answer(self) -> dict[str, Any]:
        return dict(msgspec.json.decode(msgspec.json.encode(self.overview.answer(EVERYTHING))))

    async def _refresh_owners(self) -> None:
        pass

    async def _push(self, event: str, data: object, recipients: Recipients, key: Hashable = None) -> None:
        assert event == "overview"
        self.pushed.append((msgspec.json.decode(msgspec.json.encode(data)), key, recipients.rooms))


@pytest.fixture
async def hall() -> Hall:
    hall = Hall()
    await hall.overview.refresh_organisations()
    hall.overview.watch("a", EVERYTHING)
    hall.overview.watch("b", EVERYTHING)
    return hall


async def test_a_new_watcher_gets_everything_once_in_the_answer(hall: Hall) -> None:
    assert [organisation["org_id"] for organisation in hall.answer()["organisations"]] == [1, 2]
    assert await hall.tick() == []


async def test_only_a_changed_organisation_is_pushed_and_only_once(hall: Hall) -> None:
    hall.read(1, 5.0)
    hall.read(1, 5.0)
    assert await hall.tick() == [(1, False, ["ROOM_a", "ROOM_b"])]
    assert hall.pushed[0][1] == ("overview", 1)  # pushes with the same key are coalesced for a slow client
    assert hall.pushed[0][0]["organisations"][0]["storehouses"][0]["envs"][0]["value"] == 5.0
    assert await hall.tick() == []
    hall.now += timedelta(minutes=4)
    hall.newest.gone_stale(hall.now)
    assert await hall.tick() == [(1, False, ["ROOM_a", "ROOM_b"])]


async def test_an_answer_in_between_prevents_no_push(hall: Hall) -> None:
    hall.read(2, 5.0)
    hall.answer()
    assert [org_id for org_id, _, _ in await hall.tick()] == [2]


async def test_a_client_that_left_gets_no_more_pushes(hall: Hall) -> None:
    hall.overview.leave("a")
    hall.overview.leave("never there")
    hall.read(1, 5.0)
    assert await hall.tick() == [(1, False, ["ROOM_b"])]
    hall.overview.leave("b")
    hall.read(1, 6.0)
    assert await hall.tick() == []
    hall.overview.watch("c", EVERYTHING)
    assert hall.answer()["organisations"][0]["storehouses"][0]["envs"][0]["value"] == 6.0


async def test_a_database_outage_is_pushed_for_every_organisation(hall: Hall) -> None:
    hall.lost = True
    assert sorted(await hall.tick()) == [(1, True, ["ROOM_a", "ROOM_b"]), (2, True, ["ROOM_a", "ROOM_b"])]
    assert await hall.tick() == []
    hall.lost = False
    assert [stale for _, stale, _ in await hall.tick()] == [False, False]


async def test_added_removed_moved_and_renamed_storehouses_are_shown(hall: Hall) -> None:
    hall.know(msgspec.structs.replace(COLD, store_house_name="Colder"), Storehouse(2, "Dry", 2, "UTC"))
    assert [org_id for org_id, _, _ in await hall.tick()] == [1]
    hall.know(Storehouse(2, "Dry", 1, "UTC"))
    assert sorted(org_id for org_id, _, _ in await hall.tick()) == [1, 2]
    told = {organisation["org_id"]: organisation for organisation in hall.answer()["organisations"]}
    assert [storehouse["store_house_name"] for storehouse in told[1]["storehouses"]] == ["Dry"]
    assert told[2] == {"org_id": 2, "org_name": "Two", "storehouses": []}
    hall.know(COLD, Storehouse(2, "Dry", 3, "UTC"))  # the list of organisations does not contain organisation 3
    assert [organisation["org_id"] for organisation in hall.answer()["organisations"]] == [1, 2, 3]


async def test_each_alarm_transition_updates_the_counts(hall: Hall) -> None:
    async def told(*alarms: Alarm) -> dict[str, Any]:
        hall.pushed.clear()
        await hall.overview.add_transitions([Transition(number, alarm) for number, alarm in enumerate(alarms)])
        (data, _, _), *_ = hall.pushed
        return dict(data["organisations"][0]["storehouses"][0]["alarms"])

    await hall.overview.add_transitions([Transition(1, alarm(7, state="pending"))])
    assert hall.pushed == []
    assert await told(alarm(7)) == {"open": 1, "unacknowledged": 1, "worst": "warning"}
    assert await told(alarm(7, "critical"), alarm(8)) == {"open": 2, "unacknowledged": 2, "worst": "critical"}
    assert await told(alarm(7, "critical", acknowledged=True)) == {
        "open": 2,
        "unacknowledged": 1,
        "worst": "critical",
    }
    assert await told(alarm(7, "critical", state="cleared", cleared=NOW)) == {
        "open": 1,
        "unacknowledged": 1,
        "worst": "warning",
    }


# With a running server


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Site]:
    with site_of_ours({"path": str(tmp_path / "own.db")}) as built:
        yield built


def settings(ours: Site) -> dict[str, Any]:
    return {"database": {"path": ours.database.settings.path}, "poll_interval": 0.05}


async def shown(client: Client, condition: Any) -> dict[str, Any]:
    """Wait for a push in which the storehouse `north` satisfies the condition. Return the storehouse."""
    while True:
        for organisation in (await client.next("overview"))["organisations"]:
            for storehouse in organisation["storehouses"][:1]:
                if condition(storehouse):
                    return dict(storehouse)


def sparks(client: Client) -> list[list[float | None]]:
    """Return the sparklines of the first storehouse in all pushes so far. Leave out sparklines without a value."""
    told = [
        organisation
        for push in client.received("overview")
        for organisation in push["organisations"]
        if organisation["storehouses"]
    ]
    return [
        organisation["storehouses"][0]["spark"] for organisation in told if any(organisation["storehouses"][0]["spark"])
    ]


@pytest.mark.slow
async def test_the_overview_sends_everything_and_then_pushes_changes(ours: Site) -> None:
    now = datetime.now(UTC)
    ours.raise_alarm("temperature", now - HOUR, severity="critical")
    async with serving_inside(settings(ours)) as inside, connected("python", inside.url) as client:
        answer = (await client.call("overview"))["data"]
        assert await client.next("overview") == answer
        assert answer["stale"] is False
        owner, idle = answer["organisations"]
        assert idle == {"org_id": ours.ids["idle"], "org_name": "Idle", "storehouses": []}
        assert [storehouse["store_house_name"] for storehouse in owner["storehouses"]] == ["一号库", "South"]
        summary = await shown(client, lambda summary: summary["alarms"]["open"] == 1)
        assert (summary["state"], summary["alarms"]) == (
            "critical",
            {"open": 1, "unacknowledged": 1, "worst": "critical"},
        )
        assert summary["time_zone"] == "Asia/Shanghai"
        assert (summary["envs"][0]["metric"], summary["envs"][0]["value"]) == ("temperature", 4.5)
        ours.add("temperature", 7.25)
        await shown(client, lambda summary: summary["envs"][0]["value"] == 7.25)
        ours.execute(f"UPDATE alarm SET state = 'cleared', cleared = '{now:%Y-%m-%d %H:%M:%S}'")
        await shown(
            client, lambda summary: summary["alarms"]["open"] == 0 and summary["state"] == "stale"
        )  # the door has no reading
        await until(lambda: any(sparks(client)), HANG)
        assert {len(spark) for spark in sparks(client)} == {24}


@pytest.mark.slow
async def test_open_alarms_are_known_after_a_restart(ours: Site) -> None:
    ours.raise_alarm("temperature", datetime.now(UTC) - HOUR)
    async with serving_inside(settings(ours)) as inside, connected("python", inside.url) as client:
        await client.call("overview")
        await shown(client, lambda summary: summary["alarms"]["open"] == 1)
    async with serving_inside(settings(ours)) as inside, connected("python", inside.url) as client:
        answer = (await client.call("overview"))["data"]
        assert answer["organisations"][0]["storehouses"][0]["alarms"]["open"] == 1


async def test_a_client_that_left_the_overview_gets_no_push(ours: Site) -> None:
    async with (
        serving_inside(settings(ours)) as inside,
        connected("python", inside.url) as watching,
        connected("python", inside.url) as other,
    ):
        await watching.call("overview")
        await other.call("overview")
        assert await other.call("leaveOverview") == {"ok": True, "data": None}
        told = len(other.received("overview"))
        ours.add("temperature", 8.0)
        await shown(watching, lambda summary: summary["envs"][0]["value"] == 8.0)
        await other.call("orgs")  # all earlier pushes arrive before this answer
        assert len(other.received("overview")) == told


@pytest.mark.slow
@pytest.mark.parametrize("last", ["overview", "leaveOverview"])
async def test_a_disconnected_client_watches_nothing(ours: Site, last: str) -> None:
    async with serving_inside(settings(ours)) as inside:
        async with connected("python", inside.url) as client:
            for event in ("overview", "leaveOverview", "overview", last):
                await client.call(event)
            assert len(inside.server.services.overview_feed.watchers) == (last == "overview")
        await until(lambda: not globals.clients)
        assert inside.server.services.overview_feed.watchers == ()


async def test_a_client_that_disconnects_before_its_answer_watches_nothing(
    ours: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving_inside(settings(ours)) as inside:
        overview = inside.server.services.overview_feed
        asked, ended, refreshed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        refresh = overview.refresh_organisations

        async def refresh_late() -> None:
            asked.set()
            await ended.wait()
            await refresh()
            refreshed.set()

        monkeypatch.setattr(overview, "refresh_organisations", refresh_late)
        async with connected("python", inside.url) as client:
            await client.emit("overview")
            await asked.wait()
        await until(lambda: not globals.clients)
        ended.set()
        await refreshed.wait()
        await asyncio.sleep(0.1)  # gives the server time to finish the answer
        assert overview.watchers == ()
