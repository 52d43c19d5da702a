"""Apprise sends notices to test webhooks that fail, hang and recover. The clock is simulated."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from alarms.model import CLEARED, RAISED, REOPENED, Change, Episode, Limit
from ask.answers import Alarm, Id, Storehouse
from ask.episodes import open_alarms
from ask.sensors import Sensor
from db import tables
from db.database import Database
from db.limits import LEASE_LIMITS
from live.newest import Newest
from notify.notifier import RETENTION, Notifier
from notify.sender import MOST_STUCK, Sender
from record import episode_actions, episodes, lease, notices
from record.episode_rows import JudgedChange
from settings import Notify, Target
from tests.support.serving_inside import until
from tests.support.sites import ZONE, Site, site
from tests.support.webhook import PATIENCE, Webhook, webhook

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = "alarm journal"
HANGING_S = 4.0  # time-out of a message; working targets answer in less time, even on a busy machine
WARNING = (Limit(8.0, "warning"),)


@dataclass
class Scene:
    """A site, and the settings, database and clock of the notifiers that send the site's notices."""

    site: Site
    state: Database
    notify: Notify
    now: datetime = START
    holder: str = "here"
    notifiers: list[Notifier] = field(default_factory=list)
    timeout_s: float = 30.0
    recording: bool = True
    """Whether the notifiers assume that alarms are being recorded."""

    def notifier(self, holder: str = "here") -> Notifier:
        newest = Newest()
        ids = self.site.ids
        storehouses = [
            Storehouse(ids["north"], "一号库", ids["owner"], ZONE),
            Storehouse(ids["south"], "South", ids["owner"], "America/Chicago"),
        ]
        sensor = Sensor(ids["far"], ids["south"], "Far", "temperature", "°F", 60.0, (ids["far"], None))
        newest.set_directory(storehouses, [sensor], self.now)
        sender = Sender(self.timeout_s)
        return Notifier(
            self.notify, self.state, newest, sender, lambda: self.now, LEASE, holder, lambda: self.recording
        )

    def change(self, notifier: Notifier, *changes: Change, test_alarm: bool = False) -> list[Alarm]:
        """Write alarm changes and the notices about them in one transaction, as the judge does."""
        judged = [self.judged(change, test_alarm=test_alarm) for change in changes]
        with self.state.engine.begin() as connection:
            lease.lock(connection, LEASE)
            written = episodes.write(connection, judged, self.now)
            notifier.write_notices(connection, written.alarms)
            return written.alarms

    def judged(self, change: Change, *, test_alarm: bool = False) -> JudgedChange:
        return JudgedChange(change, f"温度 {change.episode.key}", "temperature", is_test=test_alarm)

    def keep(self, notifier: Notifier, *changes: Change) -> None:
        """Notify of alarm changes that cannot be written, as the judge does."""
        alarms = [episodes.unrecorded_alarm(self.judged(change), ()) for change in changes]
        notifier.add_unrecorded([alarm for alarm in alarms if alarm is not None])

    def record(self, notifier: Notifier, *changes: Change) -> None:
        """Write alarm changes that could not be written before, as the judge does."""
        notifier.settle(self.change(notifier, *changes))
        notifier.clear_unrecorded()

    def episode(self, number: int = 1, storehouse: str = "north", **other: Any) -> Episode:
        since = self.now.timestamp() - 60
        episode = Episode(
            self.site.ids[storehouse], (number, None), "high", since, WARNING, 0, 9.0, 9.0, raised=self.now.timestamp()
        )
        return msgspec.structs.replace(episode, **other)

    def raised(self, episode: Episode) -> Change:
        return Change(RAISED, self.now.timestamp(), episode)

    def cleared(self, episode: Episode) -> Change:
        time = self.now.timestamp()
        return Change(CLEARED, time, msgspec.structs.replace(episode, cleared=time))

    async def passes(self, notifier: Notifier, seconds: float, step: float = 5.0) -> None:
        """Let time pass in steps. In each step, poll with the notifier until the notifier has nothing more to send."""
        end = self.now + timedelta(seconds=seconds)
        while True:
            before = None
            while before != (before := self.attempts()):
                await notifier.poll()
                await notifier.wait_until_sent()
            if self.now >= end:
                return
            self.now = min(self.now + timedelta(seconds=step), end)

    def attempts(self) -> int:
        notice = tables.notice.c
        with self.state.engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(notice.tries), 0))) or 0

    def acknowledge(self, alarm: Alarm) -> None:
        with self.state.engine.begin() as connection:
            lease.lock(connection, LEASE)
            episode_actions.acknowledge(connection, int(str(alarm.alarm_id).removeprefix("sw-")), "Li", None, self.now)

    def open(self) -> list[Alarm]:
        with self.state.engine.connect() as connection:
            return open_alarms(connection)


