"""Writes the changes that the judge makes to alarms. In this module, an alarm of the judge is called an episode.

`write` also writes each change of an alarm's state to the alarm journal, in the caller's transaction. The caller must
hold the journal's lease, or lock it with `record.lease.lock`. The ids in the journal are then in the order of the
commits.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sa

from alarms.model import DISMISSED, NO_DATA, Episode
from ask.answers import EVERYWHERE, Alarm, Id
from ask.episodes import alarm, subject_of
from ask.journal import key as id_key
from db import tables
from record import journal
from record.episode_rows import (
    ENDS,
    FREQUENT_COLUMNS,
    Identity,
    JudgedChange,
    Row,
    frequent_values,
    identity,
    new_steps,
    row_identity,
    to_datetime,
    to_episode,
    values_of,
)
from record.journal import Step

T = TypeVar("T")

BATCH = 500
"""Maximum number of episodes (alarms) in one statement."""


class ClosedByHand(NamedTuple):
    """An episode (an alarm) that a user closed by hand. Times are in seconds since 1970.

    `judged` is the time of the judge's last change before the user closed the episode. `time` is the end of the
    episode. If the judge has also ended the episode, `time` is the earlier of the two ends, but it is never before
    `judged`.
    """

    episode: Episode
    judged: float
    time: float


class WrittenEpisode(NamedTuple):
    """An episode (an alarm) in the database. `judged` is the time of its last change, in seconds since 1970."""

    episode: Episode
    judged: float


class WriteResult(NamedTuple):
    """The changes that `write` has written, and the episodes (alarms) that it could not change or insert."""

    alarms: list[Alarm]
    """The alarm after each change of an alarm's state that was written, in chronological order."""
    current: list[Alarm]
    """The alarms that were marked as late and are now up to date, although their state has not changed."""
    closed: list[ClosedByHand]
    """The episodes (alarms) that users closed by hand. The judge's changes to these episodes are not written."""
    already_open: list[Episode]
    """The open episodes (alarms) that prevented `write` from inserting another episode with the same subject and kind.
    """

    def after(self, first: "WriteResult") -> "WriteResult":
        """Return one result that contains `first`, the result of an earlier `write`, and then this result."""
        return WriteResult(
            first.alarms + self.alarms,
            first.current + self.current,
            first.closed + self.closed,
            first.already_open + self.already_open,
        )


def open_episodes(connection: sa.Connection, *, late: bool = False) -> list[Episode]:
    """Return all open episodes (alarms). If `late` is true, return only the episodes that are marked as late."""
    conditions = [tables.episode.c.late] if late else []
    return [to_episode(row) for row in select_rows(connection, tables.episode.c.is_open, *conditions)]


def written_episodes(connection: sa.Connection, identities: Sequence[Identity]) -> dict[Identity, WrittenEpisode]:
    """Return those of the given episodes (alarms) that are in the database, except those that users closed by hand."""
    rows = _rows_by_identity(connection, identities)
    return {
        which: WrittenEpisode(to_episode(row), row["judged"].timestamp())
        for which, row in rows.items()
        if row["reason"] is None
    }


def closed_by_hand(connection: sa.Connection, episode_ids: Sequence[int]) -> list[ClosedByHand]:
    """Return those of the given episodes (alarms) that users closed by hand."""
    episode = tables.episode.c
    rows = select_rows(connection, episode.episode_id.in_(episode_ids), episode.reason.is_not(None))
    return [_closed_by_hand(row) for row in rows]


def assign_causes(connection: sa.Connection) -> dict[Id, int]:
    """Set the `cause` of the sensors' open no-data alarms.

    The cause of a sensor's no-data alarm is the open no-data alarm of its storehouse, or of all storehouses. Return a
    dict from `store_house_id` to the `episode_id` of the open no-data alarm of this storehouse.
    """
    episode = tables.episode.c
    no_data = sa.and_(episode.is_open, episode.kind == NO_DATA)
    causes: dict[Id, int] = {}
    for row in select_rows(connection, no_data, episode.subject_key == episode.store_house_key):
        store_house_id, _ = subject_of(row)
        causes[store_house_id] = row["episode_id"]
        here = (
            sa.true()
            if row["store_house_key"] == id_key(EVERYWHERE)
            else episode.store_house_key == row["store_house_key"]
        )
        single = sa.and_(no_data, here, episode.subject_key != episode.store_house_key, episode.cause.is_(None))
        connection.execute(sa.update(tables.episode).where(single).values(cause=row["episode_id"]))
    return causes


