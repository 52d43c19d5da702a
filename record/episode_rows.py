"""Rows of `tables.episode`: to and from an `Episode`, and the next row after a change of the judge. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from alarms.model import (
    CLEARED,
    DISMISSED,
    PENDING,
    RAISED,
    REFRESHED,
    WITHDRAWN,
    Change,
    Episode,
    Limit,
)
from ask.answers import Id
from ask.journal import key as id_key
from ask.readings import Key
from common.severity import rank
from db import tables

Row = dict[str, Any]
"""A row of `tables.episode`; without `episode_id` until it is written."""
Identity = tuple[str, str, datetime]
"""Identifies an episode: `subject_key`, kind, and the time of its first reading out of limits."""
ENDS = (CLEARED, DISMISSED, WITHDRAWN)
"""The changes that end an episode."""
FREQUENT_COLUMNS = ("value", "peak", "late", "silenced")
"""The columns that change without a step."""


class JudgedChange(NamedTuple):
    """A change, and what the database has to know besides."""

    change: Change
    sensor_name: str | None
    metric: str | None
    late: bool = False
    muted: bool = False
    is_test: bool = False
    cause: int | None = None
    """The `episode_id` of the alarm that this one is only a part of."""


def to_datetime(seconds: float) -> datetime:
    """Return a time of the judge, in seconds since 1970, as the database stores it: to the millisecond."""
    return datetime.fromtimestamp(round(seconds, 3), UTC)


def subject_key(store_house_id: Id, key: Key | None) -> str:
    """Return what an alarm is about, as the database stores it."""
    return msgspec.json.encode(store_house_id if key is None else key).decode()


def identity(episode: Episode) -> Identity:
    """Return what identifies this episode."""
    return subject_key(episode.store_house_id, episode.key), episode.kind, to_datetime(episode.since)


def row_identity(row: Row) -> Identity:
    """Return what identifies the episode of this row."""
    return row["subject_key"], row["kind"], row["since"]


def to_episode(row: Row) -> Episode:
    """Return the episode of this row."""
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


def values_of(episode: Episode) -> Row:
    """Return the columns that copy the episode; those that identify it are not among them."""
    return {
        "limits": msgspec.json.encode(episode.limits).decode(),
        "level": episode.level,
        "value": episode.value,
        "peak": episode.peak,
        "raised": None if episode.raised is None else to_datetime(episode.raised),
        "cleared": None if episode.cleared is None else to_datetime(episode.cleared),
    }


def frequent_values(row: Row) -> Row:
    """Return the columns of this row that change without a step."""
    return {name: row[name] for name in FREQUENT_COLUMNS}


def new_steps(before: Row | None, group: Sequence[JudgedChange]) -> list[Row]:
    """Return the row after each of these changes of one episode that `before` does not contain yet.

    The judge repeats changes: after a restart it reads again all readings since its last snapshot.
    """
    steps = [judged for judged in group if judged.change.what != REFRESHED]
    rows = list(_rows_after(before, steps))
    if before is None:
        return [] if rows and rows[-1]["transition"] in (DISMISSED, WITHDRAWN) else rows
    reached = [index for index, row in enumerate(rows) if _stage(row) == _stage(before)]
    if reached:
        steps = steps[reached[-1] + 1 :]
    elif steps and _repeats_start(steps[0], before):
        steps = steps[-1:]  # the repeated changes led to the same state by another way
    return list(_rows_after(before, steps))


def _repeats_start(judged: JudgedChange, before: Row) -> bool:
    was_raised = before["raised"] is not None and before["transition"] != WITHDRAWN
    return judged.change.what == PENDING or (judged.change.what == RAISED and was_raised)


def _rows_after(before: Row | None, steps: Iterable[JudgedChange]) -> Iterator[Row]:
    row = before
    for judged in steps:
        row = _next_row(row, judged)
        yield row


def _stage(row: Row) -> tuple[object, ...]:
    # Not when it was raised and cleared: a late reading may have corrected that since.
    return row["state"], row["level"], row["judged"]


def _next_row(before: Row | None, judged: JudgedChange) -> Row:
    what, time, episode = judged.change
    is_end = what in ENDS
    row: Row = (before or _first_row(judged)) | values_of(episode)
    row |= {
        "state": "cleared" if is_end else episode.state,
        "is_open": None if is_end else True,
        "cleared": (row["cleared"] or to_datetime(time)) if is_end else None,
        "transition": what,
        "step": before["step"] + 1 if before else 1,
        "judged": to_datetime(time),
        "late": judged.late,
        "silenced": judged.muted,
        "cause": judged.cause or (before["cause"] if before else None),
    }
    if before and _severity_rank(row) > _severity_rank(before):
        row |= {"acknowledged_by": None, "acknowledged_at": None, "comment": None}
    return row


def _first_row(judged: JudgedChange) -> Row:
    episode = judged.change.episode
    subject, kind, since = identity(episode)
    empty: Row = {column.name: None for column in tables.episode.columns if column.name != "episode_id"}
    return empty | {
        "store_house_key": id_key(episode.store_house_id),
        "subject_key": subject,
        "sensor_name": judged.sensor_name,
        "metric": judged.metric,
        "kind": kind,
        "since": since,
        "drill": judged.is_test,
    }


def _severity_rank(row: Row) -> int:
    return rank(msgspec.json.decode(row["limits"])[row["level"]]["severity"])
