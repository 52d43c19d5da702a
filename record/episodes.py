"""The alarms that Storewatch judges itself: what the judge says of them, and what people do about them.

Every function that writes one also writes its step into the journal, in the caller's transaction. Who calls it must
hold, or `lock`, the lease under which the journal is written: so the ids of steps are given in the order of commits.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sa

from alarms.model import (
    ACKNOWLEDGED,
    CLEARED,
    CLOSED,
    DISMISSED,
    NO_DATA,
    PENDING,
    RAISED,
    REFRESHED,
    SEVERITIES,
    WITHDRAWN,
    Change,
    Episode,
    Limit,
)
from ask.answers import EVERYWHERE, Alarm, Id
from ask.episodes import alarm, alarm_id
from ask.journal import key as id_key
from ask.readings import Key
from db import tables
from errors import BadRequest, NotFound
from record import journal
from record.journal import Step

T = TypeVar("T")

MOST = 500
"""Episodes in one question."""

Row = dict[str, Any]
"""A row of `tables.episode`; without `episode_id` where it is not written yet."""
Identity = tuple[str, str, datetime]
"""What tells an episode from all others: `subject_key`, kind, and the time of its first reading out of limits."""


class JudgedChange(NamedTuple):
    """A change, and what the judge does not know of it."""

    change: Change
    sensor_name: str | None
    metric: str | None
    late: bool = False
    silenced: bool = False
    drill: bool = False
    cause: int | None = None
    """The `episode_id` of the alarm that this one is only a part of."""


class Closed(NamedTuple):
    """An episode that somebody has closed; `judged`: the time of what the judge had last said of it.

    `time`: when that was, or the time of what was said since and ends it as well.
    """

    episode: Episode
    judged: float
    time: float


class Written(NamedTuple):
    """What has become of changes."""

    alarms: list[Alarm]
    """Each step that was written, in order, with the alarm as it was then."""
    current: list[Alarm]
    """Those whose readings came late, and are up to date now."""
    closed: list[Closed]
    """Those that people have closed, whatever the judge says of them."""
    other: list[Episode]
    """Those that are open where the judge takes another of the same kind to be."""

    def after(self, first: "Written") -> "Written":
        """Return this together with what was written first."""
        return Written(
            first.alarms + self.alarms,
            first.current + self.current,
            first.closed + self.closed,
            first.other + self.other,
        )


class Done(NamedTuple):
    """An alarm before and after somebody has done something about it."""

    before: Alarm
    alarm: Alarm

    @property
    def new(self) -> bool:
        """It was not so before."""
        return self.alarm != self.before


def moment(seconds: float) -> datetime:
    """Return a time of the judge as it stands in the database, to the millisecond."""
    return datetime.fromtimestamp(round(seconds, 3), UTC)


def subject_key(store_house_id: Id, key: Key | None) -> str:
    """Return what an alarm is about, as the database has it."""
    return msgspec.json.encode(store_house_id if key is None else key).decode()


def identity(episode: Episode) -> Identity:
    """Return what tells this episode from all others."""
    return subject_key(episode.store_house_id, episode.key), episode.kind, moment(episode.since)


def open_episodes(connection: sa.Connection, *, late: bool = False) -> list[Episode]:
    """Return all that are open; `late`: of these only the ones whose readings came late."""
    wanted = [tables.episode.c.late] if late else []
    return [_episode(row) for row in _select(connection, tables.episode.c.is_open, *wanted)]


def closed_by_hand(connection: sa.Connection, episode_ids: Sequence[int]) -> list[Closed]:
    """Return those of these that people have closed."""
    episode = tables.episode.c
    return [
        _closed(row) for row in _select(connection, episode.episode_id.in_(episode_ids), episode.reason.is_not(None))
    ]


def causes(connection: sa.Connection) -> dict[Id, int]:
    """Return the `episode_id` of the open alarm of each storehouse that is silent as a whole.

    The single alarms that are open there are listed under it from now on.
    """
    episode = tables.episode.c
    silent = sa.and_(episode.is_open, episode.kind == NO_DATA)
    found: dict[Id, int] = {}
    for row in _select(connection, silent, episode.subject_key == episode.store_house_key):
        found[msgspec.json.decode(row["store_house_key"])] = row["episode_id"]
        here = (
            sa.true()
            if row["store_house_key"] == id_key(EVERYWHERE)
            else episode.store_house_key == row["store_house_key"]
        )
        single = sa.and_(silent, here, episode.subject_key != episode.store_house_key, episode.cause.is_(None))
        connection.execute(sa.update(tables.episode).where(single).values(cause=row["episode_id"]))
    return found


def silence(connection: sa.Connection, is_silenced: Callable[[Episode], bool]) -> None:
    """Write down which of the open episodes fall into maintenance now."""
    for row in _select(connection, tables.episode.c.is_open):
        silenced = is_silenced(_episode(row))
        if silenced != row["silenced"]:
            _update(connection, [row | {"silenced": silenced}])


def write(connection: sa.Connection, said: Sequence[JudgedChange], now: datetime) -> Written:
    """Write down what the judge says, in its order; what stands there already is not written again.

    Raises SQLAlchemy's IntegrityError where somebody else has just written the same.
    """
    groups: dict[Identity, list[JudgedChange]] = {}
    for one in said:
        groups.setdefault(identity(one.change.episode), []).append(one)
    before = _find(connection, groups)
    written = Written([], [], [], [])
    after: list[_After] = []
    for which, group in groups.items():
        row = before.get(which)
        if row is not None and row["reason"] is not None:
            written.closed.append(_closed(row, group))
        elif changed := _After.of(row, group):
            after.append(changed)
    after = _without_others(connection, after, written)
    _write_rows(connection, after)
    _number(connection, after)
    steps = _in_order(after)
    written.alarms.extend(alarm(row) for row in steps)
    written.current.extend(alarm(one.row) for one in after if one.is_current)
    _journal(connection, zip((row["step"] for row in steps), written.alarms, strict=True), now)
    return written


@dataclass(frozen=True)
class _After:
    """What is to become of an episode: its row, and the row at each step to it."""

    before: Row | None
    row: Row
    steps: list[Row]

    @classmethod
    def of(cls, before: Row | None, group: Sequence[JudgedChange]) -> "_After | None":
        """Return it; None where there is nothing to be written."""
        steps = news(before, group)
        last = steps[-1] if steps else before
        if last is None:
            return None
        newest = group[-1]
        refreshed = last
        if newest.change.episode.state == last["state"]:
            refreshed = last | _facts(newest.change.episode)
        if refreshed["is_open"]:
            refreshed |= {"late": newest.late, "silenced": newest.silenced}
        return cls(before, refreshed, steps) if steps or refreshed != last else None

    @property
    def opens(self) -> bool:
        return bool(self.row["is_open"]) and not (self.before and self.before["is_open"])

    @property
    def closes(self) -> bool:
        return self.before is not None and self.row["is_open"] is None

    @property
    def is_refreshed(self) -> bool:
        """Whether only what moves all the time has moved on."""
        return self.before is not None and not self.steps and self.row == self.before | _moving(self.row)

    @property
    def is_current(self) -> bool:
        return self.before is not None and bool(self.before["late"]) and not self.row["late"] and not self.steps


def news(before: Row | None, group: Sequence[JudgedChange]) -> list[Row]:
    """Return the row after each of these changes that it has not been through yet.

    The judge may say again what it said before: after a restart it reads again what came since its last snapshot.
    """
    steps = [one for one in group if one.change.what != REFRESHED]
    rows = list(_rows(before, steps))
    if before is None:
        return [] if rows and rows[-1]["transition"] in (DISMISSED, WITHDRAWN) else rows
    reached = [place for place, row in enumerate(rows) if _stage(row) == _stage(before)]
    if reached:
        steps = steps[reached[-1] + 1 :]
    elif steps and _is_beginning(steps[0], before):
        steps = steps[-1:]  # it came to the same by another way
    return list(_rows(before, steps))


def _is_beginning(one: JudgedChange, before: Row) -> bool:
    begun = before["raised"] is not None and before["transition"] != WITHDRAWN
    return one.change.what == PENDING or (one.change.what == RAISED and begun)


def _rows(before: Row | None, steps: Iterable[JudgedChange]) -> Iterator[Row]:
    row = before
    for one in steps:
        row = _next(row, one)
        yield row


def _stage(row: Row) -> tuple[object, ...]:
    # Not when it was raised and cleared: a late reading may have corrected that since.
    return row["state"], row["level"], row["judged"]


OVER = (CLEARED, DISMISSED, WITHDRAWN)


def _next(before: Row | None, one: JudgedChange) -> Row:
    """The row after a step."""
    what, time, episode = one.change
    over = what in OVER
    row: Row = (before or _first(one)) | _facts(episode)
    row |= {
        "state": "cleared" if over else episode.state,
        "is_open": None if over else True,
        "cleared": (row["cleared"] or moment(time)) if over else None,
        "transition": what,
        "step": before["step"] + 1 if before else 1,
        "judged": moment(time),
        "late": one.late,
        "silenced": one.silenced,
        "cause": one.cause or (before["cause"] if before else None),
    }
    if before and _severity(row) > _severity(before):
        row |= {"acknowledged_by": None, "acknowledged_at": None, "comment": None}
    return row


def _first(one: JudgedChange) -> Row:
    episode = one.change.episode
    subject, kind, since = identity(episode)
    empty: Row = {column.name: None for column in tables.episode.columns if column.name != "episode_id"}
    return empty | {
        "store_house_key": id_key(episode.store_house_id),
        "subject_key": subject,
        "sensor_name": one.sensor_name,
        "metric": one.metric,
        "kind": kind,
        "since": since,
        "drill": one.drill,
    }


def _facts(episode: Episode) -> Row:
    return {
        "limits": msgspec.json.encode(episode.limits).decode(),
        "level": episode.level,
        "value": episode.value,
        "peak": episode.peak,
        "raised": None if episode.raised is None else moment(episode.raised),
        "cleared": None if episode.cleared is None else moment(episode.cleared),
    }


MOVING = ("value", "peak", "late", "silenced")


def _moving(row: Row) -> Row:
    return {name: row[name] for name in MOVING}


def _severity(row: Row) -> int:
    return SEVERITIES.index(msgspec.json.decode(row["limits"])[row["level"]]["severity"])


def _without_others(connection: sa.Connection, after: Sequence[_After], written: Written) -> list[_After]:
    """Leave out what would be a second open episode; the one that is open is told."""
    kinds = {(one.row["subject_key"], one.row["kind"]) for one in after if one.opens}
    closing = {one.before["episode_id"] for one in after if one.before and one.closes}
    episode = tables.episode.c
    columns = sa.tuple_(episode.subject_key, episode.kind)
    others = {
        (row["subject_key"], row["kind"]): row
        for portion in _portions(list(kinds))
        for row in _select(connection, columns.in_(portion), episode.is_open)
        if row["episode_id"] not in closing
    }
    written.other.extend(_episode(row) for row in others.values())
    return [one for one in after if not one.opens or (one.row["subject_key"], one.row["kind"]) not in others]


def _write_rows(connection: sa.Connection, after: Sequence[_After]) -> None:
    # What ends goes first: it makes room for what begins at the same sensor.
    changed = [one for one in after if one.before and not one.is_refreshed]
    gone = [one.row["episode_id"] for one in changed if one.row["transition"] == DISMISSED]
    for portion in _portions(gone):
        connection.execute(sa.delete(tables.episode).where(tables.episode.c.episode_id.in_(portion)))
    _update(connection, [one.row for one in sorted(changed, key=lambda one: not one.closes)])
    new = [one.row for one in after if one.before is None]
    if new:
        connection.execute(sa.insert(tables.episode), new)
    _refresh(connection, [one for one in after if one.is_refreshed])


def _update(connection: sa.Connection, rows: Sequence[Row]) -> None:
    if rows:
        this = tables.episode.c.episode_id == sa.bindparam("this")
        names = [name for name in rows[0] if name != "episode_id"]
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names}
        parameters = [{"this": row["episode_id"]} | {f"new_{name}": row[name] for name in names} for row in rows]
        connection.execute(sa.update(tables.episode).where(this).values(values), parameters)


def _refresh(connection: sa.Connection, after: Sequence[_After]) -> None:
    """Write last values and peaks, very many in one statement."""
    episode = tables.episode
    for portion in _portions([one.row for one in after]):
        values: dict[str, sa.ColumnElement[Any]] = {
            name: sa.case(
                {row["episode_id"]: sa.literal(row[name], episode.c[name].type) for row in portion},
                value=episode.c.episode_id,
            )
            for name in MOVING
        }
        these = episode.c.episode_id.in_([row["episode_id"] for row in portion])
        connection.execute(sa.update(episode).where(these).values(values))


def _number(connection: sa.Connection, after: Sequence[_After]) -> None:
    """Let the new rows know the ids that the database has given them."""
    new = [one for one in after if one.before is None]
    found = _find(connection, [_which(one.row) for one in new])
    for one in new:
        for row in (one.row, *one.steps):
            row["episode_id"] = found[_which(row)]["episode_id"]


def _in_order(after: Sequence[_After]) -> list[Row]:
    """The steps of all episodes in the order of their own times, and those of each in their order in any case."""
    timed = [
        (time, row)
        for one in after
        for time, row in zip(accumulate((row["judged"] for row in one.steps), max), one.steps, strict=True)
    ]
    return [row for _, row in sorted(timed, key=lambda each: each[0])]


def acknowledge(connection: sa.Connection, episode_id: int, by: str, comment: str | None, now: datetime) -> Done:
    """Write down that somebody has seen an alarm; raises `NotFound`, and `BadRequest` where it is not raised yet."""
    row = _row(connection, episode_id)
    if row["acknowledged_at"] is not None:
        return Done(alarm(row), alarm(row))
    if row["state"] == "pending":
        raise BadRequest("it is pending: not an alarm yet", "alarm_id")
    seen = {"acknowledged_by": by, "acknowledged_at": now, "comment": comment}
    return _step(connection, row, seen | {"transition": ACKNOWLEDGED}, now)


def close(connection: sa.Connection, episode_id: int, by: str, reason: str, now: datetime) -> Done:
    """Clear an alarm by hand; raises `NotFound`."""
    row = _row(connection, episode_id)
    if row["is_open"] is None:
        return Done(alarm(row), alarm(row))
    over = {"state": "cleared", "is_open": None, "cleared": now, "closed_by": by, "reason": reason}
    return _step(connection, row, over | {"transition": CLOSED}, now)


def _row(connection: sa.Connection, episode_id: int) -> Row:
    found = _select(connection, tables.episode.c.episode_id == episode_id)
    if not found:
        raise NotFound(f"there is no alarm {alarm_id(episode_id)!r}", "alarm_id")
    return found[0]


def _step(connection: sa.Connection, before: Row, changed: Row, now: datetime) -> Done:
    row = before | changed | {"step": before["step"] + 1}
    _update(connection, [row])
    done = Done(alarm(before), alarm(row))
    _journal(connection, [(row["step"], done.alarm)], now)
    return done


def _journal(connection: sa.Connection, steps: Iterable[tuple[int, Alarm]], now: datetime) -> None:
    journal.add(connection, [Step(number, each) for number, each in steps], now)


def _which(row: Row) -> Identity:
    return row["subject_key"], row["kind"], row["since"]


def _find(connection: sa.Connection, identities: Iterable[Identity]) -> dict[Identity, Row]:
    episode = tables.episode.c
    columns = sa.tuple_(episode.subject_key, episode.kind, episode.since)
    found = (row for portion in _portions(list(identities)) for row in _select(connection, columns.in_(portion)))
    return {_which(row): row for row in found}


def _portions(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), MOST):
        yield items[start : start + MOST]


def _select(connection: sa.Connection, *wanted: sa.ColumnElement[bool]) -> list[Row]:
    return [dict(row) for row in connection.execute(sa.select(tables.episode).where(*wanted)).mappings()]


def _closed(row: Row, group: Sequence[JudgedChange] = ()) -> Closed:
    since = (change.time for change, *_ in group if change.what in OVER and moment(change.time) > row["judged"])
    judged = row["judged"].timestamp()
    # The sensor's clock may be ahead of ours.
    return Closed(_episode(row), judged, max(judged, min([row["cleared"].timestamp(), *since])))


def _episode(row: Row) -> Episode:
    subject = msgspec.json.decode(row["subject_key"])
    return Episode(
        store_house_id=msgspec.json.decode(row["store_house_key"]),
        key=(subject[0], subject[1]) if isinstance(subject, list) else None,
        kind=row["kind"],
        since=row["since"].timestamp(),
        limits=msgspec.json.decode(row["limits"], type=tuple[Limit, ...]),
        level=row["level"],
        value=row["value"],
        peak=row["peak"],
        raised=row["raised"] and row["raised"].timestamp(),
        cleared=row["cleared"] and row["cleared"].timestamp(),
    )
