"""What of the rules somebody may see and change who does not see every storehouse. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from ask.answers import Data, Id, Rules
from ask.visibility import Visibility
from errors import Forbidden, NotFound
from live.newest import Newest


class Bounds(NamedTuple):
    """The storehouses that one sees, and their sensors, by their ids as text; and what these are called."""

    storehouses: frozenset[str]
    sensors: frozenset[str]
    sensor_names: frozenset[str]

    def may_see(self, rule: Data) -> bool:
        """Return whether a rule is of what one sees, or of the whole site."""
        place, sensor_id, name = (_scope(rule, key) for key in ("store_house_id", "sensor_id", "sensor_name"))
        if place is not None:
            return place in self.storehouses
        return (sensor_id is None or sensor_id in self.sensors) and (name is None or name in self.sensor_names)

    def may_change(self, rule: Data) -> bool:
        """Return whether a rule is of a storehouse that one sees."""
        return _scope(rule, "store_house_id") in self.storehouses


def bounds(newest: Newest, visibility: Visibility) -> Bounds:
    """Return what somebody sees of what is known."""
    seen = [one.store_house_id for one in newest.storehouses() if visibility.storehouse(one)]
    sensors = [sensor for one in seen for sensor in newest.sensors(one)]
    return Bounds(
        frozenset(map(str, seen)),
        frozenset(str(sensor.sensor_id) for sensor in sensors),
        frozenset(sensor.sensor_name for sensor in sensors),
    )


def shown(rules: Rules, seen: Bounds) -> Rules:
    """Return the rules without those that one may not see; so with their changes, and the maintenance."""
    changes = [
        msgspec.structs.replace(one, before=_seen(one.before, seen), after=_seen(one.after, seen))
        for one in rules.changes
    ]
    return msgspec.structs.replace(
        rules,
        rules=_seen(rules.rules, seen),
        changes=[one for one in changes if one.before != one.after],
        maintenance=[one for one in rules.maintenance if str(one.store_house_id) in seen.storehouses],
    )


def merged(before: Sequence[Data], wanted: Sequence[Data], seen: Bounds) -> list[Data]:
    """Return all rules after somebody has saved those `wanted`: they take the place of those that one may change.

    Others may be among them if they are as before. Raises `Forbidden`, `NotFound`.
    """
    kept = [rule for rule in before if not seen.may_change(rule)]
    for rule in wanted:
        if seen.may_change(rule) or (seen.may_see(rule) and rule in kept):
            continue
        place = rule.get("scope", {}).get("store_house_id")
        if place is not None:
            raise NotFound(f"there is no storehouse {place!r}", "rules")
        raise Forbidden("a rule that names no storehouse is for those to change who see all of them", "rules")
    return kept + [rule for rule in wanted if seen.may_change(rule)]


def _seen(rules: Iterable[Data], seen: Bounds) -> list[Data]:
    return [rule for rule in rules if seen.may_see(rule)]


def _scope(rule: Data, key: str) -> str | None:
    found: Id | None = rule.get("scope", {}).get(key)
    return None if found is None else str(found)
