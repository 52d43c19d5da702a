"""Our subjects in any database: each becomes one relation whose columns bear our names.

The tables are ours, or a site's own that the settings map to our names (`ask.site_mapping`); the questions are the same
for both. A field that a site need not have may be missing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from ask.answers import Id
from common.time_zones import from_local, wall_span
from db import tables
from db.dialects import Dialect

# Our fields by subject, and whether a site must have them.
FIELDS: Mapping[str, Mapping[str, bool]] = {
    "organisation": {"org_id": True, "org_name": True},
    "storehouse": {"store_house_id": True, "org_id": True, "store_house_name": True, "time_zone": False},
    "sensor": {
        "sensor_id": True,
        "store_house_id": True,
        "sensor_name": True,
        "metric": False,
        "unit": False,
        "interval_s": False,
        "position_x": False,
        "position_y": False,
    },
    "reading": {"reading_id": False, "sensor_id": True, "time": True, "metric": False, "value": True},
    "alarm": {
        "alarm_id": True,
        "store_house_id": False,
        "sensor_id": False,
        "sensor_name": False,
        "metric": False,
        "kind": False,
        "severity": False,
        "state": False,
        "acknowledged": False,
        "value": False,
        "limit": False,
        "raised": True,
        "cleared": False,
    },
}
INTEGER_DIGITS = re.compile(r"-?[0-9]{1,19}")
BIGINT = range(-(2**63), 2**63)


@dataclass(frozen=True)
class Subject:
    """One subject: a relation to select from, and how to read its values."""

    name: str
    relation: sa.FromClause
    dialect: Dialect
    tz: ZoneInfo | None = None
    """The zone of its naive times."""
    wide: Mapping[str, str] = field(default_factory=dict)
    """The relation's column of each metric, where one row holds several readings."""
    late_window: timedelta = timedelta(hours=1)
    """How late a reading may be committed and still be found."""
    string_ids: frozenset[str] = frozenset()
    """The ids that are strings; the others are integers."""

    def has(self, name: str) -> bool:
        """Whether the database has this field."""
        return name in self.relation.c

    def is_text(self, name: str) -> bool:
        """Whether this id is a string."""
        return name in self.string_ids

    @property
    def grows(self) -> bool:
        """Whether readings have ids that grow, so that new ones are those above the last."""
        return self.has("reading_id") and "reading_id" not in self.string_ids

    def column(self, name: str) -> sa.ColumnElement[Any]:
        """Return the field's column, null where the database has none."""
        return self.relation.c[name] if self.has(name) else sa.null().label(name)

    def select(self, *names: str) -> sa.Select[Any]:
        """Return a SELECT of these fields."""
        return sa.select(*(self.column(name) for name in names)).select_from(self.relation)

    def equals(self, name: str, wanted: Id) -> sa.ColumnElement[bool]:
        """Return the condition that the id `name` is the one a browser asks for."""
        return self.among(name, [wanted])

    def among(self, name: str, wanted: Iterable[Id]) -> sa.ColumnElement[bool]:
        """Return the condition that the id `name` is one of those wanted.

        They are bound in the column's own type, since to MySQL 'abc' = 0 is true. To most of its collations
        'A' = 'a' and 'x' = 'x ', too: such texts are compared as bytes besides: 'a' may not see the data of 'A'.
        """
        column = self.column(name)
        values = [value for value in (self._bindable(name, identity) for identity in wanted) if value is not None]
        alike = column.in_(values)  # by which the database can use an index
        if name not in self.string_ids:
            return alike
        exact = self.dialect.text_bytes(column).in_([str(value).encode() for value in values])
        return sa.and_(alike, exact)

    def _bindable(self, name: str, wanted: Id) -> Id | None:
        if name in self.string_ids:
            return str(wanted)
        if isinstance(wanted, str):
            if not INTEGER_DIGITS.fullmatch(wanted):
                return None
            wanted = int(wanted)
        return wanted if wanted in BIGINT else None

    def instant(self, value: datetime | None, now: datetime) -> datetime | None:
        """Return the instant that a time of this subject means at `now`."""
        if value is None or value.tzinfo is not None or self.tz is None:
            return value
        try:
            return from_local(value, self.tz, now)
        except OverflowError:
            return None  # 9999-12-31, which some write for "never", is in the year 10000 elsewhere

    def wall_span(self, start: datetime, end: datetime) -> tuple[datetime, datetime]:
        """Return the span of times, as they stand in the table, that may mean an instant between these two."""
        return wall_span(start, end, self.tz)


@dataclass(frozen=True)
class Subjects:
    """All five subjects, and whether their tables are ours."""

    organisation: Subject
    storehouse: Subject
    sensor: Subject
    reading: Subject
    alarm: Subject | None
    ours: bool


def identity(value: Any) -> Id:
    """Return an id from the database as a browser gets it."""
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    return value if isinstance(value, int) else str(value)


def our_subjects(dialect: Dialect) -> Subjects:
    """Return the subjects of our own tables."""
    names = ("organisation", "storehouse", "sensor", "reading", "alarm")
    return Subjects(**{name: Subject(name, tables.metadata.tables[name], dialect) for name in names}, ours=True)
