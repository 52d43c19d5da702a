"""What a message says: a subject, and a plain text with one line for each alarm, in the storehouse's time zone."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from alarms.model import CLEARED, CLOSED, KINDS, SWITCH, WITHDRAWN
from alarms.notices import DELIVERY, TIMED, rank
from alarms.test_alarm import DRILL
from ask.answers import Alarm, Id, Storehouse
from common.time_zones import zone
from notify.words import MARK, words
from record.notices import Item, Message

MOST_LINES = 20
"""Alarms in one message; of more, only how many they are."""
MOST_NAME = 80
"""Characters of a name."""

Units = Mapping[tuple[Id | None, str | None], str]
"""The unit of a sensor's metric."""


def subject(message: Message, place: Storehouse, units: Units, language: str) -> str:
    """Return the subject line."""
    say = words(language)
    items = newest(message.items)
    worst = min(items, key=_order)
    name = clean(place.store_house_name)
    head = say["over"] if worst.what == CLEARED else say.get(worst.alarm.severity, clean(worst.alarm.severity))
    if all(item.alarm.drill is True for item in items):
        head = MARK
    if len(items) == 1:
        alarm = f"{_where(worst.alarm, say)} {_what(worst.alarm, units, say)}"
        line = say["one"].format(head=head, place=name, alarm=alarm)
    else:
        line = say["several"].format(head=head, place=name, count=len(items))
    return say["again"].format(subject=line) if message.tries > 1 else line


def text(message: Message, place: Storehouse, units: Units, language: str) -> str:
    """Return the text."""
    return "\n".join(_lines(message, place, units, words(language)))


def worst(message: Message) -> str | None:
    """Return the severity of the worst alarm that the message says is open; None where all are over."""
    opened = [item.alarm.severity for item in newest(message.items) if item.what != CLEARED]
    return max(opened, key=rank, default=None)


def newest(items: Sequence[Item]) -> list[Item]:
    """Return the items but those reminders after which something else is told of the same alarm."""
    last = {item.alarm.alarm_id: place for place, item in enumerate(items)}
    return [item for place, item in enumerate(items) if item.what not in TIMED or last[item.alarm.alarm_id] == place]


def clean(name: str) -> str:
    """Return a name as it may stand within a line: it is input, and may hold line ends and writing directions."""
    printable = "".join(each if each.isprintable() else " " for each in name)
    return " ".join(printable.split())[:MOST_NAME]


def _lines(message: Message, place: Storehouse, units: Units, say: Mapping[str, str]) -> Iterator[str]:
    yield say["place"].format(place=clean(place.store_house_name), zone=place.time_zone)
    items = sorted(newest(message.items), key=_order)
    for item in items[:MOST_LINES]:
        yield _line(item, place, units, say)
    if len(items) > MOST_LINES:
        yield say["more"].format(count=len(items) - MOST_LINES)
    if message.tries > 1:
        yield say["before"]


def _order(item: Item) -> tuple[bool, int]:
    return item.what == CLEARED, -rank(item.alarm.severity)


def _line(item: Item, place: Storehouse, units: Units, say: Mapping[str, str]) -> str:
    alarm = item.alarm
    form = item.what
    if form == CLEARED and alarm.transition in (CLOSED, WITHDRAWN):
        form = str(alarm.transition)
    line = say[form].format(
        where=_where(alarm, say),
        alarm=_what(alarm, units, say),
        severity=say.get(alarm.severity, clean(alarm.severity)),
        since=_local(alarm.since if isinstance(alarm.since, datetime) else alarm.raised, place),
        cleared=_local(alarm.cleared, place),
        by=_said(alarm.closed_by),
        reason=_said(alarm.reason),
    )
    return f"[{MARK}] {line}" if alarm.drill is True else line


def _where(alarm: Alarm, say: Mapping[str, str]) -> str:
    if alarm.sensor_name is None:
        return say["whole"]
    name = clean(alarm.sensor_name)
    metric = "" if alarm.metric is None else say.get(alarm.metric, clean(alarm.metric))
    return say["metric"].format(sensor=name, metric=metric) if metric else name


def _what(alarm: Alarm, units: Units, say: Mapping[str, str]) -> str:
    unit = units.get((alarm.sensor_id, alarm.metric), "")
    # Of one that is over, the last value is back to normal: what it came to is the peak.
    value = alarm.value if alarm.cleared is None or alarm.peak is msgspec.UNSET else alarm.peak
    if alarm.kind == SWITCH and value is not None:
        return say.get(f"{alarm.metric}{value:g}", say[SWITCH])
    shown = _number(value, "" if alarm.kind == DELIVERY else unit)
    form = say[alarm.kind if alarm.kind in (*KINDS, DELIVERY, DRILL) else "other"]
    return form.format(kind=clean(alarm.kind), value=shown, limit=_number(alarm.limit, unit))


def _number(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:.6g} {clean(unit)}".rstrip()


def _local(instant: datetime | None, place: Storehouse) -> str:
    return "–" if instant is None else f"{instant.astimezone(zone(place.time_zone)):%Y-%m-%d %H:%M}"


def _said(words: str | msgspec.UnsetType) -> str:
    return clean(words) if isinstance(words, str) else "–"
