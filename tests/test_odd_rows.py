"""Odd rows in a site's tables do not stop the alarms of the other sensors."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import Client, connected
from tests.support.credentials import access, fetch, token
from tests.support.odd_rows import MariaDBSite, OddRows, OddSite, SqliteSite, good_rows, unique_name
from tests.support.services.mariadb import MariaDB
from tests.support.serving import Serve, StorewatchServer
from tests.support.serving_inside import serving_inside, until
from tests.support.webhook import Webhook, webhook

MESSAGE = re.compile(r"^\S+ \S+ (?:ERROR|WARNING) (.*)$", re.MULTILINE)
SITES: dict[str, dict[str, Any]] = {
    "sqlite": {},
    "utf8mb4": {},
    "utf8mb3": {"has_reading_id": False},
    "latin1": {"time_zone": "Asia/Shanghai"},
}
"""For each kind of site, the options of its tables. `utf8mb4` and so on are the character sets of MariaDB."""
KINDS = [pytest.param(kind, marks=[] if kind == "sqlite" else [pytest.mark.services]) for kind in SITES]
SENSORS = ["first", "second", "third"]
ODD = "odd"
"""A sensor of the good storehouse with odd readings."""
RULES = [{"scope": {}, "high": 8, "rate": {"limit": 1e9, "within": "1m"}, "no_data": "10m"}]
ROWS = 520
"""Number of odd rows in each database. The run has more than 2,000."""
ASKED = 10
"""Number of storehouses about which questions are asked."""
SPAN = {"start": "2026-01-01T00:00:00Z", "end": "2026-12-31T00:00:00Z"}


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as receiver:
        yield receiver


def site_of(kind: str, folder: Path, request: pytest.FixtureRequest) -> tuple[OddSite, dict[str, Any]]:
    """Return a site with tables of this kind, and the `state` settings."""
    if kind == "sqlite":
        return SqliteSite(folder, **SITES[kind]), {"path": str(folder / "state.db")}
    mariadb: MariaDB = request.getfixturevalue("mariadb")
    name = unique_name()
    mariadb.create_database(name)
    return MariaDBSite(mariadb, kind, **SITES[kind]), mariadb.settings(name)


def settings_of(site: OddSite, state: dict[str, Any], **more: Any) -> dict[str, Any]:
    fast = {"poll_interval": 0.05, "rate_burst": 100_000}
    return {"database": site.settings(), "state": state, "rules": RULES} | fast | more


async def watch(client: Client, store_house_id: str = "good") -> dict[str, Any]:
    answer = await client.call("register", {"store_house_id": store_house_id})
    assert answer["ok"], answer
    return dict(answer["data"])


async def alarm_of(client: Client, **fields: Any) -> dict[str, Any]:
    """Wait for an alarm with these fields. Return the alarm as it was pushed."""
    while True:
        for alarm in (await client.next("alarms"))["alarms"]:
            if alarm.items() >= fields.items():
                return dict(alarm)


async def breach(site: OddSite, client: Client, sensor: str) -> None:
    """Commit a reading that violates a limit. Check that the sensor's alarm is raised at the time of the reading."""
    time = site.add_reading(sensor, 30)
    alarm = await alarm_of(client, sensor_id=sensor)
    assert (alarm["kind"], alarm["transition"], alarm["late"]) == ("high", "raised", False)
    assert datetime.fromisoformat(alarm["raised"]) == time


def repeated_messages(server: StorewatchServer) -> dict[str, int]:
    """Return the errors and warnings that the server has logged more than once."""
    return {message: count for message, count in Counter(MESSAGE.findall(server.log())).items() if count > 1}


@pytest.mark.parametrize("kind", KINDS)
async def test_odd_rows_do_not_delay_other_alarms(
    kind: str, tmp_path: Path, serve: Serve, hook: Webhook, request: pytest.FixtureRequest
) -> None:
    await check_odd_rows(site_of(kind, tmp_path, request), ROWS, 1, serve, hook)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(10, 13))
