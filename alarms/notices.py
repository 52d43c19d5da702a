"""Decides which notices are due. A notice is a notification about one alarm to one target (a recipient).

The functions are pure. Their input is the alarms, the last notice about each alarm to each target, and the current
time. They compare the alarms with the notices that are already written, and return the missing notices. The caller
calls them after every change of an alarm and periodically. Each target then gets one notice when an alarm is raised or
reopened, one when the alarm worsens and one when the alarm is cleared. If nobody acknowledges an alarm, its targets are
reminded, and the alarm is escalated to the next tier of targets.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from alarms.model import ACKNOWLEDGED, CLEARED, PENDING, RAISED, REOPENED, WORSENED
from ask.answers import Alarm, Id
from common.severity import WORST_RANK, rank
from settings import Notify, Target, duration

REMINDED, ESCALATED = "reminded", "escalated"
NOTICE_EVENTS = (RAISED, WORSENED, REOPENED, CLEARED, REMINDED, ESCALATED)
"""Types of events about which targets (recipients) are notified, such as a raised alarm."""
TIMED = {REMINDED, ESCALATED}
"""Types of events that become due only because time passes, without a change of the alarm."""
DELIVERY = "delivery"
"""Kind of the alarm that is raised if notifications to a target do not arrive.

The field `sensor_name` of this alarm contains the name of the target.
"""
RECORD_ONLY = ACKNOWLEDGED
"""Event type of a notice that is stored but not sent. It means that somebody acknowledged the alarm.

