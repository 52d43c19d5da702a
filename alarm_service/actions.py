"""Alarm actions of users: acknowledge an alarm, close an alarm by hand, save maintenance."""

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
from ask.sensors import no_sensor
from common.texts import truncated
from db.database import Database
from errors import BadRequest
from record import audit, episode_actions, lease
from record.audit import Entry
from record.episode_actions import ActionResult


@dataclass(frozen=True)
class AlarmActions:
    """Writes alarm actions of users (acknowledge, close, save maintenance) to the database `state`.

    Every process can write actions. The process that evaluates the alarm rules reads them within 1 s. `on_alarms` is
    called with each changed alarm, in the transaction of the change.
    """

    ask: Ask
    guard: AnswerGuard
    state: Database
    journal: JournalFollower
    on_alarms: OnAlarms

    async def acknowledge(self, request: Request) -> Alarm:
        """Acknowledge an alarm. Raise `NotFound` if it does not exist, and `BadRequest` if it is still pending."""
        question, by = request.question, person(request.question.by, request.caller)
        return await self._change(
            Entry("acknowledged", by, request.caller.address),
            lambda connection, now: episode_actions.acknowledge(
                connection, _episode_id(question.alarm_id), by, question.comment, now
            ),
        )

    async def close(self, request: Request) -> Alarm:
        """Close an alarm by hand. Raise `NotFound` if it does not exist, and `BadRequest` if no reason is given."""
        question, by = request.question, person(request.question.by, request.caller)
        reason = required_text(question.reason, "reason", "give a reason, for example that the sensor is faulty")
        return await self._change(
            Entry("closed", by, request.caller.address),
            lambda connection, now: episode_actions.close(connection, _episode_id(question.alarm_id), by, reason, now),
        )

    def check_maintenance(self, request: Request) -> tuple[str, str]:
        """Return the name of the user who saves maintenance, and the reason for the maintenance.

        Raise `BadRequest` if the name or the reason is missing.
        """
        by = person(request.question.by, request.caller)
        return by, required_text(request.question.reason, "reason", "give a reason, for example the work to be done")

    async def save_maintenance(self, request: Request) -> Maintenance:
        """Save a new maintenance period, or replace a saved one.

        Raise `BadRequest` if the request is invalid. Raise `NotFound` if the sensor does not exist, or if the
        maintenance period to be replaced does not exist.
        """
        question = request.question
        by, reason = self.check_maintenance(request)
        check_span(question.start, question.end)
        store_house_id = request.storehouse.store_house_id
        sensor_id = None
        if question.sensor_id is not None:
            sensor_id = await self._sensor_id(request.storehouse, question.sensor_id)
            # Check again, because the storehouse may have moved to another organisation during the query. The caller
            # must not mute the alarms of another organisation.
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
        """Return the id of a sensor in the type (integer or text) that the database column has.

        Raise `NotFound` if the storehouse has no such sensor.
        """
        for sensor in await self.ask.sensors(storehouse):
            if str(sensor.sensor_id) == str(sensor_id):
                return sensor.sensor_id
        raise no_sensor(sensor_id)

    async def _change(self, entry: Entry, action: Callable[[sa.Connection, datetime], ActionResult]) -> Alarm:
        def write(connection: sa.Connection) -> ActionResult:
            with connection.begin():
                now = lock(connection)
                result = action(connection, now)
                if result.is_changed:
                    self.on_alarms(connection, [result.alarm])
                    # Use the alarm's id, not the id in the request, because a request may spell sw-7 as sw-07.
                    subject = str(result.alarm.alarm_id)
                    changed = replace(entry, subject=subject, before=result.before, after=result.alarm)
                    audit.append(connection, changed, now)
                return result

        result = await self.state.run(write)
        if result.is_changed:
            await self.journal.push_new()
        return result.alarm


def lock(connection: sa.Connection) -> datetime:
    """Prevent other writes of alarms and of the audit trail until this transaction ends.

    Return the current time of the database's clock.
    """
    now = lease.lock(connection, LEASE)
    audit.lock(connection)
    return now


def person(by: str | None, caller: Caller) -> str:
    """Return the name of the user who sends a request.

    While access is open (users do not log in), this is the name `by` in the request. Raise `BadRequest` if access is
    open and `by` is empty.
    """
    if caller.user.means != "open":
        return truncated(caller.user.name)  # the name in a token may be longer than the columns
    return required_text(by, "by", "give your name: access is open, so the server does not know it")


def required_text(text: str | None, field: str, advice: str) -> str:
    """Return the text without surrounding white space. Raise `BadRequest` with the message `advice` if it is empty."""
    if text is None or not text.strip():
        raise BadRequest(advice, field, reason="missing_field")
    return text.strip()


def _episode_id(alarm_id: Id) -> int:
    number = episode_id(alarm_id)
    assert number is not None  # noqa: S101 - the guard only accepts Storewatch's own alarms
    return number