@pytest.fixture
def hooks() -> Iterator[tuple[Webhook, Webhook]]:
    with webhook() as duty, webhook() as boss:
        yield duty, boss


@pytest.fixture
def built(each_database: dict[str, Any]) -> Iterator[Site]:
    with site(each_database) as built:
        yield built


@pytest.fixture
def scene(built: Site, hooks: tuple[Webhook, Webhook]) -> Iterator[Scene]:
    duty, boss = hooks
    state = Database(built.database.settings, LEASE_LIMITS, 1, writes=True)
    tiers = [[Target(name="duty", url=duty.url)], [Target(name="boss", url=boss.url, language="en")]]
    yield Scene(built, state, Notify(tiers=tiers))
    state.close()


async def test_notices_of_cleared_alarms_are_deleted_after_a_year(scene: Scene, hooks: tuple[Webhook, Webhook]) -> None:
    notifier = scene.notifier()
    over, still = scene.episode(1), scene.episode(2)
    [_, alarm] = scene.change(notifier, scene.raised(over), scene.raised(still))
    scene.acknowledge(alarm)
    scene.change(notifier, scene.cleared(over))
    await scene.passes(notifier, 120)
    assert set(alarms_with_notices(scene)) == {1, 2}
    scene.now += RETENTION - timedelta(minutes=5)
    await scene.passes(notifier, 60, step=60)
    assert set(alarms_with_notices(scene)) == {1, 2}
    count = len(hooks[0].messages)
    await scene.passes(notifier, 600, step=60)
    assert set(alarms_with_notices(scene)) == {2}
    assert len(hooks[0].messages) == count


def alarms_with_notices(scene: Scene) -> list[int]:
    """Return the ids of the alarms (episodes) that still have notices in the database."""
    with scene.state.engine.connect() as connection:
        return list(connection.scalars(sa.select(tables.notice.c.episode_id)))


async def test_notices_sent_before_they_are_recorded_are_not_repeated(
    scene: Scene, hooks: tuple[Webhook, Webhook]
) -> None:
    duty, boss = hooks
    notifier = scene.notifier()
    scene.recording = False
    first, second = scene.episode(1), scene.episode(2)
    again = Change(REOPENED, scene.now.timestamp(), first)
    changes = scene.raised(first), scene.cleared(first), again, scene.raised(second)
    scene.keep(notifier, *changes)
    await scene.passes(notifier, 30)
    assert [line.partition("：")[0] for line in duty.texts[0].splitlines()[1:]] == [
        "报警",
        "报警再次触发",
        "报警",
        "未记录",
    ]
    assert duty.titles[0].endswith("（未记录）")
    scene.recording = True
    scene.record(notifier, *changes)
    await scene.passes(notifier, 120)
    assert (len(duty.messages), len(boss.messages)) == (1, 0)
    await scene.passes(notifier, 510)
    assert "重复通知" in duty.texts[1]
    scene.change(notifier, scene.cleared(first))
    await scene.passes(notifier, 60)
    assert "报警已解除" in duty.texts[-1]


