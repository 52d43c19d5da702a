"""Compares two polls of the alarms of the site's own alarm system, and finds the transitions between the polls.

The functions are pure.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from ask.answers import Alarm, Id
from record.journal import Step


def next_steps(last_steps: Mapping[Id, Step], alarms: Iterable[Alarm], begun: datetime, now: datetime) -> list[Step]:
    """Return a new step (entry for the alarm journal) for each alarm that has changed since its last step.

    The steps are in chronological order. An alarm without a last step gets no step if it ended before `begun`, the time
    of the first poll. An open alarm that is no longer listed counts as cleared at the time `now`, because some sites
    move cleared alarms into another table.
    """
    listed: dict[Id, Alarm] = {}
    for alarm in alarms:
        same_id = listed.setdefault(alarm.alarm_id, alarm)
        if same_id is not alarm:  # the site's ids are not unique; without a fixed order, each poll would find a change
            listed[alarm.alarm_id] = max(same_id, alarm, key=_order)
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


def _order(alarm: Alarm) -> tuple[bool, datetime, str]:
    return alarm.is_open, alarm.raised, str(_stage(alarm))


def _stage(alarm: Alarm) -> tuple[object, ...]:
    """Return the fields of an alarm that are compared between two polls to find a transition.

    The value is not one of these fields. A new value of an open alarm is therefore no transition.
    """
    return alarm.kind, alarm.severity, alarm.state, alarm.acknowledged, alarm.cleared
