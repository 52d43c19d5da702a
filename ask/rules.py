"""The rules as people have saved them, and who changed them when. They lie in `state`."""

import msgspec
import sqlalchemy as sa

import tables
from ask.answers import Data, RuleChange


def version(connection: sa.Connection) -> int:
    """Return a number that grows whenever the rules are saved; 0 where they never were."""
    return connection.scalar(sa.select(sa.func.max(tables.rule_change.c.change_id))) or 0


def saved(connection: sa.Connection) -> list[Data] | None:
    """Return the rules, None where nobody has saved any: then those of the settings count."""
    if not version(connection):
        return None
    rule = tables.rule.c
    return [msgspec.json.decode(found) for found in connection.scalars(sa.select(rule.rule).order_by(rule.rule_id))]


def changes(connection: sa.Connection, most: int) -> list[RuleChange]:
    """Return the last changes, newest first."""
    change = tables.rule_change.c
    statement = sa.select(change.written, change.by, change.before, change.after)
    rows = connection.execute(statement.order_by(change.change_id.desc()).limit(most))
    return [
        RuleChange(written, by, msgspec.json.decode(before), msgspec.json.decode(after))
        for written, by, before, after in rows
    ]
