"""Writes the subject and the plain text of a message. The text has one line for each alarm.

Times are in the storehouse's time zone.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from alarms.alarm_test_reading import TEST_ALARM
from alarms.model import CLEARED, CLOSED, KINDS, NO_DATA, SWITCH, WITHDRAWN
from alarms.notices import DELIVERY, TIMED, severity_rank
from alarms.wrong_clock import CLOCK
from ask.answers import EVERYWHERE, Alarm, Id, Storehouse
from common.time_zones import offset_if_repeated, to_local, zone
from notify.words import MARK, words
from record.notices import Item, Message

MOST_LINES = 20
"""Maximum number of alarms that one message lists. The message states how many further alarms there are."""
MOST_NAME_CHARACTERS = 80

UNITS = (("days", 86_400), ("hours", 3_600), ("minutes", 60))

Units = Mapping[tuple[Id | None, str | None], str]
"""The unit of a sensor's values, by the id and the metric of the sensor."""

OUTDATED = (*TIMED, CLEARED)
"""The kinds of items that a later item about the same alarm makes out of date."""


def subject(message: Message, storehouse: Storehouse, units: Units, language: str) -> str:
    """Return the subject line of a message, in this language."""
    phrases = words(language)
    items = newest(message.items)
    worst = min(items, key=_sort_key)
    name = _storehouse_name(storehouse, phrases)
    head = phrases["over"] if worst.what == CLEARED else phrases.get(worst.alarm.severity, clean(worst.alarm.severity))
    if all(item.alarm.drill is True for item in items):
        head = MARK
    if len(items) == 1:
        where, alarm = _where(worst.alarm, phrases), _what(worst.alarm, units, phrases)
        line = phrases["single"].format(head=head, storehouse=name, where=where, alarm=alarm)
    else:
        line = phrases["several"].format(head=head, storehouse=name, count=len(items))
    if message.unrecorded:
        line = phrases["unrecorded_subject"].format(subject=line)
    return phrases["again"].format(subject=line) if message.tries > 1 else line


def text(message: Message, storehouse: Storehouse, units: Units, language: str) -> str:
    """Return the text of a message, in this language."""
    return "\n".join(_lines(message, storehouse, units, words(language)))


def worst(message: Message) -> str | None:
    """Return the worst severity among the alarms that the message reports as open; None if all alarms are cleared."""
    opened = [item.alarm.severity for item in newest(message.items) if item.what != CLEARED]
    return max(opened, key=severity_rank, default=None)


def newest(items: Sequence[Item]) -> list[Item]:
    """Return the items of a message, without those that are out of date.

    A reminder, an escalation and the end of an alarm are out of date if a later item is about the same alarm.
    """
    last = {item.alarm.alarm_id: index for index, item in enumerate(items)}
    return [item for index, item in enumerate(items) if item.what not in OUTDATED or last[item.alarm.alarm_id] == index]


def clean(name: str) -> str:
    """Return the name on one line, shortened and without unprintable characters.

    Names come from outside and may contain line breaks or direction marks.
    """
    printable = "".join(character if character.isprintable() else " " for character in name)
    return " ".join(printable.split())[:MOST_NAME_CHARACTERS]


def _lines(message: Message, storehouse: Storehouse, units: Units, phrases: Mapping[str, str]) -> Iterator[str]:
    yield phrases["header"].format(storehouse=_storehouse_name(storehouse, phrases), zone=storehouse.time_zone)
    items = sorted(newest(message.items), key=_sort_key)
    for item in items[:MOST_LINES]:
        yield _line(item, storehouse, units, phrases)
    if len(items) > MOST_LINES:
        yield phrases["more"].format(count=len(items) - MOST_LINES)
    if message.unrecorded:
        yield phrases["unrecorded"]
    if message.tries > 1:
        yield phrases["before"]


def _sort_key(item: Item) -> tuple[bool, int]:
    return item.what == CLEARED, -severity_rank(item.alarm.severity)


def _line(item: Item, storehouse: Storehouse, units: Units, phrases: Mapping[str, str]) -> str:
    alarm = item.alarm
    form = item.what
    if form == CLEARED and alarm.transition in (CLOSED, WITHDRAWN):
        form = str(alarm.transition)
    line = phrases[form].format(
        where=_where(alarm, phrases),
        alarm=_what(alarm, units, phrases),
        severity=phrases.get(alarm.severity, clean(alarm.severity)),
        since=_local(alarm.since if isinstance(alarm.since, datetime) else alarm.raised, storehouse),
        cleared=_local(alarm.cleared, storehouse),
        by=_or_dash(alarm.closed_by),
        reason=_or_dash(alarm.reason),
    )
    return f"[{MARK}] {line}" if alarm.drill is True else line


def _storehouse_name(storehouse: Storehouse, phrases: Mapping[str, str]) -> str:
    return phrases["everywhere"] if storehouse.store_house_id == EVERYWHERE else clean(storehouse.store_house_name)


def _where(alarm: Alarm, phrases: Mapping[str, str]) -> str:
    if alarm.kind == CLOCK:
        return phrases["server_clock"]
    if alarm.sensor_name is None:
        return phrases["database" if alarm.store_house_id == EVERYWHERE else "whole"]
    name = clean(alarm.sensor_name)
    if alarm.kind == DELIVERY:
        return phrases["recipient"].format(name=name)
    metric = "" if alarm.metric is None else phrases.get(alarm.metric, clean(alarm.metric))
    return phrases["metric"].format(sensor=name, metric=metric) if metric else name


def _what(alarm: Alarm, units: Units, phrases: Mapping[str, str]) -> str:
    unit = units.get((alarm.sensor_id, alarm.metric), "")
    # The last value of a cleared alarm is normal, so the message shows the peak instead.
    value = alarm.value if alarm.is_open or alarm.peak is msgspec.UNSET else alarm.peak
    if alarm.kind == SWITCH and value is not None:
        return phrases.get(f"{alarm.metric}{value:g}", phrases[SWITCH])
    if alarm.kind == NO_DATA and alarm.store_house_id == EVERYWHERE:
        return phrases["no_answer"]
    if alarm.kind == CLOCK and value is not None:
        form = phrases["clock_behind" if value > 0 else "clock_ahead"]
        return form.format(span=_span(abs(value), phrases))
    shown = _number(value, "" if alarm.kind == DELIVERY else unit)
    form = phrases[alarm.kind if alarm.kind in (*KINDS, DELIVERY, TEST_ALARM) else "other"]
    return form.format(kind=clean(alarm.kind), value=shown, limit=_number(alarm.limit, unit))


def _number(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:.6g} {clean(unit)}".rstrip()


def _span(seconds: float, phrases: Mapping[str, str]) -> str:
    """Return an approximate time span: one number with its largest fitting unit."""
    unit, length = next((each for each in UNITS if seconds >= 0.95 * each[1]), UNITS[-1])
    return phrases[unit].format(count=f"{seconds / length:.2g}" if seconds < 99 * length else round(seconds / length))


def _local(instant: datetime | None, storehouse: Storehouse) -> str:
    if instant is None:
        return "–"
    tz = zone(storehouse.time_zone)
    time, offset = f"{to_local(instant, tz):%Y-%m-%d %H:%M}", offset_if_repeated(instant, tz)
    return time if offset is None else f"{time} (UTC{offset})"


def _or_dash(text: str | msgspec.UnsetType) -> str:
    return clean(text) if isinstance(text, str) else "–"
