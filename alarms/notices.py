"""Who is to be told what of which alarm, and when. Pure: it sees the alarms, what was told before, and a time.

It says what is missing, not what has just happened: asked after every change and again as time passes, it tells each
target of each alarm once that it was raised, that it got worse and that it was cleared; of one that nobody
acknowledges also again and again, and the next tier.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from alarms.model import ACKNOWLEDGED, CLEARED, PENDING, RAISED, SEVERITIES, WORSENED
from ask.answers import Alarm, Id
from settings import Notify, Target, duration

REMINDED, ESCALATED = "reminded", "escalated"
WHATS = (RAISED, WORSENED, CLEARED, REMINDED, ESCALATED)
"""What a message may say of an alarm."""
TIMED = {REMINDED, ESCALATED}
DELIVERY = "delivery"
"""The kind of an alarm that says that notices do not arrive; its `sensor_name` is that of the target."""
SILENT = ACKNOWLEDGED
"""Written down like the others but sent to nobody: it ends the repeating."""

Tiers = Sequence[Sequence[Target]]


class Terms(NamedTuple):
    """Who is told, and the times of it."""

    tiers: Tiers
    repeat: timedelta
    escalate: timedelta


class Told(NamedTuple):
    """What a target was last told of an alarm.

    `number`: how often it was told something of it. `since`: from when on nobody has acknowledged what it was told.
    `time`: when it was told; None while that is still on its way.
    """

    number: int
    what: str
    severity: str
    limit: float | None
    since: datetime
    time: datetime | None = None


class Case(NamedTuple):
    """An alarm as it stands, and what each target, by its name, was last told of it."""

    alarm: Alarm
    told: Mapping[str, Told]


class Notice(NamedTuple):
    """What a target is to be told of an alarm."""

    target: str
    alarm: Alarm
    told: Told


def terms(notify: Notify) -> Terms:
    """Return what the settings say."""
    return Terms(notify.tiers, duration(notify.repeat), duration(notify.escalate))


def news(cases: Sequence[Case], terms: Terms, now: datetime) -> list[Notice]:
    """Return what is to be told of these alarms because they have changed."""
    return [notice for case in cases for notice in _due(case, terms, now, ()) if notice.told.what not in TIMED]


def due(cases: Sequence[Case], terms: Terms, now: datetime) -> list[Notice]:
    """Return all that is to be told now, also because of the time; `cases` holds every alarm that is open.

    Where a target is reminded of one alarm, or one is escalated to it, everything else in that storehouse that nobody
    has acknowledged goes along: alarms that began one by one are told of together from then on.
    """
    along: dict[Id, set[str]] = {}
    for case in cases:
        for notice in _due(case, terms, now, ()):
            if notice.told.what in TIMED:
                along.setdefault(case.alarm.store_house_id, set()).add(notice.target)
    return [notice for case in cases for notice in _due(case, terms, now, along.get(case.alarm.store_house_id, ()))]


def _due(case: Case, terms: Terms, now: datetime, along: Collection[str]) -> Iterator[Notice]:
    alarm = case.alarm
    known = {target.name for tier in terms.tiers for target in tier}
    told = {name: last for name, last in case.told.items() if name in known and last.what != CLEARED}
    if is_over(alarm):
        yield from _all(case, told, CLEARED)
    elif alarm.state == PENDING or is_quiet(alarm):
        return
    elif alarm.acknowledged:
        yield from _all(case, {name: last for name, last in told.items() if last.what != SILENT}, SILENT)
    else:
        yield from _open(case, told, terms, now, along)


def _all(case: Case, told: Mapping[str, Told], what: str) -> Iterator[Notice]:
    return (_notice(case, name, what, last.since) for name, last in told.items())


def _open(
    case: Case, told: Mapping[str, Told], terms: Terms, now: datetime, along: Collection[str]
) -> Iterator[Notice]:
    # An acknowledgement that is void sets the clock of the next tier back.
    begun = min((last.since for last in told.values() if last.what != SILENT), default=now)
    for place, names in enumerate(_wanting(case.alarm, terms.tiers)):
        for name in names:
            last = told.get(name)
            if last is None:
                if place == 0:
                    yield _notice(case, name, RAISED, now)
                elif name in along or now - begun >= place * terms.escalate:
                    yield _notice(case, name, ESCALATED, begun)
            elif last.what == SILENT:
                yield _notice(case, name, WORSENED, now)
            elif _is_worse(case.alarm, last):
                yield _notice(case, name, WORSENED, last.since)
            elif last.time is not None and (name in along or now - last.time >= terms.repeat):
                yield _notice(case, name, REMINDED, last.since)


def _wanting(alarm: Alarm, tiers: Tiers) -> Iterable[list[str]]:
    """The names of those who want to be told of it, tier by tier; the first tier with anybody is told at once."""
    wanting = ([target.name for target in tier if wants(target, alarm)] for tier in tiers)
    return (names for names in wanting if names)


def wants(target: Target, alarm: Alarm) -> bool:
    """Return whether the target is to be told of such an alarm: not of one that says that it cannot be reached."""
    if alarm.kind == DELIVERY and alarm.sensor_name == target.name:
        return False
    # As in rules, an id in digits finds a number too.
    here = target.store_house_ids is None or str(alarm.store_house_id) in map(str, target.store_house_ids)
    return here and rank(alarm.severity) >= rank(target.severity)


def is_over(alarm: Alarm) -> bool:
    """Return whether it was cleared, closed or withdrawn."""
    return alarm.cleared is not None or alarm.state == CLEARED


def is_quiet(alarm: Alarm) -> bool:
    """Return whether it is nothing to call anybody for: in maintenance, of late readings, or part of another."""
    return alarm.silenced is True or alarm.late is True or alarm.cause is not msgspec.UNSET


def _is_worse(alarm: Alarm, last: Told) -> bool:
    # The limit of an open alarm changes only where a worse one is broken, which may be as severe as the one before.
    return rank(alarm.severity) > rank(last.severity) or alarm.limit != last.limit


def rank(severity: str) -> int:
    """Return how severe it is, as a number; a word that is not ours counts as the worst."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def _notice(case: Case, name: str, what: str, since: datetime) -> Notice:
    before = case.told.get(name)
    number = before.number + 1 if before else 1
    return Notice(name, case.alarm, Told(number, what, case.alarm.severity, case.alarm.limit, since))
