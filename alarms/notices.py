"""Which notices are due: who must be notified of which alarm, and when.

Pure: the input is the alarms, the last notices and a time. The functions return what is missing, not what has just
happened. Called after every change and again as time passes, they notify each target of each alarm once that it was
raised, that it got worse and that it was cleared; an alarm that nobody acknowledges is repeated, and escalated to the
next tier.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from alarms.model import ACKNOWLEDGED, CLEARED, PENDING, RAISED, WORSENED
from ask.answers import Alarm, Id
from common.severity import WORST_RANK, rank
from settings import Notify, Target, duration

REMINDED, ESCALATED = "reminded", "escalated"
NOTICE_EVENTS = (RAISED, WORSENED, CLEARED, REMINDED, ESCALATED)
"""What a message may say of an alarm."""
TIMED = {REMINDED, ESCALATED}
DELIVERY = "delivery"
"""The kind of an alarm that says that notices do not arrive; its `sensor_name` is that of the target."""
RECORD_ONLY = ACKNOWLEDGED
"""A notice that is recorded like the others but sent to nobody: it ends the repeating."""

Tiers = Sequence[Sequence[Target]]


class EscalationPolicy(NamedTuple):
    """The targets, tier by tier, and the times after which a notice is repeated or escalated."""

    tiers: Tiers
    repeat: timedelta
    escalate: timedelta


class NoticeContent(NamedTuple):
    """What a notice says of an alarm.

    `number`: counts the target's notices of this alarm, from 1. `since`: the time since which nobody has acknowledged
    the alarm. `time`: when the notice arrived; None while it is on its way.
    """

    number: int
    what: str
    severity: str
    limit: float | None
    since: datetime
    time: datetime | None = None


class Case(NamedTuple):
    """An alarm as it is now, and the last notice of it to each target, by the target's name."""

    alarm: Alarm
    last_notices: Mapping[str, NoticeContent]


class Notice(NamedTuple):
    """A notice of an alarm to a target."""

    target: str
    alarm: Alarm
    content: NoticeContent


def escalation_policy(notify: Notify) -> EscalationPolicy:
    """Return the escalation policy of the settings."""
    return EscalationPolicy(notify.tiers, duration(notify.repeat), duration(notify.escalate))


def change_notices(cases: Sequence[Case], policy: EscalationPolicy, now: datetime) -> list[Notice]:
    """Return the notices of these alarms that are due because the alarms have changed."""
    return [notice for case in cases for notice in _due(case, policy, now, ()) if notice.content.what not in TIMED]


def due_notices(cases: Sequence[Case], policy: EscalationPolicy, now: datetime) -> list[Notice]:
    """Return all notices that are due, also because of the time; `cases` must hold every open alarm.

    When a target is reminded of one alarm, or one is escalated to it, it is also notified of every other alarm of that
    storehouse that nobody has acknowledged: alarms that started one by one are reminded of together from then on.
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
    # An acknowledgement that is void starts the time before the next tier anew.
    start = min((last.since for last in last_notices.values() if last.what != RECORD_ONLY), default=now)
    for tier, names in enumerate(_recipients(case.alarm, policy.tiers)):
        for name in names:
            last = last_notices.get(name)
            if last is None:
                if tier == 0:
                    yield _notice(case, name, RAISED, now)
                elif name in together or now - start >= tier * policy.escalate:
                    yield _notice(case, name, ESCALATED, start)
            elif last.what == RECORD_ONLY:
                yield _notice(case, name, WORSENED, now)
            elif _is_worse(case.alarm, last):
                yield _notice(case, name, WORSENED, last.since)
            elif last.time is not None and (name in together or now - last.time >= policy.repeat):
                yield _notice(case, name, REMINDED, last.since)


def _recipients(alarm: Alarm, tiers: Tiers) -> Iterable[list[str]]:
    """Return the names of the recipients by tier; the first tier that has any is notified at once."""
    recipients = ([target.name for target in tier if is_recipient(target, alarm)] for tier in tiers)
    return (names for names in recipients if names)


def is_recipient(target: Target, alarm: Alarm) -> bool:
    """Return whether the target is notified of such an alarm: not of one that says that the target is unreachable."""
    if alarm.kind == DELIVERY and alarm.sensor_name == target.name:
        return False
    # As in rules, an id in digits matches a number, too.
    matches = target.store_house_ids is None or str(alarm.store_house_id) in map(str, target.store_house_ids)
    return matches and severity_rank(alarm.severity) >= severity_rank(target.severity)


def is_muted(alarm: Alarm) -> bool:
    """Return whether nobody is notified of it: in maintenance, of late readings, or part of another alarm."""
    return alarm.silenced is True or alarm.late is True or alarm.cause is not msgspec.UNSET


def _is_worse(alarm: Alarm, last: NoticeContent) -> bool:
    # The limit of an open alarm changes only when a worse one is violated, which may have the same severity.
    return severity_rank(alarm.severity) > severity_rank(last.severity) or alarm.limit != last.limit


def severity_rank(severity: str) -> int:
    """Return the rank of a severity, 0 for the mildest; a word that is not ours ranks as the worst."""
    return rank(severity, unknown=WORST_RANK)


def _notice(case: Case, name: str, what: str, since: datetime) -> Notice:
    last = case.last_notices.get(name)
    number = last.number + 1 if last else 1
    content = NoticeContent(number, what, case.alarm.severity, case.alarm.limit, since)
    return Notice(name, case.alarm, content)
