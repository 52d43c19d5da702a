"""Converts rows of the table `episode` to `Episode` objects and back. An episode is an alarm of the judge.

Also computes an episode's row after the judge has changed the episode. The functions have no side effects.
"""

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
    REOPENED,
    WITHDRAWN,
    Change,
    Episode,
    Limit,
)
from ask.episodes import long_ids, subject_key, subject_of
from ask.journal import key as id_key
from common.severity import rank
from common.texts import truncated
from db import tables

Row = dict[str, Any]
"""A row of the table `episode`, as a dict from column names to values. It has no `episode_id` until it is inserted."""
Identity = tuple[str, str, datetime]
"""The values that identify an episode (an alarm of the judge): the `subject_key`, the kind of the alarm, and the time
of the first reading out of limits."""
ENDS = (CLEARED, DISMISSED, WITHDRAWN)
"""The kinds of changes that end an episode (an alarm of the judge)."""
FREQUENT_COLUMNS = ("value", "peak", "late", "silenced")
"""Columns of the table `episode` that may change without a new entry in the alarm journal."""


class JudgedChange(NamedTuple):
    """A change of an episode (an alarm) by the judge, with the other values that the database stores for the change."""

    change: Change
    sensor_name: str | None
    metric: str | None
    late: bool = False
    muted: bool = False
    is_test: bool = False
    cause: int | None = None
    """The `episode_id` of the outage alarm that is the cause of this no-data alarm. It is None if there is no cause."""


def to_datetime(seconds: float) -> datetime:
    """Convert a time of the judge (seconds since 1970) to a datetime, rounded to milliseconds as in the database."""
    return datetime.fromtimestamp(round(seconds, 3), UTC)


def identity(episode: Episode) -> Identity:
    """Return the values that identify an episode (an alarm of the judge)."""
    return subject_key(episode.store_house_id, episode.key), episode.kind, to_datetime(episode.since)


def row_identity(row: Row) -> Identity:
    """Return the values that identify the episode (an alarm of the judge) in a row."""
    return row["subject_key"], row["kind"], row["since"]


def to_episode(row: Row) -> Episode:
    """Convert a row of the table `episode` to an `Episode`."""
    store_house_id, key = subject_of(row)
    return Episode(
        store_house_id=store_house_id,
        key=key,
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
    """Return the columns with the values of an episode, but not the columns that identify the episode."""
    return {
        "limits": msgspec.json.encode(episode.limits).decode(),
        "level": episode.level,
        "value": episode.value,
        "peak": episode.peak,
        "raised": None if episode.raised is None else to_datetime(episode.raised),
        "cleared": None if episode.cleared is None else to_datetime(episode.cleared),
    }


def frequent_values(row: Row) -> Row:
    """Return the values of the columns that may change without a new entry in the alarm journal."""
    return {name: row[name] for name in FREQUENT_COLUMNS}


def new_steps(before: Row | None, group: Sequence[JudgedChange]) -> list[Row]:
    """Apply the changes in `group` to the row `before`, and return the row after each change.

    All changes belong to one episode (an alarm of the judge). Skip the changes that the row `before` already includes.
    After a restart, the judge repeats changes, because it reads all readings since its last snapshot again.
    """
    steps = [judged for judged in group if judged.change.what != REFRESHED]
    rows = list(_rows_after(before, steps))
    if before is None:
        return [] if rows and rows[-1]["transition"] in (DISMISSED, WITHDRAWN) else rows
    reached = [index for index, row in enumerate(rows) if _stage(row) == _stage(before)]
    if reached:
        steps = steps[reached[-1] + 1 :]
    elif steps and _repeats_start(steps[0], before):
        steps = steps[-1:]  # the repeated changes reach the same state through other steps
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
    # The times `raised` and `cleared` are not compared, because a late reading may have corrected them.
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
    if before and (what == REOPENED or _severity_rank(row) > _severity_rank(before)):
        # The user acknowledged a milder alarm, or an alarm that has ended since. The journal keeps the acknowledgement.
        row |= {"acknowledged_by": None, "acknowledged_at": None, "comment": None}
    return row


def _first_row(judged: JudgedChange) -> Row:
    episode = judged.change.episode
    subject, kind, since = identity(episode)
    empty: Row = {column.name: None for column in tables.episode.columns if column.name != "episode_id"}
    return empty | {
        "store_house_key": id_key(episode.store_house_id),
        "subject_key": subject,
        "sensor_name": None if judged.sensor_name is None else truncated(judged.sensor_name),
        "metric": None if judged.metric is None else truncated(judged.metric),
        "kind": kind,
        "since": since,
        "drill": judged.is_test,
        "ids": long_ids(episode.store_house_id, episode.key),
    }


def _severity_rank(row: Row) -> int:
    return rank(msgspec.json.decode(row["limits"])[row["level"]]["severity"])
