"""Decides which alarm rules a user with restricted visibility may see and edit."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from ask.answers import Data, Id, Rules
from errors import Forbidden, NotFound


class RuleScope(NamedTuple):
    """Ids of the storehouses that a user sees, and the ids and names of the sensors in them. All ids are strings."""

    storehouses: frozenset[str]
    sensors: frozenset[str]
    sensor_names: frozenset[str]

    def may_see(self, rule: Data) -> bool:
        """Return whether the rule is about a storehouse or sensor that the user sees, or about the whole site."""
        store_house_id = _scope(rule, "store_house_id")
        if store_house_id is not None:
            return store_house_id in self.storehouses
        sensor_id, sensor_name = _scope(rule, "sensor_id"), _scope(rule, "sensor_name")
        sees_sensor = sensor_id is None or sensor_id in self.sensors
        return sees_sensor and (sensor_name is None or sensor_name in self.sensor_names)

    def may_edit(self, rule: Data) -> bool:
        """Return whether the rule names a storehouse that the user sees."""
        return _scope(rule, "store_house_id") in self.storehouses


def restricted(rules: Rules, scope: RuleScope) -> Rules:
    """Return a copy of `rules` with only the alarm rules, changes and maintenance periods that the user may see."""
    changes = [
        msgspec.structs.replace(change, before=_visible(change.before, scope), after=_visible(change.after, scope))
        for change in rules.changes
    ]
    return msgspec.structs.replace(
        rules,
        rules=_visible(rules.rules, scope),
        changes=[change for change in changes if change.before != change.after],
        maintenance=[
            maintenance for maintenance in rules.maintenance if str(maintenance.store_house_id) in scope.storehouses
        ],
    )


def merged(before: Sequence[Data], wanted: Sequence[Data], scope: RuleScope) -> list[Data]:
    """Return all alarm rules after a user has saved `wanted`.

    `before` contains all rules before the change. `wanted` replaces the rules in `before` that the user may edit.

    `wanted` may also contain rules that the user may see but not edit, if these rules are unchanged. Raise `NotFound`
    if a rule in `wanted` names a storehouse that the user does not see. Raise `Forbidden` if a new or changed rule
    names no storehouse.
    """
    kept = [rule for rule in before if not scope.may_edit(rule)]
    for rule in wanted:
        if scope.may_edit(rule) or (scope.may_see(rule) and rule in kept):
            continue
        store_house_id = rule.get("scope", {}).get("store_house_id")
        if store_house_id is not None:
            raise NotFound(f"there is no storehouse {store_house_id!r}", "rules", reason="unknown_storehouse")
        raise Forbidden(
            "only users who see all storehouses may change a rule that names no storehouse",
            "rules",
            reason="full_visibility_required",
        )
    return kept + [rule for rule in wanted if scope.may_edit(rule)]


def _visible(rules: Iterable[Data], scope: RuleScope) -> list[Data]:
    return [rule for rule in rules if scope.may_see(rule)]


def _scope(rule: Data, key: str) -> str | None:
    scope_id: Id | None = rule.get("scope", {}).get(key)
    return None if scope_id is None else str(scope_id)
