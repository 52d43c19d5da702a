"""Queries of the saved alarm rules and of their changes. The tables are in the `state` database."""

from datetime import datetime
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from ask.answers import Data, RuleChange
from db import tables


class PastRules(NamedTuple):
    """The alarm rules that were in force from `start` to `end`."""

    start: datetime
    end: datetime
    rules: list[Data]


def version(connection: sa.Connection) -> int:
    """Return the version number of the saved alarm rules, or 0 if rules were never saved.

    The number grows each time rules are saved.
    """
    return connection.scalar(sa.select(sa.func.max(tables.rule_change.c.change_id))) or 0


def saved(connection: sa.Connection) -> list[Data] | None:
    """Return the saved alarm rules, or None if rules were never saved.

    While no rules are saved, the rules in the settings are in force.
    """
    if not version(connection):
        return None
    rule = tables.rule.c
    return [msgspec.json.decode(text) for text in connection.scalars(sa.select(rule.rule).order_by(rule.rule_id))]


def changes(connection: sa.Connection, most: int) -> list[RuleChange]:
    """Return at most `most` changes of the alarm rules, newest first."""
    change = tables.rule_change.c
    statement = sa.select(change.written, change.by, change.before, change.after)
    rows = connection.execute(statement.order_by(change.change_id.desc()).limit(most))
    return [
        RuleChange(written, by, msgspec.json.decode(before), msgspec.json.decode(after))
        for written, by, before, after in rows
    ]


def past_rules(connection: sa.Connection, since: datetime, most: int) -> list[PastRules]:
    """Return the rules that were in force between `since` and the last change of the rules.

    Each element of the list is a complete set of rules with its start and end, in chronological order. If there are
    more than `most` elements, return only the newest `most`.
    """
    change = tables.rule_change.c
    statement = sa.select(change.written, change.before).where(change.written > since)
    newest = connection.execute(statement.order_by(change.change_id.desc()).limit(most + 1)).all()
    starts = [row.written for row in newest[1:]] + ([since] if len(newest) <= most else [])
    newest_first = [
        PastRules(start, row.written, msgspec.json.decode(row.before))
        for row, start in zip(newest, starts, strict=False)
    ]
    return newest_first[::-1]