@pytest.mark.parametrize("kind", KINDS)
async def test_thousands_of_odd_rows_do_not_delay_other_alarms(
    kind: str, seed: int, tmp_path: Path, serve: Serve, hook: Webhook, request: pytest.FixtureRequest
) -> None:
    await check_odd_rows(site_of(kind, tmp_path, request), 5_000, seed, serve, hook)


async def check_odd_rows(
    tables: tuple[OddSite, dict[str, Any]], count: int, seed: int, serve: Serve, hook: Webhook
) -> None:
    """Insert odd rows while the server runs and before it restarts. Each time, check the alarms of the good sensors."""
    site, state = tables
    site.insert(good_rows([*SENSORS, ODD]))
    # In an SQLite table without rows, the server cannot see that the ids are texts.
    site.add_reading(ODD, 5)
    site.add_alarm("earlier", sensor_id=ODD, cleared=site.now())
    notify = {
        "group_wait": "1s",
        "group_interval": "1s",
        "language": "en",
        "tiers": [[{"name": "hook", "url": hook.url}]],
    }
    async with serve(settings_of(site, state, notify=notify), traceback_allowed=True) as server:
        async with connected("python", server.url) as client:
            await watch(client)
            odd_rows = OddRows(seed)
            site.insert(odd_rows.rows(count))
            readings = [(ODD, time, value) for _, time, value in odd_rows.rows(100)["reading"]]
            site.insert({"reading": [*readings, (ODD, site.now(), "\ud800")]})
            await breach(site, client, "first")
            site.add_alarm("theirs")
            await alarm_of(client, alarm_id="theirs")
            await check_answers(client)
            await until(lambda: any("first" in text for text in hook.texts))
        await server.terminate()
        server.start()
        async with connected("python", server.url) as client:
            await watch(client)
            await breach(site, client, "second")
            site.insert(OddRows(seed + 1).rows(count // 10))
            await breach(site, client, "third")
        assert (await fetch(f"{server.url}readyz")).code == 200
    assert repeated_messages(server) == {}


async def check_answers(client: Client) -> None:
    """Check that the good storehouse has all answers, and that no other storehouse causes an internal error."""
    assert (await client.call("overview"))["ok"]
    storehouses = [
        storehouse["store_house_id"]
        for organisation in (await client.call("orgs"))["data"]
        for storehouse in (await client.call("storehouses", organisation["org_id"])).get("data", ())
    ]
    assert "good" in storehouses
    for store_house_id in ["good", *storehouses[:ASKED]]:
        here = {"store_house_id": store_house_id}
        for event, question in {"querySensors": here, "queryEnvs": here | SPAN}.items():
            answer = await client.call(event, question)
            is_hidden = store_house_id != "good" and not answer["ok"] and answer["error"]["code"] == "not_found"
            assert answer["ok"] or is_hidden, (event, here, answer)
            if (event, store_house_id) == ("queryEnvs", "good"):
                curves = {curve["sensor_id"]: curve["points"] for curve in answer["data"]["sensors"]}
                assert curves["first"]
                assert curves[ODD]


LONG = "仓" * 600


@pytest.mark.parametrize("kind", KINDS[:2])
async def test_long_ids_stay_complete_in_answers_and_pushes(
    kind: str, tmp_path: Path, serve: Serve, request: pytest.FixtureRequest
) -> None:
    site, state = site_of(kind, tmp_path, request)
    twins = [f"{LONG}1", f"{LONG}2"]
    sensors = [(sensor, LONG, "n" * 70_000, "temperature", "", "60", None, None) for sensor in twins]
    storehouses = [(LONG, "good", "Long", "UTC")]
    site.insert({"organisation": [("good", "Good")], "storehouse": storehouses, "sensor": sensors})
    async with serve(settings_of(site, state)) as server:
        async with connected("python", server.url) as client:
            await watch(client, LONG)
            now = datetime.now(UTC)
            span = {"start": now.isoformat(), "end": (now + timedelta(days=2)).isoformat()}
            muted = {"store_house_id": LONG, "sensor_id": twins[1], "reason": "repair", "by": "Li"} | span
            saved = await client.call("saveMaintenance", muted)
            assert (saved["data"]["store_house_id"], saved["data"]["sensor_id"]) == (LONG, twins[1])
            for sensor, is_muted in zip(twins, (False, True), strict=True):
                site.add_reading(sensor, 30)
                alarm = await alarm_of(client, sensor_id=sensor)
                assert (alarm["store_house_id"], alarm["silenced"]) == (LONG, is_muted)
                assert alarm["sensor_name"] == "n" * 254 + "…"
        await server.terminate()
        server.start()
        async with connected("python", server.url) as client:
            await watch(client, LONG)
            site.add_reading(twins[0], 5)
            cleared = await alarm_of(client, sensor_id=twins[0])
            assert (cleared["transition"], cleared["store_house_id"]) == ("cleared", LONG)
            answer = await client.call("queryAlarms", {"store_house_id": LONG, "data_minute": 60})
            assert {alarm["sensor_id"] for alarm in answer["data"]} == set(twins)
            maintenance = (await client.call("queryRules", {"store_house_id": LONG}))["data"]["maintenance"]
            assert [each["sensor_id"] for each in maintenance] == [twins[1]]


async def test_an_alarm_that_cannot_be_stored_stops_no_other(
    mariadb: MariaDB, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In this test, long texts are not truncated, so that the database rejects them."""
    for module in ("ask.rows", "record.episode_rows"):
        monkeypatch.setattr(f"{module}.truncated", lambda text: text)
    site, state = site_of("utf8mb4", Path(), request)
    rows = good_rows(SENSORS)
    rows["sensor"].append(("long", "good", "n" * 300, "temperature", "", "60", None, None))
    site.insert(rows)
    async with (
        serving_inside(settings_of(site, state)) as inside,
        connected("python", inside.url) as client,
    ):
        await watch(client)
        site.add_reading("long", 30)
        site.add_alarm("rejected", kind="k" * 70_000)
        await breach(site, client, "first")
        site.add_alarm("theirs")
        await alarm_of(client, alarm_id="theirs")
        await until(lambda: caplog.text.count("set aside the") == 2)
        metrics = (await fetch(f"{inside.url}metrics")).body.decode()
        assert 'storewatch_set_aside_total{kind="alarm"} 1.0' in metrics
        assert 'storewatch_set_aside_total{kind="site_alarm"} 1.0' in metrics
        assert (await fetch(f"{inside.url}readyz")).code == 200
        pushed = [alarm["sensor_id"] for message in client.received("alarms") for alarm in message["alarms"]]
        assert "long" not in pushed
    assert caplog.text.count("set aside the") == 2


async def test_ids_with_a_meaning_in_storewatch_are_escaped(tmp_path: Path, serve: Serve) -> None:
    """A storehouse with the id `*` would hide the alarms of all storehouses, and an alarm `sw-1` Storewatch's first."""
    site = SqliteSite(tmp_path)
    rows = good_rows(SENSORS)
    rows["storehouse"].append(("*", "good", "Star", "UTC"))
    rows["sensor"].append(("star", "*", "star", "temperature", "", "60", None, None))
    site.insert(rows)
    site.add_alarm("sw-1")
    async with (
        serve(settings_of(site, {"path": str(tmp_path / "state.db")})) as server,
        connected("python", server.url) as client,
        connected("python", server.url) as of_star,
    ):
        listed = await client.call("queryAlarms", {"store_house_id": "good", "data_minute": 60})
        assert [alarm["alarm_id"] for alarm in listed["data"]] == ["\\sw-1"]
        await watch(client)
        await watch(of_star, "\\*")
        site.add_reading("star", 30)
        assert (await alarm_of(of_star, sensor_id="star"))["alarm_id"] == "sw-1"
        await breach(site, client, "first")
        pushed = [alarm["sensor_id"] for message in client.received("alarms") for alarm in message["alarms"]]
        assert "star" not in pushed
        refused = await client.call("closeAlarm", {"alarm_id": "\\sw-1", "reason": "x", "by": "Li"})
        assert refused["error"]["params"]["reason"] == "site_alarm"


@pytest.mark.parametrize("reading_id", ["text", 5.5, 2**63 - 1, -5, None])
async def test_a_reading_with_an_odd_id_stops_no_other(reading_id: object, tmp_path: Path, serve: Serve) -> None:
    site = SqliteSite(tmp_path, has_reading_id=False)
    site.insert(good_rows([*SENSORS, ODD]))
    site.execute("ALTER TABLE reading ADD COLUMN reading_id INTEGER")
    insert = "INSERT INTO reading (reading_id, sensor_id, time, value) VALUES (?, ?, ?, ?)"
    site.execute(insert, 1, "first", site.now().isoformat(" "), "1")
    async with (
        serve(settings_of(site, {"path": str(tmp_path / "state.db")})) as server,
        connected("python", server.url) as client,
    ):
        await watch(client)
        site.execute(insert, reading_id, ODD, site.now().isoformat(" "), "1")
        for number, sensor in enumerate(SENSORS, 2):
            site.execute(insert, number, sensor, site.now().isoformat(" "), "30")
            await alarm_of(client, sensor_id=sensor)
    assert repeated_messages(server) == {}


async def test_a_site_alarm_that_ends_in_9999_is_open(tmp_path: Path, serve: Serve) -> None:
    site = SqliteSite(tmp_path)
    site.insert(good_rows(SENSORS))
    site.add_alarm("never", cleared="9999-12-31 00:00:00", raised="2026-01-01 00:00:00")
    async with (
        serve(settings_of(site, {"path": str(tmp_path / "state.db")})) as server,
        connected("python", server.url) as client,
    ):
        (alarm,) = (await client.call("queryAlarms", {"store_house_id": "good", "data_minute": 5}))["data"]
        assert (alarm["state"], alarm["cleared"]) == ("active", None)


@pytest.mark.faults
async def test_long_lists_stop_no_alarm(mariadb: MariaDB, serve: Serve, request: pytest.FixtureRequest) -> None:
    """The site has 10,001 further storehouses and 10,050 open alarms."""
    site, state = site_of("utf8mb4", Path(), request)
    site.insert(good_rows(SENSORS))
    settings = settings_of(site, state, access=access(), poll_interval=0.5)
    theirs = "SELECT store_house_id, org_id, store_house_name, time_zone FROM storehouse"
    more = "SELECT seq, 'many', seq, 'UTC' FROM seq_1_to_10001"
    settings["database"]["map"]["storehouse"] = {"sql": f"{theirs} UNION ALL {more}"}
    theirs = "SELECT alarm_id, sensor_id, store_house_id, raised FROM alarm"
    more = "SELECT CONCAT('a', seq), 'many', '1', UTC_TIMESTAMP() FROM seq_1_to_10050"
    settings["database"]["map"]["alarm"] = {"sql": f"{theirs} UNION ALL {more}"}
    async with (
        serve(settings) as server,
        connected("python", server.url, auth={"token": token(role="watch", organisations=["good"])}) as client,
        connected("python", server.url, auth={"token": token(role="watch")}) as of_many,
    ):
        await watch(client)
        await breach(site, client, "first")
        site.add_alarm("theirs")
        await alarm_of(client, alarm_id="theirs")
        too_many = await of_many.call("storehouses", "many")
        assert too_many["error"]["params"]["reason"] == "too_many_rows"
        assert (await fetch(f"{server.url}readyz")).code == 200
