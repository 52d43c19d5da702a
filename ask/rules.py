"""The rules as people have saved them, and who changed them when. They lie in `state`."""

from datetime import datetime
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from ask.answers import Data, RuleChange
from db import tables


class Held(NamedTuple):
    """Rules that held from `start` on, and no longer than `end`."""

    start: datetime
    end: datetime
    rules: list[Data]


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


def held(connection: sa.Connection, since: datetime, most: int) -> list[Held]:
    """Return the rules that held from `since` until the last change, in order of time.

    Of more than `most` changes, only what was between the newest of them.
    """
    change = tables.rule_change.c
    statement = sa.select(change.written, change.before).where(change.written > since)
    newest = connection.execute(statement.order_by(change.change_id.desc()).limit(most + 1)).all()
    starts = [row.written for row in newest[1:]] + ([since] if len(newest) <= most else [])
    found = [
        Held(start, row.written, msgspec.json.decode(row.before)) for row, start in zip(newest, starts, strict=False)
    ]
    return found[::-1]
