"""If the server's clock disagrees with all sensors or with the database, one alarm says so."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alarm_service.clock_watch import ClockWatch
from alarm_service.judge_term import JudgeTerm, SyncResult
from alarm_service.sensor_states import SensorStates
from alarms.model import Change, Episode
from alarms.wrong_clock import AFTER_S, clock_alarm, clock_error
from ask.answers import EVERYWHERE
from ask.readings import Reading
from ask.sensors import Sensor
from common import clock
from live.source import Position
from record.episodes import ClosedByHand, WriteResult
from tests.support.clients import Client, connected
from tests.support.judged import kept
from tests.support.serving_inside import serving_inside, until
from tests.support.sites import Site, site
from tests.support.webhook import PATIENCE, webhook

HOUR = 3600.0
NOW = 1_780_000_000.0


@pytest.mark.parametrize(
    ("sensors", "database", "error"),
    [
        pytest.param([HOUR] * 2, None, HOUR, id="both sensors ahead"),
        pytest.param([HOUR] * 9 + [0.0], None, HOUR, id="nine of ten sensors ahead"),
        pytest.param([HOUR, HOUR + 9, 70.0], 0.0, HOUR, id="all sensors ahead, database right"),
        pytest.param([HOUR], HOUR - 1, HOUR - 1, id="one sensor and the database ahead"),
        pytest.param([], HOUR, HOUR, id="database ahead, no sensor reports"),
        pytest.param([-HOUR] * 5, -HOUR, -HOUR, id="sensors and database behind"),
        pytest.param([-HOUR] * 3 + [0.0] * 2, -HOUR, -HOUR, id="most sensors and database behind"),
        pytest.param([HOUR], None, None, id="one sensor ahead"),
        pytest.param([HOUR], 0.0, None, id="one sensor ahead, database right"),
        pytest.param([HOUR] * 8 + [0.0] * 2, None, None, id="eight of ten sensors ahead"),
        pytest.param([60.0] * 5, 60.0, None, id="a minute ahead"),
        pytest.param([-HOUR] * 5, None, None, id="late readings only"),
        pytest.param([-HOUR] * 5, 0.0, None, id="late readings, database right"),
        pytest.param([0.0], HOUR, None, id="database ahead, the sensor right"),
        pytest.param([0.0] * 3 + [-HOUR] * 3, -HOUR, None, id="database behind, half of the sensors right"),
        pytest.param([], None, None, id="nothing known"),
    ],
)
def test_almost_all_sensors_or_the_database_must_disagree(
    sensors: list[float], database: float | None, error: float | None
) -> None:
    assert clock_error(sensors, database, is_open=False) == error


def test_an_open_alarm_ends_only_below_half_the_limit() -> None:
    assert clock_error([31.0] * 2, None, is_open=True) == 31.0
    assert clock_error([], -31.0, is_open=True) == -31.0
    assert clock_error([29.0] * 2, 29.0, is_open=True) is None


def changed(last: Episode | None, error_s: float | None, wrong_for_s: float = AFTER_S, now: float = NOW) -> Change:
    (change,) = clock_alarm(last, error_s, wrong_for_s, now)
    return change


def test_the_alarm_is_raised_once_and_cleared() -> None:
    assert clock_alarm(None, HOUR, AFTER_S - 1, NOW) == []
    raised = changed(None, HOUR)
    alarm = raised.episode
    assert (raised.what, alarm.store_house_id, alarm.key, alarm.kind) == ("raised", EVERYWHERE, None, "clock")
    assert (alarm.severity, alarm.value, alarm.since, alarm.raised) == ("critical", HOUR, NOW - AFTER_S, NOW)
    assert clock_alarm(alarm, HOUR + 59, 2 * AFTER_S, NOW + 60) == []
    refreshed = changed(alarm, -HOUR - 99, 2 * AFTER_S, NOW + 60)
    assert (refreshed.what, refreshed.episode.value, refreshed.episode.peak) == ("refreshed", -HOUR - 99, -HOUR - 99)
    cleared = changed(alarm, None, 0.0, NOW - HOUR)  # the clock was set back
    assert (cleared.what, cleared.episode.cleared) == ("cleared", NOW)
    assert clock_alarm(cleared.episode, None, 0.0, NOW) == []
    assert changed(cleared.episode, HOUR, AFTER_S, NOW + 99).what == "reopened"
    assert changed(cleared.episode, HOUR, AFTER_S, NOW + HOUR).what == "raised"


def test_an_alarm_closed_by_hand_is_raised_anew_when_it_returns() -> None:
    term = JudgeTerm(1, SensorStates([], defaults=False), 0, Position())
    for judge in (term.judge_clock, lambda error, _, now: term.judge_outages(error and now - HOUR, now)):
        judge(HOUR, AFTER_S, NOW)
        raised = term.unwritten[-1].change.episode
        closed = ClosedByHand(raised, NOW, NOW + 1)
        term.apply(SyncResult(WriteResult([], [], [], []), [closed], 0, (0, 0), None, None), NOW)
        judge(HOUR, AFTER_S, NOW + 2)
        assert term.unwritten[-1].change.episode == raised
        judge(None, 0.0, NOW + 3)
        judge(HOUR, AFTER_S, NOW + 4)
        assert [judged.change.what for judged in term.unwritten[-3:]] == ["raised", "cleared", "raised"]
        assert term.unwritten[-1].change.episode.since != raised.since


@dataclass
class Watch:
    """A `ClockWatch` with simulated clocks. The server's clock is behind by `behind` seconds."""

    behind: float = 0.0
    seconds: float = 0.0
    database: bool = False

    def __post_init__(self) -> None:
        self.watch = ClockWatch(lambda now: self.true - now if self.database else None, lambda: self.seconds)

    @property
    def true(self) -> float:
        return NOW + self.seconds

    def reports(self, *sensors: int, lead: float = 0.0) -> None:
        """Let sensors report at the true time, plus `lead` seconds."""
        time = datetime.fromtimestamp(self.true + lead, UTC)
        self.watch.add_readings([Reading(sensor, None, time, 1.0) for sensor in sensors])

    @property
    def error(self) -> float | None:
        self.watch.check(self._sensor, self.true - self.behind, is_open=False)
        return None if self.watch.error_s is None else round(self.watch.error_s)

    @staticmethod
    def _sensor(key: Any) -> Sensor | None:
        intervals: dict[Any, float | None] = {1: 60.0, 2: None, 3: 3600.0}
        return Sensor(key[0], 1, "S", "temperature", "°C", intervals[key[0]], key) if key[0] in intervals else None


