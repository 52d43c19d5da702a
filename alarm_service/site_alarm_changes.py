"""What has changed among the alarms since they were last looked at. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from ask.answers import Alarm, Id
from record.journal import Step


def steps(known: Mapping[Id, Step], alarms: Iterable[Alarm], begun: datetime, now: datetime) -> list[Step]:
    """Return the next step of each alarm that is not as `known`, oldest first.

    An alarm that was over before anybody looked (`begun`) is history, not a transition. One that was open and is not
    there any more, as where a site moves what is over into another table, is over now.
    """
    found = {alarm.alarm_id: alarm for alarm in alarms}
    gone = {
        alarm_id: msgspec.structs.replace(step.alarm, state="cleared", cleared=now)
        for alarm_id, step in known.items()
        if alarm_id not in found and is_open(step.alarm)
    }
    changed = [
        Step(known[alarm.alarm_id].number + 1 if alarm.alarm_id in known else 1, alarm)
        for alarm in (found | gone).values()
        if _is_news(alarm, known.get(alarm.alarm_id), begun)
    ]
    return sorted(changed, key=lambda step: step.alarm.cleared or step.alarm.raised)


def is_open(alarm: Alarm) -> bool:
    """Return whether an alarm goes on."""
    return alarm.cleared is None and alarm.state != "cleared"


def _is_news(alarm: Alarm, known: Step | None, begun: datetime) -> bool:
    if known is None:
        return is_open(alarm) or (alarm.cleared or alarm.raised) >= begun
    return _stage(alarm) != _stage(known.alarm)


def _stage(alarm: Alarm) -> tuple[object, ...]:
    """What makes a transition; that the value of an open alarm moves on does not."""
    return alarm.kind, alarm.severity, alarm.state, alarm.acknowledged, alarm.cleared
