"""Reads and saves the alarm rules for users, and returns the limits of each sensor."""

from dataclasses import dataclass
from datetime import datetime

import msgspec
import sqlalchemy as sa

import ask.maintenance
import ask.rules
import record.rules
from access import rule_visibility
from access.connection import Request
from access.guard import AnswerGuard
from alarm_service.actions import lock, person
from alarm_service.rules_in_force import RulesInForce
from alarms import rules
from alarms.chart_limits import FormerRules, chart_limits, former_chart_limits
from alarms.rules import Rule
from ask import Ask
from ask.answers import Data, Id, Rules, SensorAnswer
from ask.history import check_time
from ask.sensors import Sensor
from common.clock import Clock
from db.database import Database
from errors import BadRequest, Conflict
from record import audit
from record.audit import Entry

CHANGES = 20
"""Maximum number of earlier changes of the rules that an answer lists."""
FORMER_CHANGES = 50
"""Maximum number of changes of the rules that the server reads to find the earlier limits of sensors."""


@dataclass(frozen=True)
class RuleActions:
    """Reads and saves the alarm rules in the database `state`.

    Every process can save rules. The process that evaluates the alarm rules reads them within 1 s.
    """

    ask: Ask
    state: Database
    guard: AnswerGuard
    clock: Clock
    in_force: RulesInForce

    async def rules(self, request: Request) -> Rules:
        """Return all rules. If the request names a storehouse, return only the rules that may apply to it."""
        storehouse = request.named_storehouse
        return await self._rules(None if storehouse is None else storehouse.store_house_id)

    async def save_rules(self, request: Request) -> Rules:
        """Replace all rules that the caller may edit by the rules in the request.

        Raise `BadRequest` if a rule is invalid. Raise `Conflict` if somebody has saved rules since the revision that
        the request names. Raise `NotFound` or `Forbidden` if the request changes a rule that the caller may not edit.
        """
        question, by = request.question, person(request.question.by, request.caller)
        wanted: list[Data] = msgspec.to_builtins(parse_requested_rules(question.rules))
        scope = await self.guard.rule_scope(request.caller.user.visibility)

        def save(connection: sa.Connection) -> None:
            with connection.begin():
                now = lock(connection)
                if question.revision not in (None, ask.rules.version(connection)):
                    raise Conflict("somebody else has saved rules in the meantime; read them and try again", "revision")
                before = self.in_force.as_written(connection)
                after = wanted if scope is None else rule_visibility.merged(before, wanted, scope)
                record.rules.save(connection, before, after, by, now)
                entry = Entry("rules_saved", by, request.caller.address, before=before, after=after)
                audit.append(connection, entry, now)

        await self.state.run(save)
        return await self._rules(None)

    def check_sensors(self, request: Request) -> None:
        """Raise `BadRequest` if the field `since` of the request is not a valid time."""
        if request.question.since is not None:
            check_time(request.question.since, "since")

    async def sensors(self, request: Request) -> list[SensorAnswer]:
        """Return a storehouse's sensors with the limits that are in force for them.

        If the request has a time `since`, also return the earlier limits that were in force after this time.
        """
        since: datetime | None = request.question.since
        sensors = await self.ask.sensors(request.storehouse)

        def read(connection: sa.Connection) -> list[SensorAnswer]:
            in_force = self.in_force.read(connection)
            former = None if since is None else _former(connection, since)
            return [self._sensor(sensor, in_force, former) for sensor in sensors]

        return await self.state.run(read) if sensors else []

    async def _rules(self, store_house_id: Id | None) -> Rules:
        def read(connection: sa.Connection) -> Rules:
            written = self.in_force.as_written(connection)
            if store_house_id is not None:
                written = [rule for rule in written if _may_apply(rule, store_house_id)]
            return Rules(
                rules=written,
                defaults=msgspec.to_builtins(rules.DEFAULTS if self.in_force.defaults else {}),
                profiles=msgspec.to_builtins(rules.PROFILES),
                changes=ask.rules.changes(connection, CHANGES),
                maintenance=ask.maintenance.after(connection, self.clock(), store_house_id),
                revision=ask.rules.version(connection),
            )

        return await self.state.run(read)

    def _sensor(self, sensor: Sensor, in_force: list[Rule], former: list[FormerRules] | None) -> SensorAnswer:
        defaults = self.in_force.defaults
        return SensorAnswer(
            sensor_id=sensor.sensor_id,
            sensor_name=sensor.sensor_name,
            metric=sensor.metric,
            unit=sensor.unit,
            interval_s=sensor.interval_s,
            position=sensor.position,
            limits=chart_limits(rules.terms(in_force, sensor, defaults=defaults)),
            past_limits=msgspec.UNSET if former is None else former_chart_limits(former, sensor, defaults=defaults),
        )


def parse_requested_rules(data: list[Data]) -> list[Rule]:
    """Return the rules of a request, which are in its key `rules`. Raise `BadRequest` if they are invalid."""
    try:
        return rules.parse(data)
    except rules.InvalidRule as error:
        raise BadRequest(str(error), "rules", reason=error.reason, **error.values) from None


def _former(connection: sa.Connection, since: datetime) -> list[FormerRules]:
    held = ask.rules.past_rules(connection, since, FORMER_CHANGES)
    return [(start, end, rules.parse(written)) for start, end, written in held]


def _may_apply(rule: Data, store_house_id: Id) -> bool:
    scope = rule.get("scope", {}).get("store_house_id")
    return scope is None or str(scope) == str(store_house_id)
