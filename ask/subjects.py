"""The five subjects (organisation, storehouse, sensor, reading, alarm) as SQL relations with standard column names.

A relation is one of Storewatch's own tables, or a query of a site's tables. The settings map a site's tables to the
standard names (see `ask.site_mapping`). All other queries are therefore the same for both kinds of tables. Optional
fields may be missing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from ask.answers import Id
from ask.ids import stored_id
from common.time_zones import from_local, wall_span
from db import tables
from db.dialects import Dialect

# The fields of each subject. True means that a site's tables must have the field.
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


@dataclass(frozen=True)
class Subject:
    """A subject (organisation, storehouse, sensor, reading or alarm) and how to convert its column values.

    `relation` is the table or the query with the data of the subject.
    """

    name: str
    relation: sa.FromClause
    dialect: Dialect
    tz: ZoneInfo | None = None
    """The time zone of the stored times. None means UTC."""
    wide: Mapping[str, str] = field(default_factory=dict)
    """A dict from each metric to its column, if a row of the reading table contains readings of several metrics.
    Otherwise it is empty."""
    late_window: timedelta = timedelta(hours=1)
    """Maximum delay before a reading is committed. The poller, which queries new readings, misses readings with a
    longer delay. `settings.ReadingMap.late_window` says when the delay starts."""
    string_ids: Mapping[str, Callable[[str], bool]] = field(default_factory=dict)
    """The subject's id columns that contain strings. The other id columns contain integers. The value for each column
    is a function that returns whether the column can store a text."""

    def has(self, name: str) -> bool:
        """Return whether the table or query of the subject has the field `name`."""
        return name in self.relation.c

    def is_text(self, name: str) -> bool:
        """Return whether the id column `name` contains strings."""
        return name in self.string_ids

    @property
    def grows(self) -> bool:
        """Whether a new reading always has a higher id than all earlier readings."""
        return self.has("reading_id") and "reading_id" not in self.string_ids

    def column(self, name: str) -> sa.ColumnElement[Any]:
        """Return the column of the field `name`, or NULL if the subject does not have this field."""
        return self.relation.c[name] if self.has(name) else sa.null().label(name)

    def select(self, *names: str) -> sa.Select[Any]:
        """Return a SELECT statement for these fields."""
        return sa.select(*(self.column(name) for name in names)).select_from(self.relation)

    def equals(self, name: str, wanted: Id) -> sa.ColumnElement[bool]:
        """Return the condition that the id column `name` equals `wanted`."""
        return self.among(name, [wanted])

    def among(self, name: str, wanted: Iterable[Id]) -> sa.ColumnElement[bool]:
        """Return the condition that the id column `name` is one of the ids `wanted`.

        The ids are bound with the column's type, because 'abc' = 0 is true in MySQL. In most MySQL collations 'A' = 'a'
        and 'x' = 'x ' are true too. String ids are therefore also compared as bytes: a user who may see 'a' must not
        see the data of 'A'.
        """
        column = self.column(name)
        values = [value for value in (self._bindable(name, each) for each in wanted) if value is not None]
        alike = column.in_(values)  # this condition can use an index; the comparison of bytes cannot
        if name not in self.string_ids:
            return alike
        exact = self.dialect.text_bytes(column).in_([str(value).encode() for value in values])
        return sa.and_(alike, exact)

    def _bindable(self, name: str, wanted: Id) -> Id | None:
        can_contain = self.string_ids.get(name)
        value = stored_id(wanted, name, is_text=can_contain is not None)
        return None if value is None or (can_contain is not None and not can_contain(str(value))) else value

    def instant(self, value: datetime | None, now: datetime) -> datetime | None:
        """Convert a stored time to an instant.

        In the hour that is repeated at the end of daylight saving time, the result depends on `now` (see `from_local`).
        """
        if value is None or value.tzinfo is not None or self.tz is None:
            return value
        try:
            return from_local(value, self.tz, now)
        except OverflowError:
            return None  # 9999-12-31, which some sites use for "never", may be in the year 10000 in UTC

    def wall_span(self, start: datetime, end: datetime) -> tuple[datetime, datetime]:
        """Return a time span, in local times of the table, that covers all instants from `start` to `end`."""
        return wall_span(start, end, self.tz)


@dataclass(frozen=True)
class Subjects:
    """All five subjects (organisation, storehouse, sensor, reading, alarm).

    `alarm` is None if the site has no alarms of its own. `ours` is true if the data is in Storewatch's own tables.
    """

    organisation: Subject
    storehouse: Subject
    sensor: Subject
    reading: Subject
    alarm: Subject | None
    ours: bool


def our_subjects(dialect: Dialect) -> Subjects:
    """Return the subjects of Storewatch's own tables."""
    names = ("organisation", "storehouse", "sensor", "reading", "alarm")
    return Subjects(**{name: Subject(name, tables.metadata.tables[name], dialect) for name in names}, ours=True)
