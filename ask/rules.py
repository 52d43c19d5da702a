"""Queries of the saved alarm rules and of their changes. The tables are in the `state` database."""

from datetime import datetime
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from ask.answers import Data, RuleChange
from db import tables


class PastRules(NamedTuple):
    """The rules that were in force from `start` to `end`."""

    start: datetime
    end: datetime
    rules: list[Data]


def version(connection: sa.Connection) -> int:
    """Return the version of the rules: a number that grows each time rules are saved, or 0 if they were never saved."""
    return connection.scalar(sa.select(sa.func.max(tables.rule_change.c.change_id))) or 0


def saved(connection: sa.Connection) -> list[Data] | None:
    """Return the saved rules. If rules were never saved, return None: the rules of the settings are then in force."""
    if not version(connection):
        return None
    rule = tables.rule.c
    return [msgspec.json.decode(text) for text in connection.scalars(sa.select(rule.rule).order_by(rule.rule_id))]


def changes(connection: sa.Connection, most: int) -> list[RuleChange]:
    """Return the last changes of the rules, at most `most`, newest first."""
    change = tables.rule_change.c
    statement = sa.select(change.written, change.by, change.before, change.after)
    rows = connection.execute(statement.order_by(change.change_id.desc()).limit(most))
    return [
        RuleChange(written, by, msgspec.json.decode(before), msgspec.json.decode(after))
        for written, by, before, after in rows
    ]


def past_rules(connection: sa.Connection, since: datetime, most: int) -> list[PastRules]:
    """Return the rules that were in force from `since` until the last change, in chronological order.

    If there were more than `most` changes, return only the last `most` rule sets.
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
