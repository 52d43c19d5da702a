"""What people do about alarms: they acknowledge and close them, save rules, and tell of maintenance."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import msgspec
import sqlalchemy as sa

import ask.maintenance
import ask.rules
import record.maintenance
import record.rules
from alarms import rules
from alarms.rules import Rule, Terms
from ask import Ask
from ask.answers import Alarm, Data, Drawn, Id, Maintenance, Rules, SensorAnswer
from ask.episodes import episode_id
from ask.questions import AckAlarm, CloseAlarm, SaveMaintenance, SaveRules
from ask.sensors import Sensor
from database import Database
from errors import BadRequest, Forbidden, NotFound
from instants import Clock
from live.alarm_watch import LEASE
from live.journal import Journal
from live.judging import Tell
from record import episodes, lease
from record.episodes import Done

CHANGES = 20
"""The newest changes of the rules, in an answer."""
LONGEST = timedelta(days=366)
"""Of maintenance."""


class People:
    """Does what people ask for, in any process; the judge, in whichever, learns of it at its next look.

    `begun` are the rules until people save others, `tell` is called with each alarm that has changed.
    """

    def __init__(
        self,
        asking: Ask,
        state: Database,
        followed: Journal,
        clock: Clock,
        begun: Sequence[Rule],
        *,
        defaults: bool,
        tell: Tell,
    ) -> None:
        self._ask = asking
        self._state = state
        self._journal = followed
        self._clock = clock
        self._begun = begun
        self._defaults = defaults
        self._tell = tell

    async def acknowledge(self, question: AckAlarm) -> Alarm:
        """Write down that somebody has seen an alarm; raises `NotFound`, `Forbidden`, `BadRequest`."""
        number, by = await self._ours(question.alarm_id), _person(question.by)
        return await self._do(lambda c: episodes.acknowledge(c, number, by, question.comment, lease.lock(c, LEASE)))

    async def close(self, question: CloseAlarm) -> Alarm:
        """Clear an alarm by hand; raises `NotFound`, `Forbidden`, `BadRequest`."""
        number, by = await self._ours(question.alarm_id), _person(question.by)
        reason = _said(question.reason, "reason", "say why, such as that the sensor is faulty, or was removed")
        return await self._do(lambda c: episodes.close(c, number, by, reason, lease.lock(c, LEASE)))

    async def rules(self, store_house_id: Id | None) -> Rules:
        """Return the rules; of one storehouse those that may hold there. Raises `NotFound`."""
        place = None if store_house_id is None else (await self._ask.storehouse(store_house_id)).store_house_id

        def read(connection: sa.Connection) -> Rules:
            saved = self._saved(connection)
            return Rules(
                rules=saved if place is None else [one for one in saved if _may_hold(one, place)],
                defaults=msgspec.to_builtins(rules.DEFAULTS if self._defaults else {}),
                profiles=msgspec.to_builtins(rules.PROFILES),
                changes=ask.rules.changes(connection, CHANGES),
                maintenance=ask.maintenance.after(connection, self._clock(), place),
            )

        return await self._state.run(read)

    async def in_force(self) -> Sequence[Rule]:
        """Return the rules in force."""
        return await self._state.run(self._in_force)

    async def save_rules(self, question: SaveRules) -> Rules:
        """Let these rules hold instead of all others; raises `BadRequest`, `NotFound`."""
        by = _person(question.by)
        try:
            found = rules.read(question.rules)
        except ValueError as error:
            raise BadRequest(str(error), "rules") from None
        after: list[Data] = msgspec.to_builtins(found)

        def save(connection: sa.Connection) -> None:
            with connection.begin():
                now = lease.lock(connection, LEASE)
                record.rules.save(connection, self._saved(connection), after, by, now)

        await self._state.run(save)
        return await self.rules(None)

    async def save_maintenance(self, question: SaveMaintenance) -> Maintenance:
        """Write down when nobody is to be disturbed; raises `BadRequest`, `NotFound`."""
        by = _person(question.by)
        reason = _said(question.reason, "reason", "say what is done meanwhile")
        place = (await self._ask.storehouse(question.store_house_id)).store_house_id
        if question.end <= question.start:
            raise BadRequest("must lie after the start", "end")
        if question.end - question.start > LONGEST:
            raise BadRequest(f"must lie at most {LONGEST.days} days after the start", "end")
        sensor_id = None if question.sensor_id is None else await self._sensor_id(place, question.sensor_id)

        def save(connection: sa.Connection) -> Maintenance:
            with connection.begin():
                now = lease.lock(connection, LEASE)
                span = question.start, question.end
                return record.maintenance.add(connection, place, sensor_id, *span, reason, by, now)

        return await self._state.run(save)

    async def sensors(self, store_house_id: Id) -> list[SensorAnswer]:
        """Return a storehouse's sensors, with the limits in force; raises `NotFound`."""
        found = await self._ask.sensors(store_house_id)
        saved = [] if not found else await self._state.run(self._in_force)
        return [_answer(sensor, rules.terms(saved, sensor, defaults=self._defaults)) for sensor in found]

    async def _ours(self, alarm_id: Id) -> int:
        number = episode_id(alarm_id)
        if number is not None:
            return number
        if await self._ask.has_alarm(alarm_id):
            raise Forbidden(f"the alarm {alarm_id!r} belongs to the site's own system; do it there", "alarm_id")
        raise NotFound(f"there is no alarm {alarm_id!r}", "alarm_id")

    async def _sensor_id(self, store_house_id: Id, sensor_id: Id) -> Id:
        for sensor in await self._ask.sensors(store_house_id):
            if str(sensor.sensor_id) == str(sensor_id):
                return sensor.sensor_id
        raise NotFound(f"there is no sensor {sensor_id!r} in that storehouse", "sensor_id")

    async def _do(self, work: Callable[[sa.Connection], Done]) -> Alarm:
        def write(connection: sa.Connection) -> Done:
            with connection.begin():
                done = work(connection)
                if done.new:
                    self._tell(connection, [done.alarm])
                return done

        done = await self._state.run(write)
        if done.new:
            await self._journal.read()
        return done.alarm

    def _saved(self, connection: sa.Connection) -> list[Data]:
        """The rules in force, as people wrote them."""
        saved = ask.rules.saved(connection)
        plain: list[Data] = msgspec.to_builtins(self._begun)
        return plain if saved is None else saved

    def _in_force(self, connection: sa.Connection) -> Sequence[Rule]:
        return rules.read(self._saved(connection))


def _person(by: str | None) -> str:
    """Who it is; while access is open, who says so."""
    return _said(by, "by", "say who you are: alarms are answered by people")


def _said(text: str | None, field: str, otherwise: str) -> str:
    if text is None or not text.strip():
        raise BadRequest(otherwise, field)
    return text.strip()


def _may_hold(rule: Data, store_house_id: Id) -> bool:
    scope = rule.get("scope", {}).get("store_house_id")
    return scope is None or str(scope) == str(store_house_id)


def _answer(sensor: Sensor, terms: Terms) -> SensorAnswer:
    high, low = ([limit.limit for limit in limits] + [None, None] for limits in (terms.high, terms.low))
    return SensorAnswer(
        sensor_id=sensor.sensor_id,
        sensor_name=sensor.sensor_name,
        metric=sensor.metric,
        unit=sensor.unit,
        interval_s=sensor.interval_s,
        position=sensor.position,
        limits=Drawn(high=high[0], high_high=high[1], low=low[0], low_low=low[1]),
    )