async def test_a_message_in_flight_during_the_recovery_is_sent_once(
    scene: Scene, hooks: tuple[Webhook, Webhook]
) -> None:
    duty, _ = hooks
    notifier = scene.notifier()
    scene.recording = False
    change = scene.raised(scene.episode())
    scene.keep(notifier, change)
    scene.now += timedelta(seconds=5)
    arrived, recorded = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold() -> None:
        loop.call_soon_threadsafe(arrived.set)
        recorded.wait(PATIENCE)

    duty.on_message = hold
    await notifier.poll()
    await arrived.wait()
    scene.recording = True
    scene.record(notifier, change)
    await notifier.poll()
    recorded.set()
    await notifier.wait_until_sent()
    await scene.passes(notifier, 120)
    assert len(duty.messages) == 1


async def test_a_failed_unrecorded_message_is_retried_after_the_recovery(
    scene: Scene, hooks: tuple[Webhook, Webhook]
) -> None:
    duty, _ = hooks
    notifier = scene.notifier()
    scene.recording = False
    duty.fails = True
    change = scene.raised(scene.episode())
    scene.keep(notifier, change)
    await scene.passes(notifier, 10)
    assert duty.messages == []
    assert duty.attempts > 1
    scene.recording = True
    scene.record(notifier, change)
    duty.recover()
    await scene.passes(notifier, 60)
    assert len(duty.messages) == 1
    assert duty.titles[0].endswith("（重发）")


async def test_unrecorded_notices_follow_the_rules_for_recipients(scene: Scene, hooks: tuple[Webhook, Webhook]) -> None:
    duty, boss = hooks
    ids: list[Id] = [scene.site.ids["south"]]
    scene.notify = Notify(
        tiers=[
            [Target(name="duty", url=duty.url, store_house_ids=ids), Target(name="boss", url=boss.url)],
            [Target(name="late", url=duty.url)],
        ]
    )
    notifier = scene.notifier()
    scene.recording = False
    muted = scene.judged(scene.raised(scene.episode(2)))._replace(muted=True)
    alarm = episodes.unrecorded_alarm(muted, ())
    assert alarm is not None
    notifier.add_unrecorded([alarm])
    scene.keep(notifier, scene.raised(scene.episode(1)))
    await scene.passes(notifier, 60)
    assert duty.messages == []
    assert len(boss.messages) == 1
    assert "(2, None)" not in boss.texts[0]


async def test_nothing_is_sent_from_memory_while_alarms_are_recorded(
    scene: Scene, hooks: tuple[Webhook, Webhook]
) -> None:
    duty, _ = hooks
    notifier = scene.notifier()
    scene.keep(notifier, scene.raised(scene.episode()))
    await scene.passes(notifier, 60)
    assert duty.messages == []


@pytest.mark.slow
async def test_reminders_and_escalations_arrive_when_they_are_due(scene: Scene, hooks: tuple[Webhook, Webhook]) -> None:
    duty, boss = hooks
    notifier = scene.notifier()
    episode = scene.episode()
    [alarm] = scene.change(notifier, scene.raised(episode))
    await scene.passes(notifier, 4, step=1)
    assert duty.messages == []
    await scene.passes(notifier, 1, step=1)
    assert [title.partition("】")[0] for title in duty.titles] == ["【警告"]
    await scene.passes(notifier, 599, step=599)
    assert len(duty.messages) == 1
    await scene.passes(notifier, 1)
    assert duty.texts[-1].splitlines()[1].startswith("重复通知，尚未确认：温度 (1, None)")
    await scene.passes(notifier, 594, step=594)
    assert (len(duty.messages), len(boss.messages)) == (2, 0)
    await scene.passes(notifier, 1, step=1)
    assert len(boss.messages) == 1
    assert "Escalated, not acknowledged" in boss.texts[0]
    scene.acknowledge(alarm)
    count = len(duty.messages), len(boss.messages)
    await scene.passes(notifier, 7200, step=60)
    assert (len(duty.messages), len(boss.messages)) == count
    scene.change(notifier, scene.cleared(episode))
    await scene.passes(notifier, 60)
    assert duty.texts[-1].splitlines()[1].startswith("报警已解除：")
    assert boss.texts[-1].splitlines()[1].startswith("Alarm cleared: ")


