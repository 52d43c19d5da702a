"""Who is pushed what, with an emit that only notes it down."""

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
class Hall:
    """Two storehouses with a sensor each, those who watch them, and what was emitted since the last look."""

    clients: Clients = field(default_factory=Clients)
    visibilities: dict[str, Visibility] = field(default_factory=dict)
    now: datetime = NOW
    emitted: list[tuple[str, object, Recipients]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.newest = Newest()
        self.know(NORTH, SOUTH)
        self.storehouse_feed = StorehouseFeed(
            self.newest, self._push, self.clients, lambda: self.now, PushGuard(self.newest), self._caller
        )

    def know(self, *store_house_ids: int) -> set[Id]:
        storehouses = [Storehouse(store_house_id, "", 1, "UTC") for store_house_id in store_house_ids]
        sensors = [Sensor(number, number, "", "light", "lx", 60, (number, None)) for number in (1, 2)]
        return self.newest.set_directory(storehouses, sensors, self.now)

    async def read(self, sensor_id: int, value: float) -> None:
        await self.storehouse_feed.add_readings([Reading(sensor_id, None, self.now, value)])

    def pushed(self) -> list[tuple[Id, bool, list[str]]]:
        """Return storehouse, stale and rooms of each `envs` since the last look."""
        pushed = [(data.store_house_id, data.stale, to.rooms) for _, data, to in self.emitted if isinstance(data, Envs)]
        self.emitted.clear()
        return pushed

    async def _caller(self, sid: str) -> Caller:
        return Caller(sid, User("", "watch", self.visibilities.get(sid, EVERYTHING)), "")

    async def _push(self, event: str, data: object, recipients: Recipients, key: Hashable = None) -> None:
        assert (event == "envs") == isinstance(data, Envs)
        self.emitted.append((event, data, recipients))


@pytest.fixture
def hall() -> Hall:
    hall = Hall()
    hall.clients.update({"a": NORTH, "b": SOUTH, "c": NORTH, "d": None})
    return hall


async def test_only_those_who_watch_the_storehouse_get_its_readings_and_in_one_message(hall: Hall) -> None:
    await hall.read(1, 5.0)
    assert hall.pushed() == []  # only when the tick is over
    await hall.storehouse_feed.ticked(True)
    assert hall.pushed() == [(NORTH, False, [room("a"), room("c")])]


async def test_a_tick_that_brings_nothing_pushes_nothing(hall: Hall) -> None:
    await hall.read(1, 5.0)
    await hall.storehouse_feed.ticked(True)
    hall.pushed()
    await hall.read(1, 5.0)
    await hall.storehouse_feed.ticked(True)
    assert hall.pushed() == []


async def test_a_reading_that_goes_stale_is_pushed_once(hall: Hall) -> None:
    await hall.read(2, 5.0)
    await hall.storehouse_feed.ticked(True)
    hall.pushed()
    hall.now += timedelta(minutes=4)
    for _ in range(2):
        await hall.storehouse_feed.ticked(True)
    assert hall.pushed() == [(SOUTH, False, [room("b")])]


async def test_all_who_watch_are_told_once_that_the_database_is_lost_and_once_that_it_is_back(hall: Hall) -> None:
    for tell in (
        hall.storehouse_feed.database_lost(),
        hall.storehouse_feed.ticked(False),
        hall.storehouse_feed.database_lost(),
    ):
        await tell
    assert hall.pushed() == [(NORTH, True, [room("a"), room("c")]), (SOUTH, True, [room("b")])]
    assert hall.storehouse_feed.envs(NORTH).stale
    for _ in range(2):
        await hall.storehouse_feed.ticked(True)
    assert hall.pushed() == [(NORTH, False, [room("a"), room("c")]), (SOUTH, False, [room("b")])]


async def test_a_failed_tick_alone_says_that_the_database_is_lost(hall: Hall) -> None:
    await hall.storehouse_feed.ticked(False)
    assert [stale for _, stale, _ in hall.pushed()] == [True, True]


async def test_those_who_watch_a_storehouse_that_vanishes_are_told_and_watch_nothing_then(hall: Hall) -> None:
    await hall.storehouse_feed.storehouses_changed(hall.know(SOUTH))
    [(event, told, recipients)] = hall.emitted
    assert (event, recipients.rooms) == ("ask_error", [room("a"), room("c")])
    assert isinstance(told, AskError)
    assert (told.event, told.code, told.field) == ("register", "not_found", "store_house_id")
    assert dict(hall.clients) == {"a": None, "b": SOUTH, "c": None, "d": None}


async def test_a_storehouse_that_looks_different_is_pushed_at_once(hall: Hall) -> None:
    await hall.storehouse_feed.storehouses_changed({SOUTH})
    assert hall.pushed() == [(SOUTH, False, [room("b")])]


async def test_the_audience_is_the_same_for_as_long_as_the_watchers_are(hall: Hall) -> None:
    async def recipients() -> Recipients:
        await hall.storehouse_feed.storehouses_changed({NORTH})
        return hall.emitted[-1][2]

    first = await recipients()
    hall.clients["d"] = SOUTH
    assert await recipients() is first
    hall.clients["b"] = NORTH
    assert (await recipients()).rooms == [room("a"), room("c"), room("b")]
    del hall.clients["a"]
    assert (await recipients()).rooms == [room("c"), room("b")]


async def test_an_unknown_cursor_is_reset_and_none_is_not(hall: Hall) -> None:
    assert hall.storehouse_feed.envs(NORTH, reset=True).reset is True
    assert hall.storehouse_feed.envs(NORTH).reset is not True


async def test_an_alarm_about_all_storehouses_is_told_to_all_who_watch_and_in_its_place(hall: Hall) -> None:
    await hall.storehouse_feed.push_alarms([step(7, NORTH), step(8, EVERYWHERE), step(9, NORTH)])
    told = {
        data.store_house_id: ([alarm.alarm_id for alarm in data.alarms], data.cursor, to.rooms)
        for _, data, to in hall.emitted
        if isinstance(data, Alarms)
    }
    assert told == {NORTH: ([7, 8, 9], 9, [room("a"), room("c")]), SOUTH: ([8], 8, [room("b")])}
    assert hall.storehouse_feed.cursor == 9


def step(number: int, store_house_id: Id) -> Transition:
    alarm = Alarm(
        number, store_house_id, None, None, None, "no_data", "critical", "active", False, None, None, NOW, None
    )
    return Transition(number, alarm)
