"""The transitions of the site's own alarms: compares two polls of them. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from ask.answers import Alarm, Id
from record.journal import Step


def next_steps(last_steps: Mapping[Id, Step], alarms: Iterable[Alarm], begun: datetime, now: datetime) -> list[Step]:
    """Return the next step of each alarm that differs from its last step, oldest first.

    An alarm that was over before the first poll (`begun`) is history, not a transition. An open alarm that is no longer
    listed, as where a site moves alarms that are over into another table, is cleared now.
    """
    listed = {alarm.alarm_id: alarm for alarm in alarms}
    gone = {
        alarm_id: msgspec.structs.replace(step.alarm, state="cleared", cleared=now)
        for alarm_id, step in last_steps.items()
        if alarm_id not in listed and step.alarm.is_open
    }
    changed = [
        Step(last_steps[alarm.alarm_id].number + 1 if alarm.alarm_id in last_steps else 1, alarm)
        for alarm in (listed | gone).values()
        if _has_changed(alarm, last_steps.get(alarm.alarm_id), begun)
    ]
    return sorted(changed, key=lambda step: step.alarm.cleared or step.alarm.raised)


def _has_changed(alarm: Alarm, last_step: Step | None, begun: datetime) -> bool:
    if last_step is None:
        return alarm.is_open or (alarm.cleared or alarm.raised) >= begun
    return _stage(alarm) != _stage(last_step.alarm)


def _stage(alarm: Alarm) -> tuple[object, ...]:
    """The facts whose change is a transition; a new value of an open alarm is none."""
    return alarm.kind, alarm.severity, alarm.state, alarm.acknowledged, alarm.cleared