@pytest.mark.slow
async def test_many_alarms_at_once_make_one_message_per_storehouse(
    scene: Scene, hooks: tuple[Webhook, Webhook]
) -> None:
    duty, _ = hooks
    notifier = scene.notifier()
    for number in range(150):
        storehouse = "north" if number % 2 else "south"
        scene.change(notifier, scene.raised(scene.episode(number, storehouse)))
        scene.now += timedelta(milliseconds=25)
    await scene.passes(notifier, 540)
    assert sorted(title.partition("】")[2] for title in duty.titles) == ["South：75 条报警", "一号库：75 条报警"]
    assert all("另有 55 条" in text for text in duty.texts)
    await scene.passes(notifier, 120)
    assert len(duty.messages) == 4


@pytest.mark.slow
async def test_a_long_series_of_alarms_makes_one_message_per_minute(
    scene: Scene, hooks: tuple[Webhook, Webhook]
) -> None:
    duty, _ = hooks
    notifier = scene.notifier()
    for number in range(60):
        scene.change(notifier, scene.raised(scene.episode(number)))
        await scene.passes(notifier, 5)
    await scene.passes(notifier, 60)
    assert len(duty.messages) <= 6
    assert {f"({number}, None)" for number in range(60)} == {
        line.partition("温度 ")[2].partition("（")[0] for text in duty.texts for line in text.splitlines()[1:]
    }


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_a_recovered_target_gets_all_notices_and_delays_no_other(
    how: str, scene: Scene, hooks: tuple[Webhook, Webhook]
) -> None:
    duty, desk = hooks
    scene.timeout_s = HANGING_S
    scene.notify = Notify(
        tiers=[[Target(name="duty", url=duty.url), Target(name="desk", url=desk.url)]], repeat="1d", language="en"
    )
    notifier = scene.notifier()
    setattr(duty, how, True)
    first, second = scene.episode(1), scene.episode(2, "south")
    scene.change(notifier, scene.raised(first))
    await scene.passes(notifier, 10)
    assert len(desk.messages) == 1
    scene.change(notifier, scene.raised(second))
    scene.change(notifier, scene.cleared(first))
    await scene.passes(notifier, 120, step=20)
    assert duty.messages == []
    duty.recover()
    await until(lambda: not any(thread.name == "notify duty" for thread in threading.enumerate()))
    await scene.passes(notifier, 600, step=20)
    told = [line for text in duty.texts for line in text.splitlines() if "温度" in line]
    assert [line.partition(":")[0] for line in told if "(1, None)" in line] == ["Alarm", "Alarm cleared"]
    assert [line.partition(":")[0] for line in told if "(2, None)" in line] == ["Alarm"]
    assert "before" in duty.texts[0]
    assert all("before" not in text for text in desk.texts)


async def test_failing_delivery_is_an_alarm_until_it_recovers(scene: Scene, hooks: tuple[Webhook, Webhook]) -> None:
    duty, desk = hooks
    scene.notify = Notify(tiers=[[Target(name="duty", url=duty.url), Target(name="desk", url=desk.url)]], repeat="1d")
    notifier = scene.notifier()
    duty.fails = True
    episode = scene.episode()
    scene.change(notifier, scene.raised(episode))
    await scene.passes(notifier, 120)
    [failing] = [alarm for alarm in scene.open() if alarm.kind == "delivery"]
    assert (failing.severity, failing.sensor_name, failing.store_house_id) == (
        "critical",
        "duty",
        episode.store_house_id,
    )
    assert "接收人“duty”收不到通知" in desk.texts[-1]
    duty.recover()
    await scene.passes(notifier, 120)
    assert [alarm.kind for alarm in scene.open()] == ["high"]
    assert "报警已解除：接收人“duty”" in desk.texts[-1]
    assert not any("收不到通知" in text for text in duty.texts)


