"""`globals.clients` stays true, and nothing is left of those who are gone, in whatever order things happen."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tornado.httpclient
import tornado.websocket

import globals
from ask.answers import Id, Storehouse
from ask.visibility import Visibility
from tests.support.clients import TRANSPORTS, Client, Kind, connected, new
from tests.support.serving_inside import SOON, Inside, serving_inside, until
from tests.support.sites import Site, site

ENGINE = "socket.io/?EIO=4&transport="
SEPARATOR = "\x1e"  # between the packets of one polling request
OPEN, CONNECT, DISCONNECT, CLOSE = "0", "40", "41", "1"


@pytest.fixture
def north(tmp_path: Path) -> Iterator[Site]:
    with site({"path": str(tmp_path / "site.db")}) as built:
        yield built


@pytest.fixture
async def inside(north: Site, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Inside]:
    """A server of which, at the end, nobody is left, and nothing of anybody; nor did anything go wrong."""
    settings = {"database": {"path": north.database.settings.path}, "poll_interval": 0.05, "rate_burst": 10_000}
    async with serving_inside(settings) as running:
        yield running
        await until(lambda: not remains(running))
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def remains(inside: Inside) -> dict[str, Any]:
    """What the server still holds of its clients, by where it lies."""
    sio = inside.server.sio
    everything = {
        "clients": globals.clients,
        "rooms": sio.manager.rooms,
        "connecting": sio.manager.pending_connect,
        "disconnecting": sio.manager.pending_disconnect,
        "environ": sio.environ,
        "sockets": sio.eio.sockets,
        "outboxes": sio.manager._outboxes,
        "behind": sio.manager._behind,
    }
    return {name: held for name, held in everything.items() if held}


class HeldCall:
    """Holds up the first call of a method until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
        self.waiting = False
        self._open = asyncio.Event()
        self._work: Callable[..., Awaitable[Any]] = getattr(owner, name)
        monkeypatch.setattr(owner, name, self._call)

    def open(self) -> None:
        self._open.set()

    async def _call(self, *args: Any) -> Any:
        if not self.waiting:
            self.waiting = True
            await self._open.wait()
        return await self._work(*args)


