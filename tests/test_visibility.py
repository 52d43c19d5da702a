"""What somebody may not see does not exist for them, also while they are connected."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import socketio
import sqlalchemy as sa
from engineio.base_socket import BaseSocket

import globals
import record.journal
import record.readings
import record.sites
from access.access_denied import AccessDenied
from access.audit_writer import AuditWriter
from access.authenticator import Authenticator
from access.caller import Caller
from access.connection import Connection, Connections
from access.revalidation import Revalidation
from alarm_service.alarm_tests import AlarmTestRunner
from alarm_service.journal_follower import JournalFollower
from alarm_service.site_alarms import SiteAlarms
from ask.answers import EVERYWHERE, Alarm, Id
from ask.journal import Transition
from ask.readings import Reading
from errors import Unavailable
from globals import Clients
from live.heartbeat import Heartbeat
from live.owner_checked_source import OwnerCheckedSource
from live.poller import Poller
from live.rollups import Rollups
from live.source import Position
from record.journal import Step
from tests.support.clients import Client
from tests.support.credentials import user
from tests.support.serving_inside import until
from tests.support.signed_in import RULES, read, restricted, settings_of
from tests.support.sites import Site, site
from transport.rate_limit import RateLimit, TokenBucket

SECRET_SENSOR = "Sensor of others"


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Site]:
    """Two organisations; the second has a storehouse too, with a sensor."""
    with site({"path": str(tmp_path / "site.db")}) as built:
        with built.database.engine.begin() as connection:
            built.ids["other"] = record.sites.ensure_storehouse(connection, built.ids["idle"], "Other", "UTC")
            built.ids["hidden"] = record.sites.ensure_sensor(
                connection, built.ids["other"], SECRET_SENSOR, "temperature", interval_s=60
            )
        built.settings = settings_of(built)
        yield built


async def asks(client: Client, event: str, **question: Any) -> Any:
    answer = await client.call(event, question)
    assert answer["ok"], answer
    return answer["data"]


async def error_of(client: Client, event: str, **question: Any) -> dict[str, Any]:
    answer = await client.call(event, question)
    assert not answer["ok"], answer
    return dict(answer["error"])


async def alarmed(client: Client, built: Site, sensor: str, store_house: str) -> str:
    """Have a sensor raise an alarm; its id."""
    await asks(client, "register", store_house_id=built.ids[store_house])
    built.add(sensor, 9.0)
    alarm = {"transition": ""}
    while alarm["transition"] != "raised":
        (alarm,) = (await client.next("alarms"))["alarms"]
    return str(alarm["alarm_id"])


def questions(built: Site) -> dict[str, dict[str, Any]]:
    """What can be asked of a storehouse or an organisation, and how else than by its id."""
    now = datetime.now(UTC)
    span = {"start": (now - timedelta(hours=1)).isoformat(), "end": now.isoformat()}
    later = {"start": now.isoformat(), "end": (now + timedelta(hours=1)).isoformat()}
    return {
        "storehouses": {},
        "register": {"cursor": 0},
        "queryAlarms": {"data_minute": 60},
        "queryEnvs": span,
        "querySensors": {},
        "queryRules": {},
        "saveMaintenance": later | {"reason": "a test", "sensor_id": built.ids["hidden"]},
        "previewAlarms": span | {"rules": RULES},
        "ackAlarm": {},
        "closeAlarm": {"reason": "a test"},
    }


async def still() -> None:
    await asyncio.Event().wait()


async def test_what_is_hidden_is_answered_like_what_is_not_there_with_the_same_statements(
    places: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [user("all", "configure"), user("ours", "configure", organisations=[places.ids["owner"]])]
    async with restricted(places.settings, users, monkeypatch) as running:
        alarm_id = await alarmed(await running.connect("all"), places, "hidden", "other")
    places.raise_alarm(
        "temperature", datetime.now(UTC), store_house_id=places.ids["other"], sensor_id=places.ids["hidden"]
    )
    for part in (SiteAlarms, AuditWriter, AlarmTestRunner, Heartbeat, JournalFollower, Poller, Rollups):
        monkeypatch.setattr(part, "run", lambda _: still())  # nobody else is to ask anything
    quiet = places.settings | {"alarms": {"judge": False}}
    hidden: dict[str, list[Any]] = {"org_id": [places.ids["idle"]], "alarm_id": [alarm_id, 1]}
    missing: dict[str, list[Any]] = {"org_id": [987], "alarm_id": ["sw-987", 987]}
    async with restricted(quiet, users, monkeypatch) as running:
        client = await running.connect("ours")
        for event, question in questions(places).items():
            key = {"storehouses": "org_id", "ackAlarm": "alarm_id", "closeAlarm": "alarm_id"}.get(
                event, "store_house_id"
            )
            ids = zip(hidden.get(key, [places.ids["other"]]), missing.get(key, [987]), strict=True)
            for there, not_there in ids:
                seen = await statements(client, event, question, key, there)
                assert seen == await statements(client, event, question, key, not_there)
                assert seen[0]
                assert seen[1]["code"] == "not_found"


async def statements(
    client: Client, event: str, question: dict[str, Any], key: str, wanted: Any
) -> tuple[list[str], dict[str, Any]]:
    """What the server asked the databases to refuse that, and the refusal without the id."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        refused = await error_of(client, event, **question, **{key: wanted})
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    return asked, refused | {"message": refused["message"].replace(repr(wanted), "it")}


