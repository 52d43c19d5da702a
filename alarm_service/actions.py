"""What people do about alarms: they acknowledge and close them, and announce maintenance."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

import ask.maintenance
import record.maintenance
from access.caller import Caller
from access.connection import Request
from access.guard import AnswerGuard
from alarm_service.journal_follower import JournalFollower
from alarm_service.on_alarms import OnAlarms
from alarm_service.site_alarms import LEASE
from ask import Ask
from ask.answers import Alarm, Id, Maintenance, Storehouse
from ask.episodes import episode_id
from ask.history import check_span
from db.database import Database
from errors import BadRequest, NotFound
from record import audit, episode_actions, lease
from record.audit import Entry
from record.episode_actions import ActionResult


@dataclass(frozen=True)
class AlarmActions:
    """Writes down what people do, in any process; the judge, wherever it runs, reads it within a second.

    `state` is written to, `on_alarms` is called with each alarm that has changed, in the transaction of the change.
    """

    ask: Ask
    guard: AnswerGuard
    state: Database
    journal: JournalFollower
    on_alarms: OnAlarms

    async def acknowledge(self, request: Request) -> Alarm:
        """Acknowledge an alarm; raises `BadRequest` while it is pending, `NotFound`."""
        question, by = request.question, person(request.question.by, request.caller)
        return await self._change(
            Entry("acknowledged", by, request.caller.address),
            lambda connection, now: episode_actions.acknowledge(
                connection, _episode_id(question.alarm_id), by, question.comment, now
            ),
        )

    async def close(self, request: Request) -> Alarm:
        """Clear an alarm by hand; raises `BadRequest` without a reason, `NotFound`."""
        question, by = request.question, person(request.question.by, request.caller)
        reason = required_text(question.reason, "reason", "say why, such as that the sensor is faulty, or was removed")
        return await self._change(
            Entry("closed", by, request.caller.address),
            lambda connection, now: episode_actions.close(connection, _episode_id(question.alarm_id), by, reason, now),
        )

    def check_maintenance(self, request: Request) -> tuple[str, str]:
        """Return who announces maintenance, and the reason; raises `BadRequest`."""
        by = person(request.question.by, request.caller)
        return by, required_text(request.question.reason, "reason", "say what is done meanwhile")

    async def save_maintenance(self, request: Request) -> Maintenance:
        """Announce maintenance, or replace what was announced before; raises `BadRequest`, `NotFound`."""
        question = request.question
        by, reason = self.check_maintenance(request)
        check_span(question.start, question.end)
        store_house_id = request.storehouse.store_house_id
        sensor_id = None
        if question.sensor_id is not None:
            sensor_id = await self._sensor_id(request.storehouse, question.sensor_id)
            # It may have moved meanwhile, and its new owner's alarms are not to be muted.
            await self.guard.visible_storehouse(store_house_id, request.caller.user.visibility)

        def save(connection: sa.Connection) -> Maintenance:
            with connection.begin():
                now = lock(connection)
                replaced = question.maintenance_id
                before = None if replaced is None else ask.maintenance.get(connection, replaced, store_house_id)
                if replaced is not None:
                    record.maintenance.remove(connection, replaced)
                span = question.start, question.end
                saved = record.maintenance.add(connection, store_house_id, sensor_id, *span, reason, by, now)
                subject = str(store_house_id)
                entry = Entry("maintenance_saved", by, request.caller.address, subject, before=before, after=saved)
                audit.append(connection, entry, now)
                return saved

        return await self.state.run(save)

    async def _sensor_id(self, storehouse: Storehouse, sensor_id: Id) -> Id:
        """Return the id of a sensor as its column has it."""
        for sensor in await self.ask.sensors(storehouse):
            if str(sensor.sensor_id) == str(sensor_id):
                return sensor.sensor_id
        raise NotFound(f"there is no sensor {sensor_id!r} in that storehouse", "sensor_id")

    async def _change(self, entry: Entry, action: Callable[[sa.Connection, datetime], ActionResult]) -> Alarm:
        def write(connection: sa.Connection) -> ActionResult:
            with connection.begin():
                now = lock(connection)
                result = action(connection, now)
                if result.is_changed:
                    self.on_alarms(connection, [result.alarm])
                    # The alarm's own id, not the one that was asked for: sw-07 is sw-7 too.
                    subject = str(result.alarm.alarm_id)
                    changed = replace(entry, subject=subject, before=result.before, after=result.alarm)
                    audit.append(connection, changed, now)
                return result

        result = await self.state.run(write)
        if result.is_changed:
            await self.journal.push_new()
        return result.alarm


def lock(connection: sa.Connection) -> datetime:
    """Keep the judge and the audit trail from writing until the transaction ends; return the database's time."""
    now = lease.lock(connection, LEASE)
    audit.lock(connection)
    return now


def person(by: str | None, caller: Caller) -> str:
    """Return the name of who acts; while access is open, the one that the client gives. Raises `BadRequest`."""
    if caller.user.means != "open":
        return caller.user.name
    return required_text(by, "by", "say who you are: alarms are answered by people")


def required_text(text: str | None, field: str, advice: str) -> str:
    """Return a text without the blanks around it; raises `BadRequest` with `advice` where it is empty."""
    if text is None or not text.strip():
        raise BadRequest(advice, field)
    return text.strip()


def _episode_id(alarm_id: Id) -> int:
    number = episode_id(alarm_id)
    assert number is not None  # noqa: S101 - the guard lets only alarms of ours pass
    return number