@pytest.fixture
def slow_question(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> HeldCall:
    """The question that every register puts to the database, held up."""
    return HeldCall(monkeypatch, inside.server.services.ask, "storehouse")


def watched() -> list[object]:
    return list(globals.clients.values())


async def register(client: Client, store_house_id: int) -> dict[str, Any]:
    return dict(await client.call("register", {"store_house_id": store_house_id}))


async def test_the_table_says_who_watches_what(inside: Inside, north: Site) -> None:
    async with connected("python", inside.url) as client:
        assert watched() == [None]
        await register(client, north.ids["north"])
        assert watched() == [north.ids["north"]]
        await register(client, north.ids["south"])
        assert watched() == [north.ids["south"]]
        await client.call("unregister")
        assert watched() == [None]
    await until(lambda: watched() == [])


async def test_one_who_leaves_in_the_middle_of_a_register_is_gone(
    inside: Inside, north: Site, slow_question: HeldCall
) -> None:
    async with connected("python", inside.url) as client:
        await client.emit("register", {"store_house_id": north.ids["north"]})
        await until(lambda: slow_question.waiting)
    await until(lambda: not globals.clients)
    slow_question.open()
    await asyncio.sleep(0.1)  # for the register to come to its end
    assert not globals.clients


async def test_of_two_registers_at_once_the_last_one_asked_is_watched(
    inside: Inside, north: Site, slow_question: HeldCall
) -> None:
    async with connected("python", inside.url) as client:
        await client.emit("register", {"store_house_id": north.ids["north"]})
        await until(lambda: slow_question.waiting)
        last = asyncio.create_task(register(client, north.ids["south"]))
        await asyncio.sleep(0.1)  # for it to arrive
        assert watched() == [None]
        slow_question.open()
        assert (await last)["ok"]
        assert watched() == [north.ids["south"]]


async def test_an_unregister_after_a_register_that_still_goes_on_has_the_last_word(
    inside: Inside, north: Site, slow_question: HeldCall
) -> None:
    async with connected("python", inside.url) as client:
        await client.emit("register", {"store_house_id": north.ids["north"]})
        await until(lambda: slow_question.waiting)
        last = asyncio.create_task(client.call("unregister"))
        await asyncio.sleep(0.1)  # for it to arrive
        slow_question.open()
        assert (await last)["ok"]
        assert watched() == [None]


async def test_a_refused_register_changes_nothing(inside: Inside, north: Site) -> None:
    async with connected("python", inside.url) as client:
        await register(client, north.ids["north"])
        assert not (await register(client, 987654))["ok"]
        assert watched() == [north.ids["north"]]


async def test_those_who_watch_a_storehouse_that_vanishes_are_told_and_stay_connected(
    inside: Inside, north: Site
) -> None:
    async with connected("python", inside.url) as client:
        await register(client, north.ids["south"])
        vanish(north)
        await inside.server.services.directory.refresh()
        told = await client.next("ask_error")
        assert (told["event"], told["code"], told["field"]) == ("register", "not_found", "store_house_id")
        assert watched() == [None]
        assert (await register(client, north.ids["north"]))["ok"]


async def test_a_storehouse_that_vanishes_in_the_middle_of_its_register_is_not_watched(
    inside: Inside, north: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = inside.server.services
    find = services.guard.watchable_storehouse

    async def find_and_vanish(store_house_id: Id, visibility: Visibility) -> Storehouse:
        storehouse = await find(store_house_id, visibility)
        vanish(north)
        await services.directory.refresh()
        return storehouse

    monkeypatch.setattr(services.guard, "watchable_storehouse", find_and_vanish)
    async with connected("python", inside.url) as client:
        assert (await register(client, north.ids["south"]))["error"]["code"] == "not_found"
        assert watched() == [None]


def vanish(north: Site) -> None:
    """Remove the storehouse `south`."""
    north.execute(f"DELETE FROM sensor WHERE store_house_id = {north.ids['south']}")
    north.execute(f"DELETE FROM storehouse WHERE store_house_id = {north.ids['south']}")


class Polling:
    """A polling client of a few lines."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}{ENGINE}polling"
        self._http = tornado.httpclient.AsyncHTTPClient()

    async def open(self) -> None:
        answer = await self._http.fetch(self._url)
        session = json.loads(answer.body.decode().removeprefix(OPEN))["sid"]
        self._url += f"&sid={session}"

    async def send(self, *packets: str) -> None:
        await self._http.fetch(self._url, method="POST", body=SEPARATOR.join(packets))


async def test_one_who_connects_and_leaves_in_one_breath_is_gone(inside: Inside) -> None:
    for packets in (
        (CONNECT, CLOSE),
        (CLOSE, CONNECT),
        (CONNECT, DISCONNECT, CLOSE),
        (CONNECT, DISCONNECT, CONNECT, CLOSE),
    ):
        client = Polling(inside.url)
        await client.open()
        await client.send(*packets)


async def test_one_who_leaves_before_being_let_in_is_gone(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    held_call = HeldCall(monkeypatch, inside.server.namespace, "enter_room")
    client = Polling(inside.url)
    await client.open()
    knocking = asyncio.create_task(client.send(CONNECT))
    await until(lambda: held_call.waiting)
    await client.send(CLOSE)
    assert not inside.server.sio.environ
    held_call.open()
    with pytest.raises(tornado.httpclient.HTTPClientError, match="400"):  # there is no such session any more
        await knocking


async def test_nothing_is_left_after_two_hundred_came_and_went(inside: Inside, north: Site) -> None:
    async def come_and_go(number: int) -> None:
        kind: Kind = "node4" if number % 20 == 0 else "python"
        client = new(kind)
        transports = list(TRANSPORTS.values())[number % len(TRANSPORTS)]
        await client.connect(inside.url, transports)
        await client.emit("register", {"store_house_id": north.ids["north"]})
        if number % 2:
            await client.next("envs", 3 * SOON)
        await client.close()

    for first in range(0, 200, 20):
        await asyncio.gather(*(come_and_go(number) for number in range(first, first + 20)))
