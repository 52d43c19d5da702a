"""`globals.clients` stays correct in any order of events, and the server keeps no data of disconnected clients."""

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
    """A running server. After the test, the server must hold no data of any client and must have logged no error."""
    settings = {"database": {"path": north.database.settings.path}, "poll_interval": 0.05, "rate_burst": 10_000}
    async with serving_inside(settings) as running:
        yield running
        await until(lambda: not leftovers(running))
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def leftovers(inside: Inside) -> dict[str, Any]:
    """Return the data of clients that the server still holds.

    The keys are the names of the tables that hold the data.
    """
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
    """A wrapper of a method. It blocks the first call of the method until `open` is called."""

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
def slow_query(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> HeldCall:
    """The database query that `register` needs. The first call of the query is blocked."""
    return HeldCall(monkeypatch, inside.server.services.ask, "storehouse")


def watched() -> list[object]:
    return list(globals.clients.values())


async def register(client: Client, store_house_id: int) -> dict[str, Any]:
    return dict(await client.call("register", {"store_house_id": store_house_id}))


async def test_the_table_maps_each_client_to_its_storehouse(inside: Inside, north: Site) -> None:
    async with connected("python", inside.url) as client:
        assert watched() == [None]
        await register(client, north.ids["north"])
        assert watched() == [north.ids["north"]]
        await register(client, north.ids["south"])
        assert watched() == [north.ids["south"]]
        await client.call("unregister")
        assert watched() == [None]
    await until(lambda: watched() == [])


async def test_a_client_that_leaves_during_a_register_is_removed(
    inside: Inside, north: Site, slow_query: HeldCall
) -> None:
    async with connected("python", inside.url) as client:
        await client.emit("register", {"store_house_id": north.ids["north"]})
        await until(lambda: slow_query.waiting)
    await until(lambda: not globals.clients)
    slow_query.open()
    await asyncio.sleep(0.1)  # gives the server time to finish `register`
    assert not globals.clients


async def test_the_later_of_two_concurrent_registers_wins(inside: Inside, north: Site, slow_query: HeldCall) -> None:
    async with connected("python", inside.url) as client:
        await client.emit("register", {"store_house_id": north.ids["north"]})
        await until(lambda: slow_query.waiting)
        last = asyncio.create_task(register(client, north.ids["south"]))
        await asyncio.sleep(0.1)  # gives it time to arrive
        assert watched() == [None]
        slow_query.open()
        assert (await last)["ok"]
        assert watched() == [north.ids["south"]]


async def test_an_unregister_during_a_register_wins(inside: Inside, north: Site, slow_query: HeldCall) -> None:
    async with connected("python", inside.url) as client:
        await client.emit("register", {"store_house_id": north.ids["north"]})
        await until(lambda: slow_query.waiting)
        last = asyncio.create_task(client.call("unregister"))
        await asyncio.sleep(0.1)  # gives it time to arrive
        slow_query.open()
        assert (await last)["ok"]
        assert watched() == [None]


@pytest.mark.slow
async def test_a_refused_register_changes_nothing(inside: Inside, north: Site) -> None:
    async with connected("python", inside.url) as client:
        await register(client, north.ids["north"])
        assert not (await register(client, 987654))["ok"]
        assert watched() == [north.ids["north"]]


async def test_watchers_of_a_deleted_storehouse_get_an_error_and_stay(inside: Inside, north: Site) -> None:
    async with connected("python", inside.url) as client:
        await register(client, north.ids["south"])
        delete_south(north)
        await inside.server.services.directory.refresh()
        told = await client.next("ask_error")
        assert (told["event"], told["code"], told["field"]) == ("register", "not_found", "store_house_id")
        assert watched() == [None]
        assert (await register(client, north.ids["north"]))["ok"]


async def test_a_storehouse_deleted_during_its_register_is_not_watched(
    inside: Inside, north: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = inside.server.services
    find = services.guard.watchable_storehouse

    async def find_and_delete(store_house_id: Id, visibility: Visibility) -> Storehouse:
        storehouse = await find(store_house_id, visibility)
        delete_south(north)
        await services.directory.refresh()
        return storehouse

    monkeypatch.setattr(services.guard, "watchable_storehouse", find_and_delete)
    async with connected("python", inside.url) as client:
        assert (await register(client, north.ids["south"]))["error"]["code"] == "not_found"
        assert watched() == [None]


def delete_south(north: Site) -> None:
    """Remove the storehouse `south`."""
    north.execute(f"DELETE FROM sensor WHERE store_house_id = {north.ids['south']}")
    north.execute(f"DELETE FROM storehouse WHERE store_house_id = {north.ids['south']}")


class Polling:
    """A minimal polling client."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}{ENGINE}polling"
        self._http = tornado.httpclient.AsyncHTTPClient()

    async def open(self) -> None:
        answer = await self._http.fetch(self._url)
        session = json.loads(answer.body.decode().removeprefix(OPEN))["sid"]
        self._url += f"&sid={session}"

    async def send(self, *packets: str) -> None:
        await self._http.fetch(self._url, method="POST", body=SEPARATOR.join(packets))


@pytest.mark.slow
async def test_a_client_that_connects_and_leaves_at_once_is_removed(inside: Inside) -> None:
    for packets in (
        (CONNECT, CLOSE),
        (CLOSE, CONNECT),
        (CONNECT, DISCONNECT, CLOSE),
        (CONNECT, DISCONNECT, CONNECT, CLOSE),
    ):
        client = Polling(inside.url)
        await client.open()
        await client.send(*packets)


@pytest.mark.slow
async def test_a_client_that_leaves_before_connect_completes_is_removed(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_call = HeldCall(monkeypatch, inside.server.namespace, "enter_room")
    client = Polling(inside.url)
    await client.open()
    connecting = asyncio.create_task(client.send(CONNECT))
    await until(lambda: held_call.waiting)
    await client.send(CLOSE)
    assert not inside.server.sio.environ
    held_call.open()
    with pytest.raises(tornado.httpclient.HTTPClientError, match="400"):  # the session no longer exists
        await connecting


@pytest.mark.slow
async def test_nothing_is_left_after_200_clients_connect_and_leave(inside: Inside, north: Site) -> None:
    async def connect_and_leave(number: int) -> None:
        kind: Kind = "node4" if number % 20 == 0 else "python"
        client = new(kind)
        transports = list(TRANSPORTS.values())[number % len(TRANSPORTS)]
        await client.connect(inside.url, transports)
        await client.emit("register", {"store_house_id": north.ids["north"]})
        if number % 2:
            await client.next("envs", 3 * SOON)
        await client.close()

    for first in range(0, 200, 20):
        await asyncio.gather(*(connect_and_leave(number) for number in range(first, first + 20)))
