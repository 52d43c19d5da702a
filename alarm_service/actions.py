"""What people do about alarms: they acknowledge and close them, save rules, and tell of maintenance."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime

import msgspec
import sqlalchemy as sa

import ask.episodes
import ask.maintenance
import ask.rules
import record.maintenance
import record.rules
from access.caller import Caller
from alarm_service import rule_visibility
from alarm_service.journal_follower import JournalFollower
from alarm_service.judge_loop import Tell
from alarm_service.site_alarms import LEASE
from alarms import rules
from alarms.chart_limits import Former, drawn, past
from alarms.rules import Rule
from ask import Ask
from ask.answers import EVERYWHERE, Alarm, Data, Id, Maintenance, Rules, SensorAnswer
from ask.episodes import episode_id
from ask.history import check_span, check_time
from ask.questions import AckAlarm, CloseAlarm, SaveMaintenance, SaveRules
from ask.sensors import Sensor
from ask.visibility import Visibility
from common.clock import Clock
from db.database import Database
from errors import BadRequest, Forbidden, NotFound
from live.newest import Newest
from record import audit, episodes, lease
from record.audit import Entry
from record.episodes import Done

CHANGES = 20
"""The newest changes of the rules, in an answer."""
STEPS = 50
"""As many changes of the rules, at most, are looked back for the limits that were."""


class AlarmActions:
    """Does what people ask for, in any process; the judge, in whichever, learns of it at its next look.

    `own` is awaited for `newest` to know whose the storehouses are. `begun` are the rules until people save others,
    `tell` is called with each alarm that has changed.
    """

    def __init__(
        self,
        asking: Ask,
        newest: Newest,
        own: Callable[[], Awaitable[None]],
        state: Database,
        followed: JournalFollower,
        clock: Clock,
        begun: Sequence[Rule],
        *,
        defaults: bool,
        tell: Tell,
    ) -> None:
        self._ask = asking
        self._newest = newest
        self._own = own
        self._state = state
        self._journal = followed
        self._clock = clock
        self._begun = begun
        self._defaults = defaults
        self._tell = tell

    async def acknowledge(self, question: AckAlarm, caller: Caller) -> Alarm:
        """Write down that somebody has seen an alarm; raises `NotFound`, `Forbidden`, `BadRequest`."""
        number, by = await self._ours(question.alarm_id, caller.user.visibility), _person(question.by, caller)
        entry = Entry("acknowledged", by, caller.address)
        return await self._do(caller, entry, lambda c, now: episodes.acknowledge(c, number, by, question.comment, now))

    async def close(self, question: CloseAlarm, caller: Caller) -> Alarm:
        """Clear an alarm by hand; raises `NotFound`, `Forbidden`, `BadRequest`."""
        number, by = await self._ours(question.alarm_id, caller.user.visibility), _person(question.by, caller)
        reason = _said(question.reason, "reason", "say why, such as that the sensor is faulty, or was removed")
        entry = Entry("closed", by, caller.address)
        return await self._do(caller, entry, lambda c, now: episodes.close(c, number, by, reason, now))

    async def rules(self, store_house_id: Id | None, visibility: Visibility) -> Rules:
        """Return the rules; of one storehouse those that may hold there. Raises `NotFound`."""
        place = (
            None if store_house_id is None else (await self._ask.storehouse(store_house_id, visibility)).store_house_id
        )

        def read(connection: sa.Connection) -> Rules:
            saved = self._saved(connection)
            return Rules(
                rules=saved if place is None else [one for one in saved if _may_hold(one, place)],
                defaults=msgspec.to_builtins(rules.DEFAULTS if self._defaults else {}),
                profiles=msgspec.to_builtins(rules.PROFILES),
                changes=ask.rules.changes(connection, CHANGES),
                maintenance=ask.maintenance.after(connection, self._clock(), place),
                revision=ask.rules.version(connection),
            )

        found = await self._state.run(read)
        return found if visibility.everything else rule_visibility.shown(found, await self._bounds(visibility))

    async def in_force(self) -> Sequence[Rule]:
        """Return the rules in force."""
        return await self._state.run(self._in_force)

    async def save_rules(self, question: SaveRules, caller: Caller) -> Rules:
        """Let these rules hold instead of all others that one may change.

        Raises `BadRequest`, `NotFound`, `Forbidden`.
        """
        visibility = caller.user.visibility
        by = _person(question.by, caller)
        try:
            found = rules.read(question.rules)
        except ValueError as error:
            raise BadRequest(str(error), "rules") from None
        wanted: list[Data] = msgspec.to_builtins(found)
        seen = None if visibility.everything else await self._bounds(visibility)

        def save(connection: sa.Connection) -> None:
            with connection.begin():
                now = _lock(connection)
                if question.revision not in (None, ask.rules.version(connection)):
                    raise BadRequest("somebody has saved other rules since: ask for these, and change them", "revision")
                before = self._saved(connection)
                after = wanted if seen is None else rule_visibility.merged(before, wanted, seen)
                record.rules.save(connection, before, after, by, now)
                entry = Entry("rules_saved", by, caller.address, before=before, after=after)
                audit.append(connection, entry, now)

        await self._state.run(save)
        return await self.rules(None, visibility)

    async def save_maintenance(self, question: SaveMaintenance, caller: Caller) -> Maintenance:
        """Write down when nobody is to be disturbed, or another time for that; raises `BadRequest`, `NotFound`."""
        by = _person(question.by, caller)
        reason = _said(question.reason, "reason", "say what is done meanwhile")
        visibility = caller.user.visibility
        place = (await self._ask.storehouse(question.store_house_id, visibility)).store_house_id
        check_span(question.start, question.end)
        sensor_id = None if question.sensor_id is None else await self._sensor_id(place, question.sensor_id, visibility)

        def save(connection: sa.Connection) -> Maintenance:
            with connection.begin():
                now = _lock(connection)
                span, other = (question.start, question.end), question.maintenance_id
                before = None if other is None else ask.maintenance.one(connection, other, place)
                if other is not None:
                    record.maintenance.remove(connection, other)
                made = record.maintenance.add(connection, place, sensor_id, *span, reason, by, now)
                entry = Entry("maintenance_saved", by, caller.address, str(place), before=before, after=made)
                audit.append(connection, entry, now)
                return made

        return await self._state.run(save)

    async def sensors(
        self, store_house_id: Id, visibility: Visibility, since: datetime | None = None
    ) -> list[SensorAnswer]:
        """Return a storehouse's sensors, with the limits in force, and those since then.

        Raises `NotFound`, `BadRequest`.
        """
        if since is not None:
            check_time(since, "since")
        found = await self._ask.sensors(store_house_id, visibility)

        def read(connection: sa.Connection) -> list[SensorAnswer]:
            in_force = self._in_force(connection)
            former = None if since is None else _former(connection, since)
            return [self._sensor(sensor, in_force, former) for sensor in found]

        told = await self._state.run(read) if found else []
        await self._ask.stays(store_house_id, visibility)
        return told

    def _sensor(self, sensor: Sensor, in_force: Sequence[Rule], former: Sequence[Former] | None) -> SensorAnswer:
        return SensorAnswer(
            sensor_id=sensor.sensor_id,
            sensor_name=sensor.sensor_name,
            metric=sensor.metric,
            unit=sensor.unit,
            interval_s=sensor.interval_s,
            position=sensor.position,
            limits=drawn(rules.terms(in_force, sensor, defaults=self._defaults)),
            past_limits=msgspec.UNSET if former is None else past(former, sensor, defaults=self._defaults),
        )

    async def _ours(self, alarm_id: Id, visibility: Visibility) -> int:
        """Return the number of an alarm on which one may act; raises `NotFound`, `Forbidden`."""
        number = episode_id(alarm_id)
        if number is None:
            if await self._sees_theirs(alarm_id, visibility):
                raise Forbidden(f"the alarm {alarm_id!r} belongs to the site's own system; do it there", "alarm_id")
        elif visibility.everything:
            return number
        else:
            place = await self._state.run(lambda connection: ask.episodes.place(connection, number))
            await self._own()
            if place == EVERYWHERE:
                raise Forbidden("an alarm about all storehouses is for those who see all of them", "alarm_id")
            if place is not None and self._newest.sees(visibility, place):
                return number
        raise NotFound(f"there is no alarm {alarm_id!r}", "alarm_id")

    async def _sees_theirs(self, alarm_id: Id, visibility: Visibility) -> bool:
        """Return whether the site's own system has such an alarm, of what one sees."""
        subject = await self._ask.alarm_subject(alarm_id)
        if visibility.everything:
            return subject is not None
        seen = await self._bounds(visibility)
        if subject is None:
            return False
        store_house_id, sensor_id = subject
        return str(sensor_id) in seen.sensors if store_house_id is None else str(store_house_id) in seen.storehouses

    async def _bounds(self, visibility: Visibility) -> rule_visibility.Bounds:
        await self._own()
        return rule_visibility.bounds(self._newest, visibility)

    async def _sensor_id(self, store_house_id: Id, sensor_id: Id, visibility: Visibility) -> Id:
        for sensor in await self._ask.sensors(store_house_id, visibility):
            if str(sensor.sensor_id) == str(sensor_id):
                return sensor.sensor_id
        raise NotFound(f"there is no sensor {sensor_id!r} in that storehouse", "sensor_id")

    async def _do(self, caller: Caller, entry: Entry, work: Callable[[sa.Connection, datetime], Done]) -> Alarm:
        def write(connection: sa.Connection) -> Done:
            with connection.begin():
                now = _lock(connection)
                done = work(connection, now)
                if done.new:
                    self._tell(connection, [done.alarm])
                    subject = str(done.alarm.alarm_id)  # not as it was asked for: sw-07 is sw-7 too
                    audit.append(connection, replace(entry, subject=subject, before=done.before, after=done.alarm), now)
                return done

        done = await self._state.run(write)
        if done.new:
            await self._journal.read()
        if not caller.user.visibility.everything:
            await self._own()
        if not self._newest.sees(caller.user.visibility, done.alarm.store_house_id):
            raise NotFound(f"there is no alarm {done.alarm.alarm_id!r}", "alarm_id")  # it has moved meanwhile
        return done.alarm

    def _saved(self, connection: sa.Connection) -> list[Data]:
        """The rules in force, as people wrote them."""
        saved = ask.rules.saved(connection)
        plain: list[Data] = msgspec.to_builtins(self._begun)
        return plain if saved is None else saved

    def _in_force(self, connection: sa.Connection) -> Sequence[Rule]:
        return rules.read(self._saved(connection))


def _former(connection: sa.Connection, since: datetime) -> list[Former]:
    held = ask.rules.held(connection, since, STEPS)
    return [(start, end, rules.read(data)) for start, end, data in held]


def _lock(connection: sa.Connection) -> datetime:
    """Keep the judge and the audit trail from moving on until the transaction ends; return the database's time."""
    now = lease.lock(connection, LEASE)
    audit.lock(connection)
    return now


def _person(by: str | None, caller: Caller) -> str:
    """Who it is; while access is open, who says so."""
    if caller.user.means != "open":
        return caller.user.name
    return _said(by, "by", "say who you are: alarms are answered by people")


def _said(text: str | None, field: str, otherwise: str) -> str:
    if text is None or not text.strip():
        raise BadRequest(otherwise, field)
    return text.strip()


def _may_hold(rule: Data, store_house_id: Id) -> bool:
    scope = rule.get("scope", {}).get("store_house_id")
    return scope is None or str(scope) == str(store_house_id)