Such a notice stops the reminders.
"""

Tiers = Sequence[Sequence[Target]]


class EscalationPolicy(NamedTuple):
    """The targets of each tier, and the times after which reminders and escalations become due.

    `repeat` is the time between two reminders. `escalate` is the time after which an unacknowledged alarm is escalated
    to the next tier.
    """

    tiers: Tiers
    repeat: timedelta
    escalate: timedelta


class NoticeContent(NamedTuple):
    """The content of a notice (a notification about one alarm to one target).

    - `number`: 1 for the first notice about the alarm to the target, 2 for the second, and so on.
    - `what`: the reported event, one of `NOTICE_EVENTS`, or `RECORD_ONLY`.
    - `since`: the time at which Storewatch began to wait for an acknowledgement.
    - `time`: the time at which the notice arrived, or None if it has not arrived yet.
    """

    number: int
    what: str
    severity: str
    limit: float | None
    since: datetime
    time: datetime | None = None


class Case(NamedTuple):
    """An alarm in its current state, and the last notice about this alarm to each target.

    The keys of `last_notices` are the names of the targets.
    """

    alarm: Alarm
    last_notices: Mapping[str, NoticeContent]


class Notice(NamedTuple):
    """A notice: a notification about one alarm to one target. `target` is the name of the target."""

    target: str
    alarm: Alarm
    content: NoticeContent


def escalation_policy(notify: Notify) -> EscalationPolicy:
    """Return the escalation policy that the settings define."""
    return EscalationPolicy(notify.tiers, duration(notify.repeat), duration(notify.escalate))


def change_notices(cases: Sequence[Case], policy: EscalationPolicy, now: datetime) -> list[Notice]:
    """Return the notices that are due because these alarms have changed.

    The result contains no reminders and no escalations.
    """
    return [notice for case in cases for notice in _due(case, policy, now, ()) if notice.content.what not in TIMED]


def due_notices(cases: Sequence[Case], policy: EscalationPolicy, now: datetime) -> list[Notice]:
    """Return all notices that are due, including reminders and escalations. `cases` must contain every open alarm.

    When a reminder or an escalation to a target is due, the target also gets a notice about every other unacknowledged
    alarm of the same storehouse. From then on, the reminders about all these alarms are due together.
    """
    together: dict[Id, set[str]] = {}
    for case in cases:
        for notice in _due(case, policy, now, ()):
            if notice.content.what in TIMED:
                together.setdefault(case.alarm.store_house_id, set()).add(notice.target)
    return [notice for case in cases for notice in _due(case, policy, now, together.get(case.alarm.store_house_id, ()))]


def _due(case: Case, policy: EscalationPolicy, now: datetime, together: Collection[str]) -> Iterator[Notice]:
    alarm = case.alarm
    names = {target.name for tier in policy.tiers for target in tier}
    last_notices = {name: last for name, last in case.last_notices.items() if name in names and last.what != CLEARED}
    if not alarm.is_open:
        yield from _to_all(case, last_notices, CLEARED)
    elif alarm.state == PENDING or is_muted(alarm):
        return
    elif alarm.acknowledged:
        unrecorded = {name: last for name, last in last_notices.items() if last.what != RECORD_ONLY}
        yield from _to_all(case, unrecorded, RECORD_ONLY)
    else:
        yield from _of_unacknowledged(case, last_notices, policy, now, together)


def _to_all(case: Case, last_notices: Mapping[str, NoticeContent], what: str) -> Iterator[Notice]:
    return (_notice(case, name, what, last.since) for name, last in last_notices.items())


def _of_unacknowledged(
    case: Case,
    last_notices: Mapping[str, NoticeContent],
    policy: EscalationPolicy,
    now: datetime,
    together: Collection[str],
) -> Iterator[Notice]:
    # When an acknowledgement becomes void, the time until the escalation starts again.
    start = min((last.since for last in last_notices.values() if last.what != RECORD_ONLY), default=now)
    for tier, names in enumerate(_recipients(case.alarm, policy.tiers)):
        for name in names:
            last = last_notices.get(name)
            if last is None:
                if tier == 0:
                    was_cleared = name in case.last_notices and case.alarm.transition != RAISED
                    yield _notice(case, name, REOPENED if was_cleared else RAISED, now)
                elif name in together or now - start >= tier * policy.escalate:
                    yield _notice(case, name, ESCALATED, start)
            elif last.what == RECORD_ONLY:
                # An acknowledgement becomes void if the alarm worsens or is reopened.
                yield _notice(case, name, WORSENED if _is_worse(case.alarm, last) else REOPENED, now)
            elif _is_worse(case.alarm, last):
                yield _notice(case, name, WORSENED, last.since)
            elif last.time is not None and (name in together or now - last.time >= policy.repeat):
                yield _notice(case, name, REMINDED, last.since)


def _recipients(alarm: Alarm, tiers: Tiers) -> Iterable[list[str]]:
    """Return the names of the targets that are notified of an alarm, as one list for each tier.

    Tiers without such a target are left out. The targets in the first list are notified at once.
    """
    recipients = ([target.name for target in tier if is_recipient(target, alarm)] for tier in tiers)
    return (names for names in recipients if names)


def is_recipient(target: Target, alarm: Alarm) -> bool:
    """Return whether the target is notified of this alarm.

    If notifications to a target do not arrive, Storewatch raises an alarm, but does not notify this target of it.
    """
    if alarm.kind == DELIVERY and alarm.sensor_name == target.name:
        return False
    # As in alarm rules, a text of digits also matches an id that is a number.
    matches = target.store_house_ids is None or str(alarm.store_house_id) in map(str, target.store_house_ids)
    return matches and severity_rank(alarm.severity) >= severity_rank(target.severity)


def is_muted(alarm: Alarm) -> bool:
    """Return whether an alarm is muted.

    An alarm is muted during maintenance, if late readings raised it, or if another alarm is its cause.
    """
    return alarm.silenced is True or alarm.late is True or alarm.cause is not msgspec.UNSET


def _is_worse(alarm: Alarm, last: NoticeContent) -> bool:
    # Compare the limits too, because a worse limit may have the same severity. The limit of an open alarm changes only
    # when a worse limit is violated.
    return severity_rank(alarm.severity) > severity_rank(last.severity) or alarm.limit != last.limit


def severity_rank(severity: str) -> int:
    """Return a number by which severities can be compared: 0 for the mildest severity.

    An unknown severity has a higher number than all others.
    """
    return rank(severity, unknown=WORST_RANK)


def _notice(case: Case, name: str, what: str, since: datetime) -> Notice:
    last = case.last_notices.get(name)
    number = last.number + 1 if last else 1
    content = NoticeContent(number, what, case.alarm.severity, case.alarm.limit, since)
    return Notice(name, case.alarm, content)
