"""Events about Storewatch's own alarms: the pushes to clients, and the actions of users."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alarm_service.rule_actions import FORMER_CHANGES
from tests.support.clients import Client, connected
from tests.support.judged import kept
from tests.support.serving import Serve, StorewatchServer
from tests.support.sites import Site, site
from tests.test_several_processes import beside

RULES: list[dict[str, Any]] = [
    {"scope": {"metric": "temperature"}, "high": {"limit": 5, "delay": 1}, "high_high": 8},
    {"scope": {"metric": "door"}, "switch": {"limit": 1, "severity": "warning"}},
]
PERSON = "李 Li"


@pytest.fixture
def north(mariadb_database: dict[str, Any]) -> Iterator[Site]:
    with site(mariadb_database) as built:
        built.settings = {"database": mariadb_database, "poll_interval": 0.1, "rules": RULES, "rate_burst": 1000}
        yield built


@pytest.fixture
async def server(north: Site, serve: Serve) -> AsyncIterator[StorewatchServer]:
    async with serve(north.settings) as running:
        yield running


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


class Watcher:
    """A client that watches `north` and reads its alarm events."""

    def __init__(self, client: Client, built: Site) -> None:
        self.client = client
        self.store_house_id = built.ids["north"]
        self._told: list[dict[str, Any]] = []

    async def register(self) -> None:
        assert (await self.client.call("register", {"store_house_id": self.store_house_id}))["ok"]

    async def next(self, transition: str) -> dict[str, Any]:
        """Wait for the next alarm that is pushed to the client. Check its transition and return the alarm."""
        if not self._told:
            self._told += (await self.client.next("alarms"))["alarms"]
        alarm = self._told.pop(0)
        assert alarm["transition"] == transition
        return alarm

    async def ask(self, event: str, **question: Any) -> Any:
        answer = await self.client.call(event, question)
        assert answer["ok"], answer
        return answer["data"]

    async def error(self, event: str, **question: Any) -> tuple[str, str | None]:
        answer = await self.client.call(event, question)
        return answer["error"]["code"], answer["error"].get("field")

    async def alarms(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = await self.ask("queryAlarms", store_house_id=self.store_house_id, data_minute=60)
        return listed


@asynccontextmanager
async def watching(built: Site, *servers: StorewatchServer) -> AsyncIterator[list[Watcher]]:
    async with AsyncExitStack() as running:
        watchers = [
            Watcher(await running.enter_async_context(connected("python", server.url)), built) for server in servers
        ]
        for watcher in watchers:
            await watcher.register()
        yield watchers


async def test_a_client_gets_every_transition_of_an_alarm_in_order(north: Site, server: StorewatchServer) -> None:
    async with watching(north, server, server) as watchers:
        await check_alarm_lifecycle(north, watchers)


async def test_clients_of_another_process_get_the_same_transitions(north: Site, serve: Serve) -> None:
    async with (
        serve(north.settings) as first,
        serve(north.settings) as second,
        watching(north, first, second) as watchers,
    ):
        await check_alarm_lifecycle(north, watchers)


async def check_alarm_lifecycle(north: Site, watchers: list[Watcher]) -> None:
    """Check that every watching client receives each transition of an alarm.

    The last client acknowledges the alarm after the alarm was raised. The first client acknowledges the alarm again
    after the alarm has worsened.
    """
    north.add("temperature", 6.0, ago(3))
    pending = [await watcher.next("pending") for watcher in watchers]
    assert {(alarm["state"], alarm["value"], alarm["limit"]) for alarm in pending} == {("pending", 6.0, 5.0)}
    north.add("temperature", 7.0, ago(1))
    for watcher in watchers:
        alarm = await watcher.next("raised")
        assert (alarm["state"], alarm["severity"], alarm["acknowledged"]) == ("active", "warning", False)
    asked = {"alarm_id": pending[0]["alarm_id"], "by": PERSON}
    await watchers[-1].ask("ackAlarm", comment="on my way", **asked)
    for watcher in watchers:
        alarm = await watcher.next("acknowledged")
        assert (alarm["acknowledged_by"], alarm["comment"], alarm["cleared"]) == (PERSON, "on my way", None)
    north.add("temperature", 9.0)
    for watcher in watchers:
        alarm = await watcher.next("worsened")
        assert (alarm["severity"], alarm["acknowledged"], alarm["limit"]) == ("critical", False, 8.0)
        assert "acknowledged_by" not in alarm
    await watchers[0].ask("ackAlarm", **asked)
    north.add("temperature", 3.0)
    for watcher in watchers:
        assert (await watcher.next("acknowledged"))["acknowledged"] is True
        alarm = await watcher.next("cleared")
        assert (alarm["state"], alarm["peak"], alarm["acknowledged"]) == ("cleared", 9.0, True)
        assert [alarm["alarm_id"] for alarm in await watcher.alarms()] == [pending[0]["alarm_id"]]


async def test_an_acknowledgement_needs_a_name_and_counts_once(north: Site, server: StorewatchServer) -> None:
    async with watching(north, server) as (watcher,):
        north.add("door", 1.0)
        alarm_id = (await watcher.next("raised"))["alarm_id"]
        for by in (None, "", "  "):
            assert await watcher.error("ackAlarm", alarm_id=alarm_id, by=by) == ("bad_request", "by")
        first = await watcher.ask("ackAlarm", alarm_id=alarm_id, by=PERSON, comment="seen")
        assert await watcher.ask("ackAlarm", alarm_id=alarm_id, by="somebody else") == first
        await watcher.next("acknowledged")
        assert (await watcher.alarms())[0]["acknowledged_by"] == PERSON
        north.add("door", 0.0)
        await watcher.next("cleared")


async def test_a_closed_alarm_returns_only_after_a_normal_value(north: Site, server: StorewatchServer) -> None:
    async with watching(north, server) as (watcher,):
        north.add("temperature", 9.0)
        alarm_id = (await watcher.next("raised"))["alarm_id"]
        assert await watcher.error("closeAlarm", alarm_id=alarm_id, by=PERSON, reason=" ") == (
            "bad_request",
            "reason",
        )
        await watcher.ask("closeAlarm", alarm_id=alarm_id, by=PERSON, reason="sensor faulty")
        alarm = await watcher.next("closed")
        assert (alarm["state"], alarm["closed_by"], alarm["reason"]) == ("cleared", PERSON, "sensor faulty")
        assert alarm["cleared"] is not None
        async with beside(vary_temperature(north)):
            again = await watcher.next("raised")
        assert again["alarm_id"] != alarm_id
        assert (await watcher.ask("closeAlarm", alarm_id=alarm_id, by="Wu", reason="twice"))["closed_by"] == PERSON


async def vary_temperature(built: Site) -> None:
    """Add high and normal readings until cancelled.

    A single high reading is not enough. If it arrives before the judge knows that the old alarm was closed by hand, it
    belongs to the old alarm and raises no new alarm.
    """
    while True:
        for value in (9.5, 12.0, 3.0):
            await asyncio.to_thread(built.add, "temperature", value)
            await asyncio.sleep(0.3)


async def test_the_sites_own_alarms_are_listed_but_cannot_be_changed(north: Site, server: StorewatchServer) -> None:
    async with watching(north, server) as (watcher,):
        north.raise_alarm("door", ago(600), kind="switch")
        theirs = (await watcher.client.next("alarms"))["alarms"][0]
        assert "transition" not in theirs
        north.add("door", 1.0)
        ours = await watcher.next("raised")
        assert [alarm["alarm_id"] for alarm in await watcher.alarms()] == [ours["alarm_id"], theirs["alarm_id"]]
        for event, more in (("ackAlarm", {}), ("closeAlarm", {"reason": "why"})):
            code = await watcher.error(event, alarm_id=theirs["alarm_id"], by=PERSON, **more)
            assert code == ("forbidden", "alarm_id")
            for unknown in ("sw-999", 987654, "nonsense"):
                code = await watcher.error(event, alarm_id=unknown, by=PERSON, **more)
                assert code == ("not_found", "alarm_id")


async def test_maintenance_mutes_alarms_and_is_shown(north: Site, server: StorewatchServer) -> None:
    async with watching(north, server) as (watcher,):
        span = {"store_house_id": north.ids["north"], "start": ago(60).isoformat(), "end": ago(-600).isoformat()}
        saved = await watcher.ask("saveMaintenance", **span, reason="defrosting", by=PERSON)
        assert (await watcher.ask("queryRules", store_house_id=north.ids["north"]))["maintenance"] == [saved]
        wrong = span | {"end": span["start"], "reason": "backwards", "by": PERSON}
        assert await watcher.error("saveMaintenance", **wrong) == ("bad_request", "end")
        while not (await cause_breach(north, watcher))["silenced"]:
            pass  # the judge reads the maintenance at its next poll


async def test_a_time_outside_the_database_range_is_refused(north: Site, server: StorewatchServer) -> None:
    here: dict[str, Any] = {"store_house_id": north.ids["north"]}
    async with watching(north, server) as (watcher,):
        for start, end in (
            ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z"),
            ("9999-12-31T22:00:00-14:00", "9999-12-31T23:00:00-14:00"),
        ):
            assert await watcher.error("querySensors", **here, since=start) == ("bad_request", "since")
            wrong = here | {"start": start, "end": end, "reason": "for ever", "by": PERSON}
            assert await watcher.error("saveMaintenance", **wrong) == ("bad_request", "start")


async def test_maintenance_can_be_ended_early(north: Site, server: StorewatchServer) -> None:
    async with watching(north, server) as (watcher,):
        span = {"store_house_id": north.ids["north"], "start": ago(60).isoformat(), "end": ago(-600).isoformat()}
        done = {"reason": "defrosting", "by": PERSON}
        saved = await watcher.ask("saveMaintenance", **span, **done)
        while not (await cause_breach(north, watcher))["silenced"]:
            pass  # the judge reads the maintenance at its next poll
        ended = span | done | {"end": ago(0).isoformat(), "maintenance_id": saved["maintenance_id"]}
        elsewhere = ended | {"store_house_id": north.ids["south"]}
        assert await watcher.error("saveMaintenance", **elsewhere) == ("not_found", "maintenance_id")
        await watcher.ask("saveMaintenance", **ended)
        while (await cause_breach(north, watcher))["silenced"]:
            pass
        assert (await watcher.ask("queryRules", store_house_id=north.ids["north"]))["maintenance"] == []
        assert await watcher.error("saveMaintenance", **ended) == ("not_found", "maintenance_id")


async def cause_breach(north: Site, watcher: Watcher) -> dict[str, Any]:
    north.add("temperature", 9.0)
    raised = (await watcher.client.next("alarms"))["alarms"][0]
    north.add("temperature", 3.0)
    await watcher.client.next("alarms")
    return dict(raised)


async def test_rules_are_saved_with_the_history_of_their_changes(north: Site, server: StorewatchServer) -> None:
    async with watching(north, server) as (watcher,):
        before = await watcher.ask("queryRules")
        assert [rule["scope"] for rule in before["rules"]] == [rule["scope"] for rule in RULES]
        assert before["profiles"]["frozen"]["temperature"]["high"]["limit"] == -18.0
        wrong = [{"scope": {"metric": "temperature"}, "high": "warm"}]
        assert await watcher.error("saveRules", rules=wrong, by=PERSON) == ("bad_request", "rules")
        rules = [{"scope": {"store_house_id": north.ids["south"]}, "profile": "frozen"}]
        after = await watcher.ask("saveRules", rules=rules, by=PERSON)
        assert after["rules"] == rules
        change = after["changes"][0]
        assert (change["by"], change["before"], change["after"]) == (PERSON, before["rules"], rules)
        assert (await watcher.ask("queryRules", store_house_id=north.ids["north"]))["rules"] == []
        sensors = await watcher.ask("querySensors", store_house_id=north.ids["south"])
        assert sensors[0]["limits"] == {"high": -18.0, "high_high": -15.0, "low": None, "low_low": None}


async def test_saving_rules_with_an_outdated_revision_is_a_conflict(north: Site, server: StorewatchServer) -> None:
    async with watching(north, server) as (watcher,):
        seen = (await watcher.ask("queryRules"))["revision"]
        saved = await watcher.ask("saveRules", rules=[{"high": 6}], revision=seen, by=PERSON)
        late = {"rules": [{"high": 7}], "by": "王"}
        assert await watcher.error("saveRules", **late, revision=seen) == ("conflict", "revision")
        assert (await watcher.ask("queryRules"))["rules"] == [{"high": 6.0}]
        assert (await watcher.ask("saveRules", **late, revision=saved["revision"]))["rules"] == [{"high": 7.0}]
        assert (await watcher.ask("saveRules", rules=[{"high": 8}], by=PERSON))["revision"] > saved["revision"]


async def test_past_limits_show_when_each_limit_was_in_force(north: Site, server: StorewatchServer) -> None:
    async with watching(north, server) as (watcher,):
        before = ago(60)
        for rules in ([{"high": 6}], [{"high": 6}, {"scope": {"metric": "humidity"}, "low": 1}], [{"low": 2}]):
            change = (await watcher.ask("saveRules", rules=rules, by=PERSON))["changes"][0]
        of_north = {"store_house_id": north.ids["north"]}
        thermometer = await query_thermometer(watcher, since=before.isoformat())
        first, second = thermometer["past_limits"]
        assert (first["high"], first["high_high"], first["start"]) == (5.0, 8.0, iso(before))
        # The change of the rule for humidity does not affect this sensor, so there are only two past limits.
        assert (second["high"], second["high_high"], second["start"]) == (6.0, None, first["end"])
        assert second["end"] == change["written"]
        assert (thermometer["limits"]["high"], thermometer["limits"]["low"]) == (None, 2.0)
        assert (await query_thermometer(watcher, since=ago(0).isoformat()))["past_limits"] == []
        assert "past_limits" not in (await watcher.ask("querySensors", **of_north))[0]


async def test_past_limits_cover_only_the_newest_rule_changes(north: Site, server: StorewatchServer) -> None:
    async with watching(north, server) as (watcher,):
        written = []
        for number in range(FORMER_CHANGES + 2):
            answer = await watcher.ask("saveRules", rules=[{"high": 10 + number}], by=PERSON)
            written.append(answer["changes"][0]["written"])
        former_limits = (await query_thermometer(watcher, since=ago(3600).isoformat()))["past_limits"]
        assert [limits["high"] for limits in former_limits] == [11.0 + number for number in range(FORMER_CHANGES)]
        assert former_limits[0]["start"] == written[1]


async def query_thermometer(watcher: Watcher, since: str) -> dict[str, Any]:
    """Send `querySensors`. Return the part of the answer about the thermometer in the watched storehouse."""
    sensors = await watcher.ask("querySensors", store_house_id=watcher.store_house_id, since=since)
    thermometer: dict[str, Any] = next(sensor for sensor in sensors if sensor["metric"] == "temperature")
    return thermometer


def iso(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


async def test_without_a_judge_only_the_sites_alarms_are_pushed(north: Site, serve: Serve) -> None:
    async with serve(north.settings | {"alarms": {"judge": False}}) as server, watching(north, server) as (watcher,):
        north.add("temperature", 9.0)
        north.raise_alarm("door", ago(1))
        assert (await watcher.client.next("alarms"))["alarms"][0]["kind"] == "high"
        assert kept(north) == []