def update_muted(connection: sa.Connection, is_muted: Callable[[Episode], bool]) -> None:
    """Store for each open episode (alarm) whether maintenance mutes it now."""
    for row in select_rows(connection, tables.episode.c.is_open):
        muted = is_muted(to_episode(row))
        if muted != row["silenced"]:
            update_rows(connection, [row | {"silenced": muted}])


def write(connection: sa.Connection, changes: Sequence[JudgedChange], now: datetime) -> WriteResult:
    """Write the judge's changes in the given order. Skip changes that were already written.

    Raise SQLAlchemy's IntegrityError if another process has just written the same change.
    """
    groups: dict[Identity, list[JudgedChange]] = {}
    for judged in changes:
        groups.setdefault(identity(judged.change.episode), []).append(judged)
    before = _rows_by_identity(connection, groups)
    result = WriteResult([], [], [], [])
    updates: list[_RowUpdate] = []
    for which, group in groups.items():
        row = before.get(which)
        if row is not None and row["reason"] is not None:
            result.closed.append(_closed_by_hand(row, group))
        elif update := _RowUpdate.of(row, group):
            updates.append(update)
    updates = _without_second_open(connection, updates, result)
    _write_rows(connection, updates)
    _set_ids(connection, updates)
    steps = _steps_in_order(updates)
    result.alarms.extend(alarm(row) for row in steps)
    result.current.extend(alarm(update.after) for update in updates if update.is_current)
    numbered = zip((row["step"] for row in steps), result.alarms, strict=True)
    journal.add(connection, [Step(number, stepped) for number, stepped in numbered], now)
    return result


def unrecorded_alarm(judged: JudgedChange, outages: Collection[Id]) -> Alarm | None:
    """Return the alarm after a change that is not in the database.

    `outages` contains the ids of the storehouses with an open outage alarm. The `alarm_id`, the acknowledgement and the
    id of the cause are placeholders, because only the database knows them. Return None if the change dismisses or
    withdraws the alarm.
    """
    episode = judged.change.episode
    here = {EVERYWHERE, episode.store_house_id}
    has_cause = episode.kind == NO_DATA and episode.key is not None and not here.isdisjoint(outages)
    for row in new_steps(None, [judged]):
        unrecorded = alarm(row | {"episode_id": 0, "cause": 0 if has_cause else None})
        return msgspec.structs.replace(unrecorded, alarm_id=str(identity(episode)))
    return None


@dataclass(frozen=True)
class _RowUpdate:
    """An update of a row of the table `episode`: the row before and after the update.

    `steps` contains the row after each change that is written to the alarm journal.
    """

    before: Row | None
    after: Row
    steps: list[Row]

    @classmethod
    def of(cls, before: Row | None, group: Sequence[JudgedChange]) -> "_RowUpdate | None":
        """Return the update that applies the changes in `group` to the row `before`.

        All changes belong to one episode (alarm). Return None if they do not change the row.
        """
        steps = new_steps(before, group)
        last = steps[-1] if steps else before
        if last is None:
            return None
        newest = group[-1]
        after = last
        if newest.change.episode.state == last["state"]:
            after = last | values_of(newest.change.episode)
        if after["is_open"]:
            after |= {"late": newest.late, "silenced": newest.muted}
        return cls(before, after, steps) if steps or after != last else None

    @property
    def opens(self) -> bool:
        return bool(self.after["is_open"]) and not (self.before and self.before["is_open"])

    @property
    def closes(self) -> bool:
        return self.before is not None and self.after["is_open"] is None

    @property
    def is_refreshed(self) -> bool:
        """Whether only the columns `FREQUENT_COLUMNS` have changed."""
        return self.before is not None and not self.steps and self.after == self.before | frequent_values(self.after)

    @property
    def is_current(self) -> bool:
        return self.before is not None and bool(self.before["late"]) and not self.after["late"] and not self.steps


