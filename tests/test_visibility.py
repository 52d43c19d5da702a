"""The server treats storehouses outside a user's visibility like missing storehouses, also on open connections."""

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
from alarm_service.recording import Recording
from alarm_service.site_alarms import SiteAlarms
from ask.answers import EVERYWHERE, Alarm, Id
from ask.journal import Transition
from ask.readings import Reading
from errors import Unavailable
from globals import Clients
from live.directory import Directory
from live.heartbeat import Heartbeat
from live.overview_feed import OverviewFeed
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

PARTS = (
    SiteAlarms,
    AuditWriter,
    AlarmTestRunner,
    Directory,
    Heartbeat,
    JournalFollower,
    OverviewFeed,
    Poller,
    Recording,
    Rollups,
)
"""The parts that send statements of their own."""
HIDDEN_SENSOR = "Sensor of others"


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Site]:
    """Build a site with two organisations. Both have storehouses with sensors."""
    with site({"path": str(tmp_path / "site.db")}) as built:
        with built.database.engine.begin() as connection:
            built.ids["other"] = record.sites.ensure_storehouse(connection, built.ids["idle"], "Other", "UTC")
            built.ids["hidden"] = record.sites.ensure_sensor(
                connection, built.ids["other"], HIDDEN_SENSOR, "temperature", interval_s=60
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


async def raise_alarm_of(client: Client, built: Site, sensor: str, store_house: str) -> str:
    """Raise an alarm of a sensor. Return the id of the alarm."""
    await asks(client, "register", store_house_id=built.ids[store_house])
    built.add(sensor, 9.0)
    alarm = {"transition": ""}
    while alarm["transition"] != "raised":
        (alarm,) = (await client.next("alarms"))["alarms"]
    return str(alarm["alarm_id"])


def questions(built: Site) -> dict[str, dict[str, Any]]:
    """Return a payload for each event that names a storehouse, an organisation or an alarm by its id.

    The payloads do not contain this id.
    """
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


async def wait_forever() -> None:
    await asyncio.Event().wait()


async def test_a_hidden_id_is_answered_like_a_missing_id(built: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server must also execute the same SQL statements for a hidden id as for a missing id."""
    users = [user("all", "configure"), user("ours", "configure", organisations=[built.ids["owner"]])]
    async with restricted(built.settings, users, monkeypatch) as running:
        alarm_id = await raise_alarm_of(await running.connect("all"), built, "hidden", "other")
    built.raise_alarm(
        "temperature", datetime.now(UTC), store_house_id=built.ids["other"], sensor_id=built.ids["hidden"]
    )
    for part in PARTS:
        monkeypatch.setattr(part, "run", lambda _: wait_forever())  # so that only the client's events send statements
    quiet = built.settings | {"alarms": {"judge": False}}
    hidden: dict[str, list[Any]] = {"org_id": [built.ids["idle"]], "alarm_id": [alarm_id, 1]}
    missing: dict[str, list[Any]] = {"org_id": [987], "alarm_id": ["sw-987", 987]}
    async with restricted(quiet, users, monkeypatch) as running:
        client = await running.connect("ours")
        for event, question in questions(built).items():
            key = {"storehouses": "org_id", "ackAlarm": "alarm_id", "closeAlarm": "alarm_id"}.get(
                event, "store_house_id"
            )
            ids = zip(hidden.get(key, [built.ids["other"]]), missing.get(key, [987]), strict=True)
            for there, not_there in ids:
                seen = await statements(client, event, question, key, there)
                assert seen == await statements(client, event, question, key, not_there)
                assert seen[0]
                assert seen[1]["code"] == "not_found"


async def statements(
    client: Client, event: str, question: dict[str, Any], key: str, wanted: Any
) -> tuple[list[str], dict[str, Any]]:
    """Send an event that the server refuses. Return the SQL statements that the server executed, and the error.

    Replace the id in the error message, so that the errors for two ids can be compared.
    """
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        refused = await error_of(client, event, **question, **{key: wanted})
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    return asked, refused | {"message": refused["message"].replace(repr(wanted), "it")}


async def test_visibility_can_be_limited_to_one_storehouse(built: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = built.ids
    users = [user("keeper", "operate", storehouses=[ids["north"]])]
    async with restricted(built.settings, users, monkeypatch) as running:
        client = await running.connect("keeper")
        assert [ask["org_id"] for ask in await asks(client, "orgs")] == [ids["owner"]]
        listed = await asks(client, "storehouses", org_id=ids["owner"])
        assert [storehouse["store_house_id"] for storehouse in listed] == [ids["north"]]
        assert (await error_of(client, "register", store_house_id=ids["south"]))["code"] == "not_found"
        (organisation,) = (await asks(client, "overview"))["organisations"]
        assert [storehouse["store_house_id"] for storehouse in organisation["storehouses"]] == [ids["north"]]

        built.add("far", 20.0)
        built.add("temperature", 6.5)
        await until(lambda: newest(client) == 6.5)
        for overview in client.received("overview"):
            for organisation in overview["organisations"]:
                assert [each["store_house_id"] for each in organisation["storehouses"]] == [ids["north"]]

        move(built, "north", "idle")
        await until(lambda: client.last("overview")["organisations"][0]["org_id"] == ids["idle"])
        assert removed_organisations(client) == [{"org_id": ids["owner"], "org_name": "", "storehouses": []}]


def newest(client: Client) -> Any:
    organisations = client.last("overview")["organisations"]
    return organisations[0]["storehouses"][0]["envs"][0]["value"] if organisations else None


def removed_organisations(client: Client) -> list[Any]:
    """Return the organisations that an overview reported as removed."""
    return [
        organisation
        for overview in client.received("overview")
        for organisation in overview["organisations"]
        if not organisation["org_name"]
    ]


def move(built: Site, store_house: str, to: str) -> None:
    built.execute(f"UPDATE storehouse SET org_id = {built.ids[to]} WHERE store_house_id = {built.ids[store_house]}")


async def test_a_moved_storehouse_is_visible_only_to_its_new_organisation(
    built: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = built.ids
    users = [user("ours", organisations=[ids["owner"]]), user("theirs", organisations=[ids["idle"]])]
    async with restricted(built.settings, users, monkeypatch) as running:
        ours, theirs = await running.connect("ours"), await running.connect("theirs")
        await asks(ours, "register", store_house_id=ids["north"])
        with built.database.engine.begin() as connection:
            connection.execute(
                sa.text(f"UPDATE storehouse SET org_id = {ids['idle']} WHERE store_house_id = {ids['north']}")
            )
            record_reading(connection, ids["temperature"], 7.75)
        error = await ours.next("ask_error")
        assert (error["event"], error["code"], error["field"]) == ("register", "not_found", "store_house_id")
        envs = await asks(theirs, "register", store_house_id=ids["north"])
        await until(lambda: 7.75 in [message["envs"][0]["value"] for message in [envs, *theirs.received("envs")]])
        built.add("temperature", 7.8)
        await until(lambda: theirs.last("envs")["envs"][0]["value"] == 7.8)
        await ours.call("alive")
        assert not {7.75, 7.8} & {message["envs"][0]["value"] for message in ours.received("envs")}


def record_reading(connection: sa.Connection, sensor_id: int, value: float) -> None:
    record.readings.add(connection, [(sensor_id, datetime.now(UTC), value)])


@pytest.mark.slow
async def test_a_policy_change_applies_to_live_connections(built: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = built.ids
    async with restricted(built.settings, [user("li", "operate")], monkeypatch) as running:
        client = await running.connect("li")
        alarm_id = await raise_alarm_of(client, built, "temperature", "north")
        assert len((await asks(client, "overview"))["organisations"]) == 2
        running.obey(user("li", "watch", organisations=[ids["idle"]]))
        assert (await client.next("ask_error"))["code"] == "not_found"
        assert (await client.next("whoami"))["role"] == "watch"
        await until(lambda: removed_organisations(client))
        assert [organisation["org_id"] for organisation in client.last("overview")["organisations"]] == [
            ids["idle"],
            ids["owner"],
        ]
        counts = len(client.received("envs")), len(client.received("overview"))
        assert (await error_of(client, "ackAlarm", alarm_id=alarm_id))["code"] == "forbidden"
        built.add("temperature", 6.75)
        built.add("hidden", 6.5)
        await until(lambda: len(client.received("overview")) > counts[1])
        assert len(client.received("envs")) == counts[0]
        assert {organisation["org_id"] for organisation in client.last("overview")["organisations"]} == {ids["idle"]}


async def test_a_client_that_leaves_during_a_revalidation_is_skipped() -> None:
    authenticator = Authenticator(read(user("li"), user("wu")), lambda: datetime.now(UTC))
    sio, clients = socketio.AsyncServer(), Clients()
    connections = Connections(sio, clients)
    for name in ("li", "wu"):
        sid = await joined(sio, name)
        caller = Caller(sid, authenticator.policy.users[name], "")
        await connections.add(Connection(caller, TokenBucket(RateLimit(1, 1), 0.0)))
    notified = []

    async def change(caller: Caller) -> None:
        for sid in list(clients):
            if sid != caller.sid:
                await connections.remove(sid)
        notified.append(caller.user.name)

    async def end(caller: Caller, _: AccessDenied) -> None:
        notified.append(caller.user.name)

    authenticator.apply_policy(read(user("li", "operate"), user("wu", "operate")))
    await Revalidation(authenticator, connections, change, end).check()
    assert notified == ["li"]
    authenticator.stop()


async def joined(sio: socketio.AsyncServer, eio_sid: str) -> str:
    """Add a connection to the server as if a client had opened it. Return the session id (sid) of the connection."""
    sio.eio.sockets[eio_sid] = BaseSocket(sio.eio, eio_sid)
    return str(await sio.manager.connect(eio_sid, "/"))


async def test_alarm_actions_require_visibility_and_record_the_user(
    built: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [
        user("all", "operate"),
        user("ours", "operate", organisations=[built.ids["owner"]]),
        user("theirs", "operate", organisations=[built.ids["idle"]]),
    ]
    async with restricted(built.settings, users, monkeypatch) as running:
        everything, ours, theirs = [await running.connect(name) for name in ("all", "ours", "theirs")]
        alarm_id = await raise_alarm_of(everything, built, "temperature", "north")
        assert (await error_of(theirs, "ackAlarm", alarm_id=alarm_id))["code"] == "not_found"
        acknowledged = await asks(ours, "ackAlarm", alarm_id=alarm_id, by="somebody else")
        assert acknowledged["acknowledged_by"] == "ours"

        built.execute("""UPDATE episode SET store_house_key = '"*"'""")
        assert (await error_of(ours, "closeAlarm", alarm_id=alarm_id, reason="a test"))["code"] == "forbidden"
        assert (await asks(everything, "closeAlarm", alarm_id=alarm_id, reason="a test"))["closed_by"] == "all"


async def test_a_restricted_user_sees_and_saves_only_visible_rules(
    built: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = built.ids
    users = [user("all", "configure"), user("ours", "configure", organisations=[ids["owner"]])]
    general = {"scope": {"metric": "temperature"}, "high": 8.0}
    mine = {"scope": {"store_house_id": ids["north"]}, "high": 6.0}
    theirs = {"scope": {"store_house_id": ids["other"]}, "high": 7.0}
    their_sensor = {"scope": {"sensor_id": ids["hidden"]}, "high": 7.5}
    by_name = {"scope": {"sensor_name": HIDDEN_SENSOR}, "high": 7.2}
    my_name = {"scope": {"sensor_name": "Door"}, "switch": 1.0}
    async with restricted(built.settings, users, monkeypatch) as running:
        everything, ours = await running.connect("all"), await running.connect("ours")
        await asks(everything, "saveRules", rules=[general, theirs, their_sensor, by_name, my_name])
        now = datetime.now(UTC)
        span = {"start": now.isoformat(), "end": (now + timedelta(hours=1)).isoformat()}
        await asks(everything, "saveMaintenance", store_house_id=ids["other"], reason="a secret", **span)

        visible = await asks(ours, "queryRules")
        assert scopes(visible["rules"]) == [general["scope"], my_name["scope"]]
        assert [scopes(change["after"]) for change in visible["changes"]] == [[general["scope"], my_name["scope"]]]
        assert visible["maintenance"] == []

        saved = await asks(ours, "saveRules", rules=[*visible["rules"], mine])
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


async def test_former_watchers_get_no_alarms_of_a_moved_storehouse(
    built: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [user("all", "operate"), user("ours", organisations=[built.ids["owner"]])]
    async with restricted(built.settings, users, monkeypatch) as running:
        alarm_id = await raise_alarm_of(await running.connect("all"), built, "temperature", "north")
    seldom = built.settings | {"poll_interval": 3600}  # only the alarm then makes the server refresh the owners
    async with restricted(seldom, users, monkeypatch) as running:
        everything, ours = await running.connect("all"), await running.connect("ours")
        await asks(ours, "register", store_house_id=built.ids["north"])
        await asks(everything, "register", store_house_id=built.ids["north"])
        move(built, "north", "idle")
        await asks(everything, "ackAlarm", alarm_id=alarm_id)
        assert (await everything.next("alarms"))["alarms"][0]["transition"] == "acknowledged"
        assert (await ours.next("ask_error"))["code"] == "not_found"
        assert ours.received("alarms") == []


async def test_a_storehouse_that_moves_during_register_is_not_watched(
    built: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with restricted(built.settings, [user("li", organisations=[built.ids["owner"]])], monkeypatch) as running:
        client = await running.connect("li")
        services = running.inside.server.services

        async def move_meanwhile(*_: object) -> list[Any]:
            move(built, "north", "idle")
            await services.directory.refresh_owners()
            return []

        monkeypatch.setattr(services.journal, "missed_before", move_meanwhile)
        question = {"store_house_id": built.ids["north"], "cursor": 0}
        assert (await error_of(client, "register", **question))["code"] == "not_found"
        assert list(globals.clients.values()) == [None]


@pytest.mark.slow
async def test_an_answer_is_withheld_if_its_callers_visibility_shrinks(
    built: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with restricted(built.settings, [user("li", "operate")], monkeypatch) as running:
        client = await running.connect("li")
        ask = running.inside.server.services.ask
        history = ask.history

        async def late(*question: Any) -> Any:
            answer = await history(*question)
            running.obey(user("li", "watch", organisations=[built.ids["idle"]]))
            await until(lambda: client.received("whoami"))
            return answer

        monkeypatch.setattr(ask, "history", late)
        span = questions(built)["queryEnvs"]
        assert (await error_of(client, "queryEnvs", store_house_id=built.ids["north"], **span))["code"] == "unavailable"


async def test_readings_wait_until_storehouse_owners_are_known() -> None:
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
    """A source that returns one reading at a time, with the values 1, 2, 3 and so on."""

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


async def test_alarms_wait_while_storehouse_owners_are_unknown(built: Site) -> None:
    """The first alarm about a single storehouse waits, and so do all alarms after it.

    Alarms before it, which concern all storehouses, are pushed at once.
    """
    owners_known = False
    pushed: list[Id] = []

    async def refresh_owners() -> None:
        if not owners_known:
            raise Unavailable("the database does not answer")

    async def push(transitions: Sequence[Transition]) -> None:
        pushed.extend(transition.alarm.alarm_id for transition in transitions)

    journal = JournalFollower(built.database, built.database, 1.0, push, refresh_owners)
    await journal.start()
    with built.database.engine.begin() as connection:
        steps = [Step(1, alarm(1, EVERYWHERE)), Step(1, alarm(2, built.ids["north"])), Step(1, alarm(3, EVERYWHERE))]
        record.journal.add(connection, steps, datetime.now(UTC))
    await journal.push_new()
    assert pushed == [1]
    owners_known = True
    await journal.push_new()
    assert pushed == [1, 2, 3]


def alarm(alarm_id: int, store_house_id: Id) -> Alarm:
    now = datetime.now(UTC)
    return Alarm(
        alarm_id, store_house_id, None, None, None, "no_data", "critical", "active", False, None, None, now, None
    )