def test_setting_the_clock_changes_the_result_at_once() -> None:
    watch = Watch(behind=HOUR)
    watch.reports(1, 2)
    assert watch.error == HOUR
    watch.seconds += 20
    assert [watch.error, watch.watch.wrong_for_s] == [HOUR, 20]
    watch.behind = 0.0
    assert [watch.error, watch.watch.wrong_for_s] == [None, 0]
    watch.behind = -HOUR
    assert watch.error is None  # late readings alone do not show that the clock is ahead
    watch.database = True
    assert watch.error == -HOUR


def test_silent_sensors_are_not_excused_by_the_database_clock() -> None:
    watch = Watch(behind=HOUR, database=True)
    watch.reports(1, 2)
    assert (watch.error, watch.watch.has_recent_readings) == (HOUR, True)
    watch.seconds += 301
    assert (watch.error, watch.watch.has_recent_readings) == (HOUR, False)


def test_only_sensors_that_reported_recently_count() -> None:
    watch = Watch()
    watch.reports(3)
    watch.seconds += 1000
    watch.reports(1, 2, lead=HOUR)
    watch.reports(99)
    assert watch.error is None  # sensor 3 agrees and reports once an hour; sensor 99 is unknown
    watch.reports(3, lead=HOUR)
    assert watch.error == HOUR
    watch.seconds += 301
    assert watch.error is None  # only sensor 3 is left


@dataclass
class ServerClock:
    """The clock of a server in the process of the test."""

    behind: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) - self.behind


@pytest.fixture
def server_clock(monkeypatch: pytest.MonkeyPatch) -> ServerClock:
    server_clock = ServerClock()
    monkeypatch.setattr(clock, "now", server_clock.now)
    monkeypatch.setattr("alarms.wrong_clock.AFTER_S", 1.0)
    return server_clock


@pytest.fixture
def built(each_database: dict[str, Any]) -> Iterator[Site]:
    with site(each_database) as built:
        built.settings = each_database
        yield built


async def next_alarm(client: Client) -> dict[str, Any]:
    (alarm,) = (await client.next("alarms"))["alarms"]
    return dict(alarm)


@pytest.mark.slow
async def test_a_clock_set_forward_raises_no_other_alarm(
    mariadb_database: dict[str, Any], server_clock: ServerClock
) -> None:
    """Without the alarm about the clock, all sensors would seem to send no data."""
    with site(mariadb_database) as built:
        rules = [{"scope": {"metric": "temperature"}, "high": {"limit": 8}}]
        settings = {"database": mariadb_database, "poll_interval": 0.1, "rules": rules}
        settings["alarms"] = {"default_rules": True}
        async with serving_inside(settings) as inside, connected("python", inside.url) as client:
            await client.call("register", {"store_house_id": built.ids["north"]})
            built.add("temperature", 9.0)
            assert (await next_alarm(client))["kind"] == "high"
            server_clock.behind = timedelta(hours=-1)
            raised = await next_alarm(client)
            assert raised["kind"] == "clock"
            assert raised["value"] == pytest.approx(-HOUR, abs=5)
            server_clock.behind = timedelta()
            cleared = await next_alarm(client)
            assert (cleared["alarm_id"], cleared["transition"]) == (raised["alarm_id"], "cleared")
        assert [alarm.kind for alarm in kept(built)] == ["high", "clock"]


@pytest.mark.slow
async def test_a_clock_that_is_behind_is_one_alarm(built: Site, server_clock: ServerClock) -> None:
    server_clock.behind = timedelta(hours=1)
    with webhook() as hook:
        notify = {"language": "en", "tiers": [[{"name": "duty", "url": hook.url}]], "group_wait": "0.1s"}
        settings = {"database": built.settings, "poll_interval": 0.1, "notify": notify | {"group_interval": "0.1s"}}
        settings["alarms"] = {"default_rules": True}
        async with serving_inside(settings) as inside, connected("python", inside.url) as client:
            await client.call("register", {"store_house_id": built.ids["north"]})
            for value in (4.0, 5.0):
                built.add("temperature", value)
                built.add("far", value)
            raised = await next_alarm(client)
            assert (raised["kind"], raised["store_house_id"], raised["severity"]) == ("clock", "*", "critical")
            assert raised["value"] == pytest.approx(HOUR, abs=5)
            await until(lambda: hook.messages, PATIENCE)
            assert "Clock of the Storewatch server is behind by about 1 h, or the clocks of" in hook.texts[0]
            server_clock.behind = timedelta()
            cleared = await next_alarm(client)
            assert (cleared["alarm_id"], cleared["transition"]) == (raised["alarm_id"], "cleared")
            await until(lambda: len(hook.messages) == 2, PATIENCE)
        assert [alarm.kind for alarm in kept(built)] == ["clock"]
