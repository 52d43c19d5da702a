"""The tables in docs/access.md agree with the server, for every event, push and page and for every kind of user."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import record.sites
from contract import asyncapi
from server import EVENTS
from tests.support.clients import Client, ConnectRefused
from tests.support.credentials import fetch, post, user
from tests.support.serving import ROOT
from tests.support.serving_inside import serving_inside, until
from tests.support.signed_in import RULES, Restricted, restricted, settings_of
from tests.support.sites import Site, site

DOCUMENT = (ROOT / "docs" / "access.md").read_text(encoding="utf-8")
NOBODY, ANOTHER, EXPIRED, REVOKED = "nobody", "watcher of another organisation", "expired", "revoked"
ROLES = {"watcher": "watch", "operator": "operate", "configurer": "configure"}
EVERYBODY = (NOBODY, ANOTHER, *ROLES, EXPIRED, REVOKED)
SESSION = timedelta(hours=12)
TOLD, LEFT_OUT, NOTHING = "told", "left out", "nothing"

Table = dict[str, dict[str, str]]


def table(kind: str) -> Table:
    """Return a table of docs/access.md as a dictionary: the outcome by row, and then by user."""
    lines = DOCUMENT[DOCUMENT.index(f"| {kind} | {NOBODY} |") :].splitlines()
    end = lines.index("") if "" in lines else len(lines)
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end])
    return {row[0].strip("`"): dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def transposed(outcomes: dict[str, dict[str, str]]) -> Table:
    """Swap the outer keys (users) and the inner keys (rows) of the dictionary."""
    return {row: {who: outcomes[who][row] for who in EVERYBODY} for row in next(iter(outcomes.values()))}


@pytest.fixture
def north(tmp_path: Path) -> Iterator[Site]:
    with site({"path": str(tmp_path / "site.db")}) as built:
        with built.database.engine.begin() as connection:
            built.ids["third"] = record.sites.ensure_organisation(connection, "Third")
        built.settings = settings_of(built)
        yield built


def users(built: Site, **roles: str) -> list[dict[str, Any]]:
    """Return all users with an account. All of them except ANOTHER can see the organisation that owns `north`."""
    ours, others = [built.ids["owner"]], [built.ids["idle"]]
    return [
        user(ANOTHER, "watch", organisations=others),
        *(user(name, role, organisations=ours) for name, role in (ROLES | roles).items()),
        *(user(name, "configure", organisations=ours) for name in (EXPIRED, REVOKED)),
    ]


async def connect_as(running: Restricted, who: str) -> Client:
    """Connect as this user. The session of the user EXPIRED ended an hour ago."""
    begun = SESSION + timedelta(hours=1) if who == EXPIRED else timedelta()
    return await running.connect(None if who == NOBODY else who, begun)


async def test_the_tables_cover_every_event_push_page_and_user(north: Site) -> None:
    assert list(table("event")) == list(dict.fromkeys(table("event")))
    assert set(table("event")) == set(EVENTS)
    assert set(table("push")) == set(asyncapi.PUSHED)
    async with serving_inside(north.settings) as inside:
        rules: list[Any] = [*inside.server.pages]
    patterns = [rule.matcher.regex for rule in rules]
    for page in table("page"):
        assert any(pattern.match(page) for pattern in patterns), page
    for pattern in patterns:
        assert any(pattern.match(page) for page in table("page")), pattern
    for kind in ("event", "push", "page"):
        for row in table(kind).values():
            assert tuple(row) == EVERYBODY


@pytest.mark.slow
async def test_each_event_is_answered_as_the_table_says(north: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: dict[str, dict[str, str]] = {}
    async with restricted(north.settings, users(north), monkeypatch, revoked=[REVOKED]) as running:
        questions = await asked(north, await running.connect("operator"))
        for who in EVERYBODY:
            try:
                client = await connect_as(running, who)
            except ConnectRefused as refused:
                outcomes[who] = dict.fromkeys(EVENTS, refused.data["code"])
            else:
                outcomes[who] = {event: await outcome(client, event, questions[event], north) for event in EVENTS}
    assert transposed(outcomes) == table("event")


async def asked(built: Site, operator: Client) -> dict[str, Any]:
    """Return a payload for each event. All payloads are about the storehouse `north` or its organisation."""
    storehouse = {"store_house_id": built.ids["north"]}
    await operator.call("register", storehouse)
    built.add("temperature", 9.0)
    alarm = {"transition": ""}
    while alarm["transition"] != "raised":
        (alarm,) = (await operator.next("alarms"))["alarms"]
    now = datetime.now(UTC)
    span = {"start": (now - timedelta(hours=1)).isoformat(), "end": now.isoformat()}
    org, number = {"org_id": built.ids["owner"]}, {"alarm_id": alarm["alarm_id"]}
    later = {"start": now.isoformat(), "end": (now + timedelta(hours=1)).isoformat()}
    return dict.fromkeys(EVENTS) | {
        "storehouses": org,
        "storehouse": org,
        "register": storehouse,
        "queryAlarms": storehouse | {"data_minute": 60},
        "queryEnvs": storehouse | span,
        "querySensors": storehouse,
        "queryRules": storehouse,
        "ackAlarm": number,
        "closeAlarm": number | {"reason": "a test"},
        "saveMaintenance": storehouse | later | {"reason": "a test"},
        "saveRules": {"rules": [*RULES, {"scope": storehouse, "high": 7}]},
        "previewAlarms": storehouse | span | {"rules": RULES},
    }


async def outcome(client: Client, event: str, question: Any, built: Site) -> str:
    answer = await client.call(event, question)
    if not answer["ok"]:
        return str(answer["error"]["code"])
    listed = answer["data"]["organisations"] if event == "overview" else answer["data"]
    if event in ("orgs", "org", "overview"):
        return TOLD if built.ids["owner"] in [organisation["org_id"] for organisation in listed] else LEFT_OUT
    return TOLD


@pytest.mark.slow
async def test_each_push_reaches_the_users_in_the_table(north: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async with restricted(north.settings, users(north), monkeypatch) as running:
        clients = {who: await running.connect(who, timedelta(hours=11)) for who in (ANOTHER, *ROLES, REVOKED)}
        clients[EXPIRED] = await running.connect(EXPIRED, timedelta(hours=11, minutes=30))
        with pytest.raises(ConnectRefused):
            await running.connect(None)
        for client in clients.values():
            await client.call("register", {"store_house_id": north.ids["north"]})
            await client.call("overview")
        running.now[0] += timedelta(minutes=45)
        running.obey(*users(north, watcher="operate", operator="configure", configurer="watch"), revoked=[REVOKED])
        for who in (EXPIRED, REVOKED):
            await until(clients[who].disconnected.is_set)
        for who in ROLES:
            await until(partial(clients[who].received, "whoami"))
        before = {who: counts(client) for who, client in clients.items()}

        north.add("temperature", 9.0)
        for who in ROLES:
            for push in ("envs", "alarms", "overview"):
                await until(partial(is_told, clients[who], push, before[who][push]))
        north.execute(
            f"UPDATE storehouse SET org_id = {north.ids['third']} WHERE store_house_id = {north.ids['north']}"
        )
        for who in ROLES:
            await until(partial(clients[who].received, "ask_error"))
        await clients[ANOTHER].call("alive")  # earlier pushes arrive before this answer

        outcomes = {NOBODY: dict.fromkeys(asyncapi.PUSHED, NOTHING)}
        outcomes |= {who: pushed(client, before[who]) for who, client in clients.items()}
    assert transposed(outcomes) == table("push")


def is_told(client: Client, push: str, before: int) -> bool:
    return len(client.received(push)) > before


def counts(client: Client) -> dict[str, int]:
    """Return how many `envs`, `alarms` and `overview` pushes the client has received so far.

    The test makes a change and checks which users are told. It must not count the pushes that arrived before the
    change.
    """
    return {push: len(client.received(push)) for push in ("envs", "alarms", "overview")}


def pushed(client: Client, before: dict[str, int]) -> dict[str, str]:
    came = {push: len(client.received(push)) > before.get(push, 0) for push in asyncapi.PUSHED}
    # ANOTHER already received an ask_error when it registered. Count only the error about the removed storehouse.
    came["ask_error"] = any(told["message"].endswith("no longer visible") for told in client.received("ask_error"))
    ended = client.last("ended")
    return {push: TOLD if is_told else NOTHING for push, is_told in came.items()} | {
        "ended": ended["code"] if ended else NOTHING
    }


async def test_each_page_is_answered_as_the_table_says(north: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: dict[str, dict[str, str]] = {}
    async with restricted(north.settings, users(north), monkeypatch, revoked=[REVOKED]) as running:
        for who in EVERYBODY:
            begun = SESSION + timedelta(hours=1) if who == EXPIRED else timedelta()
            headers = {} if who == NOBODY else {"Cookie": running.cookie(who, begun)}
            outcomes[who] = {}
            for page in table("page"):
                ask = post if page == "/logout" else fetch
                answer = await ask(running.url.rstrip("/") + page, headers=headers)
                outcomes[who][page] = str(answer.code)
                if answer.code == 303:
                    assert re.match("/login", answer.headers["Location"])
    assert transposed(outcomes) == table("page")
