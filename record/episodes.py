"""Writes the changes of the judge: the alarms that Storewatch judges itself.

Every function that writes a change also writes its step into the journal, in the caller's transaction. The caller must
hold, or `lock`, the lease of the journal: so the ids of steps are given in the order of commits.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sa

from alarms.model import DISMISSED, NO_DATA, Episode
from ask.answers import EVERYWHERE, Alarm, Id
from ask.episodes import alarm
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
"""The most episodes in one statement."""


class ClosedByHand(NamedTuple):
    """An episode that a person has closed. Times are seconds since 1970.

    `judged`: the time of the judge's last change before. `time`: when the episode ended, which is not before `judged`;
    where the judge has ended it since, the earlier of the two.
    """

    episode: Episode
    judged: float
    time: float


class WriteResult(NamedTuple):
    """What came of writing changes."""

    alarms: list[Alarm]
    """The alarm after each step that was written, in order."""
    current: list[Alarm]
    """The alarms whose readings came late, and are up to date now."""
    closed: list[ClosedByHand]
    """The episodes that people have closed: the judge's changes of these are not written."""
    already_open: list[Episode]
    """The open episodes that kept another of the same kind and subject from being written."""

    def after(self, first: "WriteResult") -> "WriteResult":
        """Return this result joined to that of an earlier `write`."""
        return WriteResult(
            first.alarms + self.alarms,
            first.current + self.current,
            first.closed + self.closed,
            first.already_open + self.already_open,
        )


def open_episodes(connection: sa.Connection, *, late: bool = False) -> list[Episode]:
    """Return all open episodes; `late`: only those whose readings came late."""
    conditions = [tables.episode.c.late] if late else []
    return [to_episode(row) for row in select_rows(connection, tables.episode.c.is_open, *conditions)]


def closed_by_hand(connection: sa.Connection, episode_ids: Sequence[int]) -> list[ClosedByHand]:
    """Return those of these episodes that people have closed."""
    episode = tables.episode.c
    rows = select_rows(connection, episode.episode_id.in_(episode_ids), episode.reason.is_not(None))
    return [_closed_by_hand(row) for row in rows]


def assign_causes(connection: sa.Connection) -> dict[Id, int]:
    """Make each open alarm "no data" of a single sensor part of that of its whole storehouse, where there is one.

    Return the `episode_id` of the alarm of each storehouse that sends no data at all.
    """
    episode = tables.episode.c
    no_data = sa.and_(episode.is_open, episode.kind == NO_DATA)
    causes: dict[Id, int] = {}
    for row in select_rows(connection, no_data, episode.subject_key == episode.store_house_key):
        causes[msgspec.json.decode(row["store_house_key"])] = row["episode_id"]
        here = (
            sa.true()
            if row["store_house_key"] == id_key(EVERYWHERE)
            else episode.store_house_key == row["store_house_key"]
        )
        single = sa.and_(no_data, here, episode.subject_key != episode.store_house_key, episode.cause.is_(None))
        connection.execute(sa.update(tables.episode).where(single).values(cause=row["episode_id"]))
    return causes


def update_muted(connection: sa.Connection, is_muted: Callable[[Episode], bool]) -> None:
    """Write which of the open episodes are muted by maintenance now."""
    for row in select_rows(connection, tables.episode.c.is_open):
        muted = is_muted(to_episode(row))
        if muted != row["silenced"]:
            update_rows(connection, [row | {"silenced": muted}])


def write(connection: sa.Connection, changes: Sequence[JudgedChange], now: datetime) -> WriteResult:
    """Write the judge's changes in this order; changes that are written already are skipped.

    Raises SQLAlchemy's IntegrityError where another process has just written the same.
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


@dataclass(frozen=True)
class _RowUpdate:
    """The row of an episode before and after its changes, and the row after each step."""

    before: Row | None
    after: Row
    steps: list[Row]

    @classmethod
    def of(cls, before: Row | None, group: Sequence[JudgedChange]) -> "_RowUpdate | None":
        """Return the update that these changes of one episode make; None if they change nothing."""
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
        """Whether nothing but frequent columns changed."""
        return self.before is not None and not self.steps and self.after == self.before | frequent_values(self.after)

    @property
    def is_current(self) -> bool:
        return self.before is not None and bool(self.before["late"]) and not self.after["late"] and not self.steps


def _without_second_open(
    connection: sa.Connection, updates: Sequence[_RowUpdate], result: WriteResult
) -> list[_RowUpdate]:
    """Return the updates without those that would open a second episode; add the open one to `result`."""
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
    # Rows that close go first: they make room for the next open row of the same sensor.
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
    """Update all columns of these rows."""
    if rows:
        this = tables.episode.c.episode_id == sa.bindparam("this")
        names = [name for name in rows[0] if name != "episode_id"]
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names}
        parameters = [{"this": row["episode_id"]} | {f"new_{name}": row[name] for name in names} for row in rows]
        connection.execute(sa.update(tables.episode).where(this).values(values), parameters)


def _refresh_rows(connection: sa.Connection, rows: Sequence[Row]) -> None:
    """Update the frequent columns, of many rows in one statement."""
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
    """Copy the ids that the database has given to new rows."""
    new = [update for update in updates if update.before is None]
    inserted = _rows_by_identity(connection, [row_identity(update.after) for update in new])
    for update in new:
        for row in (update.after, *update.steps):
            row["episode_id"] = inserted[row_identity(row)]["episode_id"]


def _steps_in_order(updates: Sequence[_RowUpdate]) -> list[Row]:
    """Return the steps of all episodes ordered by their times; those of one episode keep their order in any case."""
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
    """Return the rows that meet all of these conditions."""
    return [dict(row) for row in connection.execute(sa.select(tables.episode).where(*conditions)).mappings()]


def _closed_by_hand(row: Row, group: Sequence[JudgedChange] = ()) -> ClosedByHand:
    ends = (change.time for change, *_ in group if change.what in ENDS and to_datetime(change.time) > row["judged"])
    judged = row["judged"].timestamp()
    # The sensor's clock may be ahead of ours.
    return ClosedByHand(to_episode(row), judged, max(judged, min([row["cleared"].timestamp(), *ends])))
