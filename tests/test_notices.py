"""Which target gets which notice about an alarm, and when. The clock is simulated."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from alarms import notices
from alarms.notices import Case, EscalationPolicy, Notice, NoticeContent
from ask.answers import Alarm, Id
from settings import Notify, Target

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
DUTY, DESK, BOSS = Target(name="duty", url="x"), Target(name="desk", url="x"), Target(name="boss", url="x")
POLICY = notices.escalation_policy(Notify(tiers=[[DUTY], [BOSS]]))
ALARM = Alarm(
    alarm_id="sw-1",
    store_house_id=1,
    sensor_id=7,
    sensor_name="温度 1",
    metric="temperature",
    kind="high",
    severity="warning",
    state="active",
    acknowledged=False,
    value=9.0,
    limit=8.0,
    raised=START,
    cleared=None,
    transition="raised",
    since=START - timedelta(minutes=5),
    peak=9.5,
)


def but(alarm: Alarm = ALARM, **changes: Any) -> Alarm:
    """Return a copy of the alarm in which these values are changed."""
    return msgspec.structs.replace(alarm, **changes)


CLEARED = but(state="cleared", cleared=START + timedelta(hours=1), transition="cleared")


class Story:
    """A simulation of alarms and their notices, minute by minute. Every notice arrives without delay."""

    def __init__(self, policy: EscalationPolicy = POLICY) -> None:
        self.policy = policy
        self.alarms: dict[Id, Alarm] = {}
        self.told: dict[Id, dict[str, NoticeContent]] = {}
        self.said: list[tuple[float, str, str]] = []
        """The minute, the target (recipient) and the event of each notice so far."""
        self.minute = 0.0

    @property
    def now(self) -> datetime:
        return START + timedelta(minutes=self.minute)

    def happens(self, *alarms: Alarm) -> "Story":
        """Change alarms, or add new ones."""
        for alarm in alarms:
            self.alarms[alarm.alarm_id] = alarm
            self._tell(notices.change_notices([self._case(alarm)], self.policy, self.now))
        return self

    def until(self, minute: float, step: float = 1.0) -> "Story":
        """Let time pass up to this minute."""
        while self.minute < minute:
            self.minute += step
            self._tell(
                notices.due_notices([self._case(alarm) for alarm in self.alarms.values()], self.policy, self.now)
            )
        return self

    def _case(self, alarm: Alarm) -> Case:
        return Case(alarm, self.told.get(alarm.alarm_id, {}))

    def _tell(self, due: list[Notice]) -> None:
        for target, alarm, content in due:
            self.told.setdefault(alarm.alarm_id, {})[target] = content._replace(time=self.now)
            if content.what != notices.RECORD_ONLY:
                self.said.append((self.minute, target, content.what))


def test_the_first_tier_is_notified_when_raised_and_when_cleared() -> None:
    story = Story().happens(ALARM).until(5).happens(CLEARED).until(60)
    assert story.said == [(0, "duty", "raised"), (5, "duty", "cleared")]


def test_reminders_and_escalation_continue_until_the_acknowledgement() -> None:
    story = Story().happens(ALARM).until(35).happens(but(acknowledged=True)).until(120)
    assert story.said == [
        (0, "duty", "raised"),
        (10, "duty", "reminded"),
        (20, "duty", "reminded"),
        (20, "boss", "escalated"),
        (30, "duty", "reminded"),
        (30, "boss", "reminded"),
    ]


def test_the_third_tier_is_notified_after_twice_the_time() -> None:
    story = (
        Story(notices.escalation_policy(Notify(tiers=[[DUTY], [DESK], [BOSS]], repeat="1d"))).happens(ALARM).until(60)
    )
    assert story.said == [(0, "duty", "raised"), (20, "desk", "escalated"), (40, "boss", "escalated")]


def test_after_an_acknowledgement_only_clearing_is_notified() -> None:
    story = Story().happens(ALARM, but(acknowledged=True)).until(60).happens(CLEARED)
    assert story.said == [(0, "duty", "raised"), (60, "duty", "cleared")]


def test_a_worsened_alarm_is_notified_at_once_and_escalates_again() -> None:
    worse = but(severity="critical", limit=12.0, transition="worsened")
    story = Story().happens(ALARM, but(acknowledged=True)).until(60).happens(worse).until(85)
    assert story.said == [
        (0, "duty", "raised"),
        (60, "duty", "worsened"),
        (70, "duty", "reminded"),
        (80, "duty", "reminded"),
        (80, "boss", "escalated"),
    ]


def test_time_before_an_acknowledgement_does_not_count_for_escalation() -> None:
    told = {"duty": NoticeContent(2, notices.RECORD_ONLY, "warning", 8.0, START, START)}
    due = notices.due_notices([Case(but(severity="critical"), told)], POLICY, START + timedelta(hours=1))
    assert [(notice.target, notice.content.what) for notice in due] == [("duty", "worsened")]


def test_worsening_does_not_postpone_the_next_tier() -> None:
    story = Story().happens(ALARM).until(15).happens(but(severity="critical", limit=12.0)).until(20)
    assert story.said[1:] == [(10, "duty", "reminded"), (15, "duty", "worsened"), (20, "boss", "escalated")]


def test_a_worse_limit_of_equal_severity_counts_as_worsened() -> None:
    assert Story().happens(ALARM, but(limit=12.0)).said == [(0, "duty", "raised"), (0, "duty", "worsened")]


def test_no_target_gets_the_same_notice_twice() -> None:
    assert Story().happens(ALARM, ALARM, ALARM, CLEARED, CLEARED).said == [
        (0, "duty", "raised"),
        (0, "duty", "cleared"),
    ]


def test_an_alarm_that_returns_is_notified_and_escalates_again() -> None:
    story = Story().happens(ALARM).until(25).happens(CLEARED).until(30).happens(ALARM).until(50)
    assert story.said[3:] == [
        (20, "boss", "escalated"),
        (25, "duty", "cleared"),
        (25, "boss", "cleared"),
        (30, "duty", "raised"),
        (40, "duty", "reminded"),
        (50, "duty", "reminded"),
        (50, "boss", "escalated"),
    ]


def test_a_reopened_alarm_is_notified_although_it_was_acknowledged() -> None:
    again = but(transition="reopened")
    story = Story().happens(ALARM, but(acknowledged=True)).until(25).happens(CLEARED).until(30).happens(again).until(50)
    assert story.said == [
        (0, "duty", "raised"),
        (25, "duty", "cleared"),
        (30, "duty", "reopened"),
        (40, "duty", "reminded"),
        (50, "duty", "reminded"),
        (50, "boss", "escalated"),
    ]


def test_a_reopened_alarm_is_notified_when_its_maintenance_ends() -> None:
    muted = but(transition="reopened", silenced=True)
    story = Story().happens(ALARM, CLEARED, muted).until(30).happens(but(transition="reopened"))
    assert story.said[2:] == [(30, "duty", "reopened")]


def test_an_acknowledged_alarm_that_reopens_unseen_is_notified() -> None:
    """The judge may evaluate the end and the new start of an alarm in one step."""
    story = Story().happens(ALARM, but(acknowledged=True)).until(60).happens(but(transition="reopened"))
    assert story.said == [(0, "duty", "raised"), (60, "duty", "reopened")]


def test_an_alarm_raised_and_cleared_together_gives_two_notices() -> None:
    assert [what for _, _, what in Story().happens(ALARM, CLEARED).said] == ["raised", "cleared"]


def test_pending_muted_or_late_alarms_send_no_notice() -> None:
    """An alarm that is a consequence of another alarm sends no notice either."""
    quiet = [
        but(state="pending"),
        but(silenced=True),
        but(late=True),
        but(cause="sw-9"),
    ]
    for alarm in quiet:
        assert Story().happens(alarm, but(alarm, value=9.7)).until(60).said == []
    assert Story().happens(but(silenced=True), but(CLEARED, silenced=True)).until(60).said == []


def test_an_alarm_is_notified_when_muting_or_lateness_ends() -> None:
    for quiet in (but(silenced=True), but(late=True)):
        story = Story().happens(quiet).until(30)
        story.alarms["sw-1"] = ALARM
        assert story.until(41).said == [(31, "duty", "raised"), (41, "duty", "reminded")]


def test_an_alarm_in_maintenance_gets_no_reminder_until_maintenance_ends() -> None:
    story = Story().happens(ALARM).until(5).happens(but(silenced=True)).until(60).happens(ALARM).until(61)
    assert story.said == [(0, "duty", "raised"), (61, "duty", "reminded"), (61, "boss", "escalated")]


def test_a_notice_that_has_not_arrived_causes_no_reminder() -> None:
    told = {"duty": NoticeContent(1, "raised", "warning", 8.0, START)}
    later = START + timedelta(minutes=15)
    assert notices.due_notices([Case(ALARM, told)], POLICY, later) == []
    arrived = {"duty": told["duty"]._replace(time=START)}
    assert [notice.content.what for notice in notices.due_notices([Case(ALARM, arrived)], POLICY, later)] == [
        "reminded"
    ]


def test_reminders_of_a_storehouse_are_sent_together() -> None:
    story = Story(notices.escalation_policy(Notify(tiers=[[DUTY]])))
    for minute in range(8):
        story.until(minute).happens(but(alarm_id=f"sw-{minute}"))
    story.happens(but(alarm_id="sw-99", store_house_id=2)).until(30)
    reminded = [minute for minute, _, what in story.said if what == "reminded"]
    assert reminded == [10] * 8 + [17] + [20] * 8 + [27] + [30] * 8


def test_an_escalation_includes_all_unacknowledged_alarms_of_the_storehouse() -> None:
    story = Story().happens(ALARM).until(15).happens(but(alarm_id="sw-2"), but(alarm_id="sw-3", acknowledged=True))
    story.until(20)
    assert [line for line in story.said if line[1] == "boss"] == [(20, "boss", "escalated")] * 2


def test_a_target_gets_only_its_storehouses_and_severities() -> None:
    tiers = [[Target(name="south", store_house_ids=[2]), Target(name="night", severity="critical"), DUTY]]
    story = Story(notices.escalation_policy(Notify(tiers=tiers)))
    story.happens(ALARM).happens(but(alarm_id="sw-2", store_house_id=2, severity="critical"))
    assert [target for _, target, _ in story.said] == ["duty", "south", "night", "duty"]


def test_a_tier_without_a_matching_target_is_skipped() -> None:
    tiers = [[Target(name="night", severity="critical")], [DUTY], [BOSS]]
    story = Story(notices.escalation_policy(Notify(tiers=tiers, repeat="1d"))).happens(ALARM).until(20)
    assert story.said == [(0, "duty", "raised"), (20, "boss", "escalated")]


def test_an_unreachable_target_gets_no_notice_about_itself() -> None:
    delivery = but(kind=notices.DELIVERY, sensor_id=None, sensor_name="duty")
    assert Story().happens(delivery).said == [(0, "boss", "raised")]


def test_a_target_removed_from_the_settings_gets_nothing() -> None:
    told = {"gone": NoticeContent(1, "raised", "warning", 8.0, START, START)}
    assert notices.change_notices([Case(CLEARED, told)], POLICY, START) == []


def test_the_notices_of_each_target_are_counted() -> None:
    story = Story().happens(ALARM).until(10).happens(CLEARED, ALARM)
    assert story.told["sw-1"]["duty"].number == 4