async def test_an_alarm_raised_and_cleared_together_makes_one_message(
    scene: Scene, hooks: tuple[Webhook, Webhook]
) -> None:
    duty, _ = hooks
    notifier = scene.notifier()
    episode = scene.episode()
    scene.change(notifier, scene.raised(episode), scene.cleared(episode))
    await scene.passes(notifier, 60)
    assert [line.partition("：")[0] for line in duty.texts[0].splitlines()[1:]] == ["报警", "报警已解除"]
    assert len(duty.messages) == 1


async def test_only_the_lease_holder_sends_and_another_takes_over(scene: Scene, hooks: tuple[Webhook, Webhook]) -> None:
    duty, _ = hooks
    here, there = scene.notifier("here"), scene.notifier("there")
    await here.poll()
    scene.change(here, scene.raised(scene.episode()))
    scene.now += timedelta(seconds=10)
    await there.poll()
    await there.wait_until_sent()
    assert duty.messages == []
    with scene.state.engine.begin() as connection:
        lease.release(connection, LEASE, "here")
    await there.poll()
    await there.wait_until_sent()
    await here.poll()
    await here.wait_until_sent()
    assert len(duty.messages) == 1


async def test_an_interrupted_message_is_sent_again_and_marked_as_repeated(
    scene: Scene, hooks: tuple[Webhook, Webhook]
) -> None:
    duty, _ = hooks
    dead, heir = scene.notifier("dead"), scene.notifier("heir")
    scene.change(dead, scene.raised(scene.episode()))
    scene.now += timedelta(seconds=5)
    with scene.state.engine.begin() as connection:
        [pending] = notices.pending_messages(connection, ["duty"])
        notices.start_attempt(connection, pending)
    await heir.poll()
    await heir.wait_until_sent()
    assert duty.titles[0].endswith("（重发）")
    assert duty.texts[0].splitlines()[-1] == "本消息此前已发送过，您可能已经收到。"


def test_the_database_refuses_a_duplicate_notice(scene: Scene) -> None:
    notifier = scene.notifier()
    scene.change(notifier, scene.raised(scene.episode()))
    with scene.state.engine.begin() as connection:
        row = dict(connection.execute(sa.select(tables.notice)).mappings().one())
    row.pop("notice_id")
    with pytest.raises(sa.exc.IntegrityError), scene.state.engine.begin() as connection:
        connection.execute(sa.insert(tables.notice), [row])


def test_uncommitted_notices_are_not_sent(scene: Scene) -> None:
    notifier = scene.notifier()
    with scene.state.engine.connect() as connection:
        connection.begin()
        written = episodes.write(connection, [JudgedChange(scene.raised(scene.episode()), "a", None)], scene.now)
        notifier.write_notices(connection, written.alarms)
        assert len(notices.pending_messages(connection, ["duty"])) == 1
        connection.rollback()
        assert notices.pending_messages(connection, ["duty"]) == []


@pytest.mark.slow
async def test_a_hanging_target_gets_a_limited_number_of_attempts(hooks: tuple[Webhook, Webhook]) -> None:
    hanging, other = hooks
    hanging.hangs = True
    sender = Sender(HANGING_S)
    target = Target(name="duty", url=f"{hanging.url}?rto=600")  # Apprise itself would wait 600 s
    async with asyncio.timeout(PATIENCE):
        for _ in range(MOST_STUCK + 2):
            assert not await sender.send(target, "subject", "text", "critical")
        assert await sender.send(Target(name="desk", url=other.url), "subject", "text", None)
    assert hanging.attempts == MOST_STUCK
    hanging.recover()
    await until(lambda: not any(thread.name == "notify duty" for thread in threading.enumerate()))
    assert await sender.send(target, "subject", "text", "critical")
    assert [message["type"] for message in (*hanging.messages, *other.messages)] == ["failure", "success"]