async def test_of_an_organisation_one_may_see_a_single_storehouse(
    places: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = places.ids
    users = [user("keeper", "operate", storehouses=[ids["north"]])]
    async with restricted(places.settings, users, monkeypatch) as running:
        client = await running.connect("keeper")
        assert [ask["org_id"] for ask in await asks(client, "orgs")] == [ids["owner"]]
        listed = await asks(client, "storehouses", org_id=ids["owner"])
        assert [storehouse["store_house_id"] for storehouse in listed] == [ids["north"]]
        assert (await error_of(client, "register", store_house_id=ids["south"]))["code"] == "not_found"
        (organisation,) = (await asks(client, "overview"))["organisations"]
        assert [storehouse["store_house_id"] for storehouse in organisation["storehouses"]] == [ids["north"]]

        places.add("far", 20.0)
        places.add("temperature", 6.5)
        await until(lambda: newest(client) == 6.5)
        for told in client.received("overview"):
            for organisation in told["organisations"]:
                assert [each["store_house_id"] for each in organisation["storehouses"]] == [ids["north"]]

        move(places, "north", "idle")
        await until(lambda: client.last("overview")["organisations"][0]["org_id"] == ids["idle"])
        assert nameless(client) == [{"org_id": ids["owner"], "org_name": "", "storehouses": []}]


def newest(client: Client) -> Any:
    organisations = client.last("overview")["organisations"]
    return organisations[0]["storehouses"][0]["envs"][0]["value"] if organisations else None


def nameless(client: Client) -> list[Any]:
    """The organisations that an overview told to be gone."""
    return [
        organisation
        for told in client.received("overview")
        for organisation in told["organisations"]
        if not organisation["org_name"]
    ]


def move(built: Site, store_house: str, to: str) -> None:
    built.execute(f"UPDATE storehouse SET org_id = {built.ids[to]} WHERE store_house_id = {built.ids[store_house]}")


async def test_who_watches_a_storehouse_that_moves_is_told_as_if_it_were_gone_and_who_gets_it_can_watch_it(
    places: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = places.ids
    users = [user("ours", organisations=[ids["owner"]]), user("theirs", organisations=[ids["idle"]])]
    async with restricted(places.settings, users, monkeypatch) as running:
        ours, theirs = await running.connect("ours"), await running.connect("theirs")
        await asks(ours, "register", store_house_id=ids["north"])
        with places.database.engine.begin() as connection:
            connection.execute(
                sa.text(f"UPDATE storehouse SET org_id = {ids['idle']} WHERE store_house_id = {ids['north']}")
            )
            record_reading(connection, ids["temperature"], 7.75)
        told = await ours.next("ask_error")
        assert (told["event"], told["code"], told["field"]) == ("register", "not_found", "store_house_id")
        envs = await asks(theirs, "register", store_house_id=ids["north"])
        await until(lambda: 7.75 in [message["envs"][0]["value"] for message in [envs, *theirs.received("envs")]])
        places.add("temperature", 7.8)
        await until(lambda: theirs.last("envs")["envs"][0]["value"] == 7.8)
        await ours.call("alive")
        assert not {7.75, 7.8} & {message["envs"][0]["value"] for message in ours.received("envs")}


def record_reading(connection: sa.Connection, sensor_id: int, value: float) -> None:
    record.readings.add(connection, [(sensor_id, datetime.now(UTC), value)])


async def test_whose_sight_changes_is_told_no_more_of_what_is_outside_and_whose_role_does_may_do_less(
    places: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = places.ids
    async with restricted(places.settings, [user("li", "operate")], monkeypatch) as running:
        client = await running.connect("li")
        alarm_id = await alarmed(client, places, "temperature", "north")
        assert len((await asks(client, "overview"))["organisations"]) == 2
        running.obey(user("li", "watch", organisations=[ids["idle"]]))
        assert (await client.next("ask_error"))["code"] == "not_found"
        assert (await client.next("whoami"))["role"] == "watch"
        await until(lambda: nameless(client))
        assert [organisation["org_id"] for organisation in client.last("overview")["organisations"]] == [
            ids["idle"],
            ids["owner"],
        ]
        told = len(client.received("envs")), len(client.received("overview"))
        assert (await error_of(client, "ackAlarm", alarm_id=alarm_id))["code"] == "forbidden"
        places.add("temperature", 6.75)
        places.add("hidden", 6.5)
        await until(lambda: len(client.received("overview")) > told[1])
        assert len(client.received("envs")) == told[0]
        assert {organisation["org_id"] for organisation in client.last("overview")["organisations"]} == {ids["idle"]}


async def test_who_leaves_while_others_are_told_of_a_change_is_forgotten() -> None:
    authenticator = Authenticator(read(user("li"), user("wu")), lambda: datetime.now(UTC))
    sio, clients = socketio.AsyncServer(), Clients()
    connections = Connections(sio, clients)
    for name in ("li", "wu"):
        sid = await joined(sio, name)
        caller = Caller(sid, authenticator.policy.users[name], "")
        await connections.add(Connection(caller, TokenBucket(RateLimit(1, 1), 0.0)))
    told = []

    async def change(caller: Caller) -> None:
        for sid in list(clients):
            if sid != caller.sid:
                await connections.remove(sid)
        told.append(caller.user.name)

    async def end(caller: Caller, _: AccessDenied) -> None:
        told.append(caller.user.name)

    authenticator.apply_policy(read(user("li", "operate"), user("wu", "operate")))
    await Revalidation(authenticator, connections, change, end).check()
    assert told == ["li"]
    authenticator.stop()


async def joined(sio: socketio.AsyncServer, eio_sid: str) -> str:
    """A connection of this server, as if a client had opened it; its sid."""
    sio.eio.sockets[eio_sid] = BaseSocket(sio.eio, eio_sid)
    return str(await sio.manager.connect(eio_sid, "/"))


async def test_acting_on_an_alarm_needs_sight_of_what_it_is_about_and_bears_the_name_of_who_did(
    places: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [
        user("all", "operate"),
        user("ours", "operate", organisations=[places.ids["owner"]]),
        user("theirs", "operate", organisations=[places.ids["idle"]]),
    ]
    async with restricted(places.settings, users, monkeypatch) as running:
        everything, ours, theirs = [await running.connect(name) for name in ("all", "ours", "theirs")]
        alarm_id = await alarmed(everything, places, "temperature", "north")
        assert (await error_of(theirs, "ackAlarm", alarm_id=alarm_id))["code"] == "not_found"
        told = await asks(ours, "ackAlarm", alarm_id=alarm_id, by="somebody else")
        assert told["acknowledged_by"] == "ours"

        places.execute("""UPDATE episode SET store_house_key = '"*"'""")
        assert (await error_of(ours, "closeAlarm", alarm_id=alarm_id, reason="a test"))["code"] == "forbidden"
        assert (await asks(everything, "closeAlarm", alarm_id=alarm_id, reason="a test"))["closed_by"] == "all"


async def test_who_sees_a_part_sees_and_saves_the_rules_of_that_part_and_the_others_stay(
    places: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = places.ids
    users = [user("all", "configure"), user("ours", "configure", organisations=[ids["owner"]])]
    general = {"scope": {"metric": "temperature"}, "high": 8.0}
    mine = {"scope": {"store_house_id": ids["north"]}, "high": 6.0}
    theirs = {"scope": {"store_house_id": ids["other"]}, "high": 7.0}
    their_sensor = {"scope": {"sensor_id": ids["hidden"]}, "high": 7.5}
    by_name = {"scope": {"sensor_name": SECRET_SENSOR}, "high": 7.2}
    my_name = {"scope": {"sensor_name": "Door"}, "switch": 1.0}
    async with restricted(places.settings, users, monkeypatch) as running:
        everything, ours = await running.connect("all"), await running.connect("ours")
        await asks(everything, "saveRules", rules=[general, theirs, their_sensor, by_name, my_name])
        now = datetime.now(UTC)
        span = {"start": now.isoformat(), "end": (now + timedelta(hours=1)).isoformat()}
        await asks(everything, "saveMaintenance", store_house_id=ids["other"], reason="a secret", **span)

        told = await asks(ours, "queryRules")
        assert scopes(told["rules"]) == [general["scope"], my_name["scope"]]
        assert [scopes(change["after"]) for change in told["changes"]] == [[general["scope"], my_name["scope"]]]
        assert told["maintenance"] == []

        saved = await asks(ours, "saveRules", rules=[*told["rules"], mine])
        assert scopes(saved["rules"]) == [general["scope"], my_name["scope"], mine["scope"]]
        whole = (await asks(everything, "queryRules"))["rules"]
        assert scopes(whole) == [rule["scope"] for rule in (general, theirs, their_sensor, by_name, my_name, mine)]

        for rule, code in (
            (general | {"high": 9.0}, "forbidden"),
            (their_sensor, "forbidden"),
            (by_name, "forbidden"),
            (my_name | {"switch": 0.0}, "forbidden"),
            (theirs, "not_found"),
            ({"scope": {"store_house_id": 987}, "high": 7.0}, "not_found"),
        ):
            assert (await error_of(ours, "saveRules", rules=[rule]))["code"] == code
        assert (await asks(everything, "queryRules"))["rules"] == whole


def scopes(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in rule["scope"].items() if value is not None} for rule in rules]


async def test_an_alarm_of_a_storehouse_that_has_moved_is_told_to_nobody_who_may_not_see_it_any_more(
    places: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [user("all", "operate"), user("ours", organisations=[places.ids["owner"]])]
    async with restricted(places.settings, users, monkeypatch) as running:
        alarm_id = await alarmed(await running.connect("all"), places, "temperature", "north")
    seldom = places.settings | {"poll_interval": 3600}  # so that only the alarm calls for a look at whose it is
    async with restricted(seldom, users, monkeypatch) as running:
        everything, ours = await running.connect("all"), await running.connect("ours")
        await asks(ours, "register", store_house_id=places.ids["north"])
        await asks(everything, "register", store_house_id=places.ids["north"])
        move(places, "north", "idle")
        await asks(everything, "ackAlarm", alarm_id=alarm_id)
        assert (await everything.next("alarms"))["alarms"][0]["transition"] == "acknowledged"
        assert (await ours.next("ask_error"))["code"] == "not_found"
        assert ours.received("alarms") == []


async def test_a_storehouse_that_moves_in_the_middle_of_its_register_is_not_watched(
    places: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with restricted(places.settings, [user("li", organisations=[places.ids["owner"]])], monkeypatch) as running:
        client = await running.connect("li")
        services = running.inside.server.services

        async def move_meanwhile(*_: object) -> list[Any]:
            move(places, "north", "idle")
            await services.directory.refresh_owners()
            return []

        monkeypatch.setattr(services.journal, "missed_before", move_meanwhile)
        question = {"store_house_id": places.ids["north"], "cursor": 0}
        assert (await error_of(client, "register", **question))["code"] == "not_found"
        assert list(globals.clients.values()) == [None]


async def test_an_answer_that_comes_when_its_caller_may_see_less_is_not_told(
    places: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with restricted(places.settings, [user("li", "operate")], monkeypatch) as running:
        client = await running.connect("li")
        ask = running.inside.server.services.ask
        history = ask.history

        async def late(*question: Any) -> Any:
            answer = await history(*question)
            running.obey(user("li", "watch", organisations=[places.ids["idle"]]))
            await until(lambda: client.received("whoami"))
            return answer

        monkeypatch.setattr(ask, "history", late)
        span = questions(places)["queryEnvs"]
        assert (await error_of(client, "queryEnvs", store_house_id=places.ids["north"], **span))[
            "code"
        ] == "unavailable"


async def test_readings_wait_until_it_is_known_whose_they_are_and_are_counted_as_seen_only_then() -> None:
    owners_known = False

    async def refresh_owners() -> None:
        if not owners_known:
            raise Unavailable("the database does not answer")

    source = OwnerCheckedSource(Numbered(), refresh_owners)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await source.read_new()
        assert source.position() == Position(0)
    owners_known = True
    assert [reading.value for reading in (await source.read_new())[0]] == [1.0]
    assert source.position() == Position(1)
    assert [reading.value for reading in (await source.read_new())[0]] == [2.0]


class Numbered:
    """A source that hands out 1, 2, 3, ..."""

    def __init__(self) -> None:
        self._last = 0

    async def start_at_end(self) -> None:
        pass

    async def resume_at(self, position: Position) -> None:
        pass

    def position(self) -> Position:
        return Position(self._last)

    async def read_new(self) -> tuple[list[Reading], bool]:
        self._last += 1
        return [Reading(1, None, datetime.now(UTC), float(self._last))], False


async def test_while_nobody_can_say_whose_storehouses_are_only_alarms_about_all_are_told(places: Site) -> None:
    owners_known = False
    told: list[Id] = []

    async def refresh_owners() -> None:
        if not owners_known:
            raise Unavailable("the database does not answer")

    async def push(transitions: Sequence[Transition]) -> None:
        told.extend(transition.alarm.alarm_id for transition in transitions)

    journal = JournalFollower(places.database, 1.0, push, refresh_owners)
    await journal.start()
    with places.database.engine.begin() as connection:
        steps = [Step(1, alarm(1, EVERYWHERE)), Step(1, alarm(2, places.ids["north"])), Step(1, alarm(3, EVERYWHERE))]
        record.journal.add(connection, steps, datetime.now(UTC))
    await journal.push_new()
    assert told == [1]
    owners_known = True
    await journal.push_new()
    assert told == [1, 2, 3]


def alarm(alarm_id: int, store_house_id: Id) -> Alarm:
    now = datetime.now(UTC)
    return Alarm(
        alarm_id, store_house_id, None, None, None, "no_data", "critical", "active", False, None, None, now, None
    )
