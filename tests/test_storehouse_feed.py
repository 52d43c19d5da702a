"""Which clients of the storehouse feed get which push. A fake emit function records the pushes."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from access.caller import Caller
from access.guard import PushGuard
from access.user import User
from ask.answers import EVERYWHERE, Alarm, Alarms, AskError, Envs, Id, Storehouse
from ask.journal import Transition
from ask.readings import Reading
from ask.sensors import Sensor
from ask.visibility import EVERYTHING, Visibility
from globals import Clients
from live.newest import Newest
from live.storehouse_feed import StorehouseFeed, room
from transport.recipients import Recipients

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
NORTH, SOUTH = 1, 2


@dataclass
class FeedHarness:
    """A feed of two storehouses with one sensor each, the clients that watch them, and the recorded pushes."""

    clients: Clients = field(default_factory=Clients)
    visibilities: dict[str, Visibility] = field(default_factory=dict)
    now: datetime = NOW
    emitted: list[tuple[str, object, Recipients]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.newest = Newest()
        self.set_directory(NORTH, SOUTH)
        self.storehouse_feed = StorehouseFeed(
            self.newest, self._push, self.clients, lambda: self.now, PushGuard(self.newest), self._caller
        )

    def set_directory(self, *store_house_ids: int) -> set[Id]:
        storehouses = [Storehouse(store_house_id, "", 1, "UTC") for store_house_id in store_house_ids]
        sensors = [Sensor(number, number, "", "light", "lx", 60, (number, None)) for number in (1, 2)]
        return self.newest.set_directory(storehouses, sensors, self.now)

    async def read(self, sensor_id: int, value: float) -> None:
        await self.storehouse_feed.add_readings([Reading(sensor_id, None, self.now, value)])

    def pushed(self) -> list[tuple[Id, bool, list[str]]]:
        """Return the storehouse, the stale flag and the rooms of each recorded `envs`. Then clear the records."""
        pushed = [(data.store_house_id, data.stale, to.rooms) for _, data, to in self.emitted if isinstance(data, Envs)]
        self.emitted.clear()
        return pushed

    async def _caller(self, sid: str) -> Caller:
        return Caller(sid, User("", "watch", self.visibilities.get(sid, EVERYTHING)), "")

    async def _push(self, event: str, data: object, recipients: Recipients, key: Hashable = None) -> None:
        assert (event == "envs") == isinstance(data, Envs)
        self.emitted.append((event, data, recipients))


@pytest.fixture
def harness() -> FeedHarness:
    harness = FeedHarness()
    harness.clients.update({"a": NORTH, "b": SOUTH, "c": NORTH, "d": None})
    return harness


async def test_only_watchers_get_the_readings_in_one_message(harness: FeedHarness) -> None:
    await harness.read(1, 5.0)
    assert harness.pushed() == []  # the push comes at the end of the tick
    await harness.storehouse_feed.ticked(True)
    assert harness.pushed() == [(NORTH, False, [room("a"), room("c")])]


async def test_a_tick_without_changes_pushes_nothing(harness: FeedHarness) -> None:
    await harness.read(1, 5.0)
    await harness.storehouse_feed.ticked(True)
    harness.pushed()
    await harness.read(1, 5.0)
    await harness.storehouse_feed.ticked(True)
    assert harness.pushed() == []


async def test_a_reading_that_goes_stale_is_pushed_once(harness: FeedHarness) -> None:
    await harness.read(2, 5.0)
    await harness.storehouse_feed.ticked(True)
    harness.pushed()
    harness.now += timedelta(minutes=4)
    for _ in range(2):
        await harness.storehouse_feed.ticked(True)
    assert harness.pushed() == [(SOUTH, False, [room("b")])]


async def test_watchers_get_one_push_for_outage_and_for_recovery(harness: FeedHarness) -> None:
    for tell in (
        harness.storehouse_feed.database_lost(),
        harness.storehouse_feed.ticked(False),
        harness.storehouse_feed.database_lost(),
    ):
        await tell
    assert harness.pushed() == [(NORTH, True, [room("a"), room("c")]), (SOUTH, True, [room("b")])]
    assert harness.storehouse_feed.envs(NORTH).stale
    for _ in range(2):
        await harness.storehouse_feed.ticked(True)
    assert harness.pushed() == [(NORTH, False, [room("a"), room("c")]), (SOUTH, False, [room("b")])]


async def test_one_failed_tick_suffices_to_report_a_database_outage(harness: FeedHarness) -> None:
    await harness.storehouse_feed.ticked(False)
    assert [stale for _, stale, _ in harness.pushed()] == [True, True]


async def test_watchers_of_a_removed_storehouse_get_an_error(harness: FeedHarness) -> None:
    await harness.storehouse_feed.storehouses_changed(harness.set_directory(SOUTH))
    [(event, received, recipients)] = harness.emitted
    assert (event, recipients.rooms) == ("ask_error", [room("a"), room("c")])
    assert isinstance(received, AskError)
    assert (received.event, received.code, received.field) == ("register", "not_found", "store_house_id")
    assert dict(harness.clients) == {"a": None, "b": SOUTH, "c": None, "d": None}


async def test_a_changed_storehouse_is_pushed_at_once(harness: FeedHarness) -> None:
    await harness.storehouse_feed.storehouses_changed({SOUTH})
    assert harness.pushed() == [(SOUTH, False, [room("b")])]


async def test_recipients_are_cached_until_the_watchers_change(harness: FeedHarness) -> None:
    async def recipients() -> Recipients:
        await harness.storehouse_feed.storehouses_changed({NORTH})
        return harness.emitted[-1][2]

    first = await recipients()
    harness.clients["d"] = SOUTH
    assert await recipients() is first
    harness.clients["b"] = NORTH
    assert (await recipients()).rooms == [room("a"), room("c"), room("b")]
    del harness.clients["a"]
    assert (await recipients()).rooms == [room("c"), room("b")]


async def test_envs_have_reset_only_on_request(harness: FeedHarness) -> None:
    assert harness.storehouse_feed.envs(NORTH, reset=True).reset is True
    assert harness.storehouse_feed.envs(NORTH).reset is not True


async def test_an_alarm_about_all_storehouses_reaches_everyone_in_order(harness: FeedHarness) -> None:
    await harness.storehouse_feed.push_alarms([step(7, NORTH), step(8, EVERYWHERE), step(9, NORTH)])
    received = {
        data.store_house_id: ([alarm.alarm_id for alarm in data.alarms], data.cursor, to.rooms)
        for _, data, to in harness.emitted
        if isinstance(data, Alarms)
    }
    assert received == {NORTH: ([7, 8, 9], 9, [room("a"), room("c")]), SOUTH: ([8], 8, [room("b")])}
    assert harness.storehouse_feed.cursor == 9


def step(number: int, store_house_id: Id) -> Transition:
    alarm = Alarm(
        number, store_house_id, None, None, None, "no_data", "critical", "active", False, None, None, NOW, None
    )
    return Transition(number, alarm)
