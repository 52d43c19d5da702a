"""Tests of the protocol between clients and server.

They cover every event, every kind of client and every transport.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from tests.support.clients import KINDS, TRANSPORTS, Client, Kind, connected
from tests.support.serving import Serve, StorewatchServer, served
from tests.support.sites import ZONE, Site, site


@pytest.fixture(scope="module")
def north(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with site({"path": str(tmp_path_factory.mktemp("north") / "site.db")}) as built:
        now = datetime.now(UTC)
        built.raise_alarm("temperature", now - timedelta(days=3), now - timedelta(days=2))
        built.raise_alarm("temperature", now - timedelta(hours=3), now - timedelta(minutes=30))
        built.raise_alarm("door", now - timedelta(days=9), kind="switch", severity="critical")
        yield built


@pytest.fixture(scope="module")
def server(north: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorewatchServer]:
    settings = {"database": {"path": north.database.settings.path}, "poll_interval": 0.1, "rate_burst": 10_000}
    with served(StorewatchServer(tmp_path_factory.mktemp("serving"), settings)) as server:
        yield server


@pytest.fixture(params=TRANSPORTS)
def transports(request: pytest.FixtureRequest) -> list[str]:
    return list(TRANSPORTS[request.param])


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
async def client(server: StorewatchServer, kind: Kind, transports: list[str]) -> AsyncIterator[Client]:
    async with connected(kind, server.url, transports) as client:
        yield client
        assert not client.disconnected.is_set()


async def ask(client: Client, event: str, *payload: Any, emitted_as: str | None = None) -> Any:
    """Send an event. Return the data in the acknowledgement. Check that the answer event has the same data."""
    acknowledged = await client.call(event, *payload)
    emitted = await client.next(emitted_as or event)
    assert acknowledged == {"ok": True, "data": emitted}
    return emitted


async def error_of(client: Client, event: str, *payload: Any) -> dict[str, Any]:
    """Send an event that the server refuses. Return the error.

    Check that the event `ask_error` and the acknowledgement contain the same error.
    """
    acknowledged = await client.call(event, *payload)
    assert acknowledged["ok"] is False
    told = await client.next("ask_error")
    assert told == {"event": event} | acknowledged["error"]
    return dict(acknowledged["error"])


@pytest.mark.slow
async def test_a_client_can_query_register_and_receive_pushes(client: Client, north: Site) -> None:
    ids = north.ids
    owner = {"org_id": ids["owner"], "org_name": "北方冷链 North <b>Cold</b>"}
    for event in ("orgs", "org"):
        assert await ask(client, event) == [owner, {"org_id": ids["idle"], "org_name": "Idle"}]

    storehouse = {
        "store_house_id": ids["north"],
        "store_house_name": "一号库",
        "org_id": ids["owner"],
        "time_zone": ZONE,
    }
    for event in ("storehouses", "storehouse"):
        for payload in (ids["owner"], str(ids["owner"]), {"org_id": ids["owner"], "more": [1]}):
            assert (await ask(client, event, payload))[0] == storehouse
    assert await ask(client, "storehouses", ids["idle"]) == []

    envs = await ask(client, "register", {"store_house_id": str(ids["north"])}, emitted_as="envs")
    assert list(envs) == ["store_house_id", "cursor", "time", "stale", "unrecorded", "envs"]
    assert (envs["store_house_id"], envs["stale"], envs["unrecorded"]) == (ids["north"], False, False)
    temperature, door = envs["envs"]
    assert {"sensor_id", "sensor_name", "metric", "unit", "value", "time", "quality"} == set(temperature)
    assert (temperature["sensor_name"], temperature["unit"], temperature["quality"]) == ("温度 1", "°C", "good")
    assert (door["value"], door["time"], door["quality"]) == (None, None, "bad")

    north.add("temperature", 5.25)
    pushed = await client.next("envs")
    assert pushed["envs"][0]["value"] == 5.25
    assert pushed["envs"][0]["time"].endswith("Z")

    assert await ask(client, "unregister") is None
    alarms = await ask(client, "queryAlarms", {"store_house_id": ids["north"], "data_minute": 60})
    assert [(alarm["state"], alarm["sensor_name"]) for alarm in alarms] == [("cleared", "温度 1"), ("active", "Door")]
    assert alarms[1]["cleared"] is None


@pytest.mark.slow
async def test_query_alarms_accepts_a_local_minute_of_the_storehouse(client: Client, north: Site) -> None:
    since = (datetime.now(UTC) - timedelta(days=2, minutes=5)).astimezone(ZoneInfo(ZONE))
    question = {"store_house_id": north.ids["north"], "data_minute": f"{since:%Y-%m-%d %H:%M}"}
    assert len(await ask(client, "queryAlarms", question)) == 3


REFUSED: list[tuple[str, tuple[Any, ...], str, str | None]] = [
    ("nonsense", (), "unknown_event", None),
    ("envs", (), "unknown_event", None),
    ("storehouses", (), "bad_request", "org_id"),
    ("storehouses", (None,), "bad_request", "org_id"),
    ("storehouses", (True,), "bad_request", "org_id"),
    ("storehouses", ({"org_id": 1.5},), "bad_request", "org_id"),
    ("storehouses", (987654,), "not_found", "org_id"),
    ("storehouses", ("1 or 1=1",), "not_found", "org_id"),
    ("storehouses", (2**53 - 1,), "not_found", "org_id"),
    ("register", ([],), "bad_request", "store_house_id"),
    ("register", ({},), "bad_request", "store_house_id"),
    ("register", ({"store_house_id": None},), "bad_request", "store_house_id"),
    ("register", ({"store_house_id": b"\x00"},), "bad_request", "store_house_id"),
    ("register", ({"store_house_id": 987654},), "not_found", "store_house_id"),
    ("register", ({"store_house_id": 1, "cursor": "x"},), "bad_request", "cursor"),
    ("queryAlarms", ({"store_house_id": 1},), "bad_request", "data_minute"),
    ("queryAlarms", ({"store_house_id": 1, "data_minute": 0},), "bad_request", "data_minute"),
    ("queryAlarms", ({"store_house_id": 1, "data_minute": 527041},), "bad_request", "data_minute"),
    ("queryAlarms", ({"store_house_id": 1, "data_minute": "today"},), "bad_request", "data_minute"),
    ("queryAlarms", ({"store_house_id": 1, "data_minute": "0001-01-01 00:00"},), "bad_request", "data_minute"),
    ("queryAlarms", ({"store_house_id": 987654, "data_minute": 60},), "not_found", "store_house_id"),
]


async def test_each_refusal_names_its_code_and_field(client: Client) -> None:
    for event, payload, code, field in REFUSED:
        refused = await error_of(client, event, *payload)
        assert (event, refused["code"], refused.get("field")) == (event, code, field)
        assert refused["message"]


async def test_a_refused_register_keeps_the_watched_storehouse(client: Client, north: Site) -> None:
    await ask(client, "register", {"store_house_id": north.ids["north"]}, emitted_as="envs")
    await error_of(client, "register", {"store_house_id": 987654})
    north.add("temperature", 6.0)
    assert (await client.next("envs"))["envs"][0]["value"] == 6.0


async def test_a_new_register_replaces_the_watched_storehouse(client: Client, north: Site) -> None:
    await ask(client, "register", {"store_house_id": north.ids["north"]}, emitted_as="envs")
    await ask(client, "register", {"store_house_id": north.ids["south"]}, emitted_as="envs")
    north.add("temperature", 6.5)
    north.add("far", 20.0)
    pushed = await client.next("envs")
    assert (pushed["store_house_id"], pushed["envs"][0]["value"]) == (north.ids["south"], 20.0)


async def test_an_unknown_cursor_is_answered_with_a_reset(client: Client, north: Site) -> None:
    envs = await ask(client, "register", {"store_house_id": north.ids["north"], "cursor": 987}, emitted_as="envs")
    assert envs["reset"] is True


async def test_unrepresentable_payloads_are_refused_without_closing_the_connection(server: StorewatchServer) -> None:
    async with connected("python", server.url) as client:
        for payload in ("[" * 20_000 + "]" * 20_000, "1e999", r'"\ud800"'):
            await client.raw(f'27["storehouses",{payload}]')
            told = await client.next("ask_error")
            assert (told["event"], told["code"]) == ("storehouses", "bad_request")
        await client.raw(r'2["\ud800",1]')
        assert (await client.next("ask_error"))["code"] == "unknown_event"
        assert (await error_of(client, "storehouses", 10**30))["code"] == "not_found"
        assert not client.disconnected.is_set()


@pytest.mark.parametrize("kind", ["python", "node4"])
@pytest.mark.parametrize("packet", ["2[]", "2{}", "2[null]", "2[", "x", "9", "51-x", "0{"])
async def test_a_malformed_packet_closes_the_connection(server: StorewatchServer, kind: Kind, packet: str) -> None:
    async with connected(kind, server.url) as client:
        await client.raw(packet)
        async with asyncio.timeout(10):
            await client.disconnected.wait()


async def test_events_with_names_of_the_library_are_unknown(server: StorewatchServer, north: Site) -> None:
    async with connected("python", server.url) as client:
        await ask(client, "register", {"store_house_id": north.ids["north"]}, emitted_as="envs")
        for name in ("connect", "disconnect", "connect_error", "__disconnect_final", "*"):
            await client.raw(f'2["{name}",{{}}]')
            told = await client.next("ask_error")
            assert (told["event"], told["code"]) == (name, "unknown_event")
        north.add("temperature", 7.0)
        assert (await client.next("envs"))["envs"][0]["value"] == 7.0


async def test_all_events_of_one_polling_request_are_answered(server: StorewatchServer) -> None:
    async with connected("node4", server.url, TRANSPORTS["polling"]) as client:
        answers = await asyncio.gather(*(client.call("orgs") for _ in range(50)))
        assert len(answers) == 50


async def test_the_transport_refuses_messages_that_are_too_large(server: StorewatchServer) -> None:
    address = f"{server.url}socket.io/?EIO=4&transport="
    async with aiohttp.ClientSession() as session:
        opened = await (await session.get(f"{address}polling")).text()
        sid = json.loads(opened[1:])["sid"]
        assert (await session.post(f"{address}polling&sid={sid}", data="40")).status == 200
        for size, status in ((65_000, 200), (65_537, 413), (700_000, 413)):
            event = '42["orgs","{}"]'.format("x" * (size - 12))
            answer = await session.post(f"{address}polling&sid={sid}", data=event)
            assert (size, answer.status) == (size, status)
        async with session.ws_connect(f"{address}websocket") as socket:
            await socket.receive()
            await socket.send_str("4" * 65_537)
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1009


@pytest.mark.slow
async def test_too_many_events_are_refused_as_rate_limited(serve: Serve) -> None:
    async with serve({"rate_limit": 0.001, "rate_burst": 2}) as server, connected("python", server.url) as client:
        assert (await client.call("orgs"))["ok"]
        assert (await client.call("orgs"))["ok"]
        assert (await client.call("orgs"))["error"]["code"] == "rate_limited"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_a_flooding_client_is_told_why_and_closed(kind: Kind, north: Site, serve: Serve) -> None:
    settings = {"database": {"path": north.database.settings.path}, "rate_limit": 0.001, "rate_burst": 2}
    async with serve(settings) as server, connected(kind, server.url) as client:
        for _ in range(2):
            assert (await client.call("orgs"))["ok"]
        for _ in range(3):
            await client.emit("orgs")
        assert (await client.next("ended"))["code"] == "rate_limited"
        await client.disconnected.wait()
        assert client.reason == "server disconnect"
        assert [told["code"] for told in client.received("ask_error")] == ["rate_limited"] * 3
        async with aiohttp.ClientSession() as session, session.get(f"{server.url}metrics") as answer:
            assert 'storewatch_closed_clients_total{reason="flood"} 1.0' in await answer.text()


@pytest.mark.slow
async def test_pending_events_of_a_closed_client_get_no_answer(north: Site, serve: Serve) -> None:
    settings = {"database": {"path": north.database.settings.path}, "rate_limit": 0.001, "rate_burst": 2}
    async with serve(settings) as server, aiohttp.ClientSession() as session:
        address = f"{server.url}socket.io/?EIO=4&transport=polling"
        opened = await (await session.get(address)).text()
        address += f"&sid={json.loads(opened[1:])['sid']}"
        packets: list[str] = []

        async def send(*said: str) -> None:
            assert (await session.post(address, data="\x1e".join(said))).status == 200

        async def receive(is_all: Callable[[], bool]) -> None:
            while not is_all():
                heard = (await (await session.get(address)).text()).split("\x1e")
                packets.extend(packet for packet in heard if packet != "2")

        await send("40")
        await receive(lambda: len(packets) == 1)
        await send(*(f'42{number}["orgs"]' for number in range(30)))
        await receive(lambda: "41" in packets)
        await send("40")  # its answer comes after everything else
        await receive(lambda: packets[-1].startswith("40"))
        *_, ended, goodbye, _ = packets
        assert ended.startswith('42["ended",{"code":"rate_limited"')
        assert sum("ended" in packet for packet in packets) == 1
        assert goodbye == "41"
        assert "unauthorized" not in str(packets)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_the_client_of_the_original_example_works(kind: Kind, server: StorewatchServer, north: Site) -> None:
    async with connected(kind, server.url, TRANSPORTS["upgrade"]) as client:
        await client.emit("orgs")
        orgs = await client.next("orgs")
        await client.emit("storehouses", orgs[0]["org_id"])
        places = await client.next("storehouses")
        await client.emit("register", {"store_house_id": places[0]["store_house_id"]})
        assert (await client.next("envs"))["envs"]
        await client.emit("queryAlarms", {"store_house_id": places[0]["store_house_id"], "data_minute": 10_000})
        assert len(await client.next("queryAlarms")) == 3