def _without_second_open(
    connection: sa.Connection, updates: Sequence[_RowUpdate], result: WriteResult
) -> list[_RowUpdate]:
    """Return the updates, except those that would open a second episode (alarm) of the same subject and kind.

    Add the episodes that are already open to `result.already_open`.
    """
    kinds = {(update.after["subject_key"], update.after["kind"]) for update in updates if update.opens}
    closing = {update.before["episode_id"] for update in updates if update.before and update.closes}
    episode = tables.episode.c
    columns = sa.tuple_(episode.subject_key, episode.kind)
    already_open = {
        (row["subject_key"], row["kind"]): row
        for batch in _batches(list(kinds))
        for row in select_rows(connection, columns.in_(batch), episode.is_open)
        if row["episode_id"] not in closing
    }
    result.already_open.extend(to_episode(row) for row in already_open.values())
    return [
        update
        for update in updates
        if not update.opens or (update.after["subject_key"], update.after["kind"]) not in already_open
    ]


def _write_rows(connection: sa.Connection, updates: Sequence[_RowUpdate]) -> None:
    # Write closed episodes first, because the unique key allows only one open row with the same subject and kind.
    changed = [update for update in updates if update.before and not update.is_refreshed]
    dismissed = [update.after["episode_id"] for update in changed if update.after["transition"] == DISMISSED]
    for batch in _batches(dismissed):
        connection.execute(sa.delete(tables.episode).where(tables.episode.c.episode_id.in_(batch)))
    update_rows(connection, [update.after for update in sorted(changed, key=lambda update: not update.closes)])
    new = [update.after for update in updates if update.before is None]
    if new:
        connection.execute(sa.insert(tables.episode), new)
    _refresh_rows(connection, [update.after for update in updates if update.is_refreshed])


def update_rows(connection: sa.Connection, rows: Sequence[Row]) -> None:
    """Update all columns of the given rows."""
    if rows:
        this = tables.episode.c.episode_id == sa.bindparam("this")
        names = [name for name in rows[0] if name != "episode_id"]
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names}
        parameters = [{"this": row["episode_id"]} | {f"new_{name}": row[name] for name in names} for row in rows]
        connection.execute(sa.update(tables.episode).where(this).values(values), parameters)


def _refresh_rows(connection: sa.Connection, rows: Sequence[Row]) -> None:
    """Update the columns `FREQUENT_COLUMNS` of many rows in one statement."""
    episode = tables.episode
    for batch in _batches(rows):
        values: dict[str, sa.ColumnElement[Any]] = {
            name: sa.case(
                {row["episode_id"]: sa.literal(row[name], episode.c[name].type) for row in batch},
                value=episode.c.episode_id,
            )
            for name in FREQUENT_COLUMNS
        }
        these = episode.c.episode_id.in_([row["episode_id"] for row in batch])
        connection.execute(sa.update(episode).where(these).values(values))


def _set_ids(connection: sa.Connection, updates: Sequence[_RowUpdate]) -> None:
    """Set the `episode_id` in the updates whose rows were inserted."""
    new = [update for update in updates if update.before is None]
    inserted = _rows_by_identity(connection, [row_identity(update.after) for update in new])
    for update in new:
        for row in (update.after, *update.steps):
            row["episode_id"] = inserted[row_identity(row)]["episode_id"]


def _steps_in_order(updates: Sequence[_RowUpdate]) -> list[Row]:
    """Return the rows of all changes for the alarm journal, in chronological order.

    The changes of one episode (alarm) always keep their order.
    """
    timed = [
        (time, row)
        for update in updates
        for time, row in zip(accumulate((row["judged"] for row in update.steps), max), update.steps, strict=True)
    ]
    return [row for _, row in sorted(timed, key=lambda pair: pair[0])]


def _rows_by_identity(connection: sa.Connection, identities: Iterable[Identity]) -> dict[Identity, Row]:
    episode = tables.episode.c
    columns = sa.tuple_(episode.subject_key, episode.kind, episode.since)
    rows = (row for batch in _batches(list(identities)) for row in select_rows(connection, columns.in_(batch)))
    return {row_identity(row): row for row in rows}


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def select_rows(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[Row]:
    """Return the rows of the table `episode` that match all conditions."""
    return [dict(row) for row in connection.execute(sa.select(tables.episode).where(*conditions)).mappings()]


def _closed_by_hand(row: Row, group: Sequence[JudgedChange] = ()) -> ClosedByHand:
    ends = (change.time for change, *_ in group if change.what in ENDS and to_datetime(change.time) > row["judged"])
    judged = row["judged"].timestamp()
    # The sensor's clock may be ahead of the database's, so `cleared` may be before `judged`.
    return ClosedByHand(to_episode(row), judged, max(judged, min([row["cleared"].timestamp(), *ends])))
