"""Writes the actions of users (acknowledge and close) on alarms that Storewatch judges.

Each function also writes the change of the alarm to the alarm journal. The caller must hold the journal's lease, or
lock it with `record.lease.lock`.
"""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from alarms.model import ACKNOWLEDGED, CLOSED
from ask.answers import Alarm
from ask.episodes import alarm, alarm_id, no_alarm
from db import tables
from errors import BadRequest
from record import journal
from record.episode_rows import Row
from record.episodes import select_rows, update_rows
from record.journal import Step


class ActionResult(NamedTuple):
    """An alarm before and after an action of a user."""

    before: Alarm
    alarm: Alarm

    @property
    def is_changed(self) -> bool:
        """Whether the action changed the alarm.

        It is false if the user acknowledged an alarm that was already acknowledged, or closed an alarm that had already
        ended.
        """
        return self.alarm != self.before


def acknowledge(
    connection: sa.Connection, episode_id: int, by: str, comment: str | None, now: datetime
) -> ActionResult:
    """Acknowledge an alarm. Raise `NotFound` if it does not exist, and `BadRequest` while it is pending."""
    row = _row(connection, episode_id)
    if row["acknowledged_at"] is not None:
        return ActionResult(alarm(row), alarm(row))
    if row["state"] == "pending":
        raise BadRequest(
            "the alarm is still pending; acknowledge it after it is raised", "alarm_id", reason="alarm_pending"
        )
    acknowledged = {"acknowledged_by": by, "acknowledged_at": now, "comment": comment}
    return _write_step(connection, row, acknowledged | {"transition": ACKNOWLEDGED}, now)


def close(connection: sa.Connection, episode_id: int, by: str, reason: str, now: datetime) -> ActionResult:
    """Close an alarm by hand. Do nothing if it has already ended. Raise `NotFound` if it does not exist."""
    row = _row(connection, episode_id)
    if row["is_open"] is None:
        return ActionResult(alarm(row), alarm(row))
    closed = {"state": "cleared", "is_open": None, "cleared": now, "closed_by": by, "reason": reason}
    return _write_step(connection, row, closed | {"transition": CLOSED}, now)


def _row(connection: sa.Connection, episode_id: int) -> Row:
    rows = select_rows(connection, tables.episode.c.episode_id == episode_id)
    if not rows:
        raise no_alarm(alarm_id(episode_id))
    return rows[0]


def _write_step(connection: sa.Connection, before: Row, changed: Row, now: datetime) -> ActionResult:
    row = before | changed | {"step": before["step"] + 1}
    update_rows(connection, [row])
    result = ActionResult(alarm(before), alarm(row))
    journal.add(connection, [Step(row["step"], result.alarm)], now)
    return result
