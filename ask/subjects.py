"""Our subjects in any database: each becomes one relation whose columns bear our names.

The tables are ours, or a site's own that the settings map to our names; the questions are the same for both. A field
that is not mapped is looked for under our name, and one that a site need not have may be missing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from ask.answers import Id
from common.time_zones import from_local, wall_span, zone
from db import tables
from db.database import reason
from db.types import Instant
from errors import UsageError
from settings import Database, DatabaseMap, ReadingMap, Source, SubjectMap, duration

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
TIMES = {"time", "raised", "cleared"}
TIME_TEXT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d(\.\d+)?)?")
"""The only texts that compare as times do; MySQL's 0000-00-00 comes out as one of them."""
SAMPLE = 100
"""Rows whose times are looked at: some of them may be wrong without the column being so."""
BELONGS = (
    ("storehouse", "organisation", "org_id"),
    ("sensor", "storehouse", "store_house_id"),
    ("reading", "sensor", "sensor_id"),
    ("alarm", "sensor", "sensor_id"),
    ("alarm", "storehouse", "store_house_id"),
)
"""Which subject names another's id."""
IDS = {"org_id", "store_house_id", "sensor_id", "reading_id", "alarm_id"}

# PyMySQL's column types that are whole numbers, DECIMAL among them: TINY SHORT LONG LONGLONG INT24 DECIMAL NEWDECIMAL.
MYSQL_INTEGERS = {0, 1, 2, 3, 8, 9, 246}
MYSQL_TIMESTAMP = 7
INTEGER_DIGITS = re.compile(r"-?[0-9]{1,19}")
BIGINT = range(-(2**63), 2**63)


class Misfit(Exception):
    """A mapping that the database does not bear out; `key` is where it stands in the settings."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message


@dataclass(frozen=True)
class Subject:
    """One subject: a relation to select from, and how its values are to be read."""

    name: str
    relation: sa.FromClause
    tz: ZoneInfo | None = None
    """The zone of its naive times."""
    wide: Mapping[str, str] = field(default_factory=dict)
    """Metric: the relation's column of it, where one row holds several readings."""
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
        """Whether a reading has an id that can be asked for as "above the last"."""
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

        They are bound in the column's own kind, since to MySQL 'abc' = 0 is true. To most of its collations
        'A' = 'a' and 'x' = 'x ', too: such texts are compared as bytes besides, for 'a' may not see what is 'A''s.
        """
        column = self.column(name)
        values = [value for value in (self._bindable(name, one) for one in wanted) if value is not None]
        alike = column.in_(values)
        if name not in self.string_ids:
            return alike
        exact = sa.cast(sa.cast(column, mysql.CHAR(charset="utf8mb4")), sa.LargeBinary)
        return sa.and_(alike, exact.in_([str(value).encode() for value in values]))

    def _bindable(self, name: str, wanted: Id) -> Id | None:
        if name in self.string_ids:
            return str(wanted)
        if isinstance(wanted, str):
            if not INTEGER_DIGITS.fullmatch(wanted):
                return None
            wanted = int(wanted)
        return wanted if wanted in BIGINT else None

    def instant(self, value: datetime | None, now: datetime) -> datetime | None:
        """Return the instant that a time of this subject means, asked at `now`."""
        if value is None or value.tzinfo is not None or self.tz is None:
            return value
        try:
            return from_local(value, self.tz, now)
        except OverflowError:
            return None  # 9999-12-31, which some write for "never", is in the year 10000 elsewhere

    def wall_span(self, start: datetime, end: datetime) -> tuple[datetime, datetime]:
        """Return the span of times, as they stand in the table, that holds all which may mean these instants."""
        return wall_span(start, end, self.tz)


@dataclass(frozen=True)
class Subjects:
    """All five, and whether their tables are ours."""

    organisation: Subject
    storehouse: Subject
    sensor: Subject
    reading: Subject
    alarm: Subject | None
    ours: bool


def identity(value: Any) -> Id:
    """Return an id of the database as a browser gets it."""
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    return value if isinstance(value, int) else str(value)


def subjects(settings: Database, source: Source, connection: sa.Connection) -> Subjects:
    """Return the subjects of the database; raises `UsageError` at the first mapping that it does not bear out."""
    if settings.map is None:
        return _ours()
    try:
        found: dict[str, Any] = {name: subject(name, settings.map, connection) for name in FIELDS}
        check_together(found, settings)
    except Misfit as misfit:
        raise UsageError(f"{source.where(misfit.key)}: {misfit.message}") from None
    except sa.exc.DBAPIError as error:
        raise UsageError(f"database: cannot read {settings!r}: {reason(error)}") from None
    return Subjects(**found, ours=False)


def _ours() -> Subjects:
    names = ("organisation", "storehouse", "sensor", "reading", "alarm")
    return Subjects(**{name: Subject(name, tables.metadata.tables[name]) for name in names}, ours=True)


def subject(name: str, maps: DatabaseMap, connection: sa.Connection) -> Subject | None:
    """Return a site's subject, tried on the database; None where the site has none and need not. Raises `Misfit`."""
    mapping: SubjectMap | None = getattr(maps, name)
    if mapping is None and name == "alarm":
        return None
    mapping = mapping or SubjectMap()
    return _Trial(name, mapping, connection).subject()


def check_together(found: Mapping[str, Subject | None], settings: Database) -> None:
    """Raise `Misfit` where the subjects, each right in itself, do not fit together; those not `found` are left out."""
    if settings.kind == "mysql":  # an empty table of SQLite does not say what its ids are
        for name, belongs_to, key in BELONGS:
            one, other = found.get(name), found.get(belongs_to)
            if one and other and one.has(key) and one.is_text(key) != other.is_text(key):
                raise Misfit(
                    f"database.map.{name}",
                    f"{key} is {'text' if one.is_text(key) else 'a number'} here, and not so in {belongs_to}: they "
                    "never meet; let one of them be an expression, with CAST(... AS CHAR) or CAST(... AS SIGNED)",
                )
    sensor, reading = found.get("sensor"), found.get("reading")
    if sensor and reading and reading.has("metric") and not sensor.has("metric"):
        raise Misfit(
            "database.map.sensor",
            "the readings tell their metric, so each sensor needs one: map it, or list each sensor with each of its "
            "metrics by an sql",
        )


class _Trial:
    """One subject's mapping, tried part by part so that what is wrong can be named."""

    def __init__(self, name: str, mapping: SubjectMap, connection: sa.Connection) -> None:
        self.name = name
        self.mapping = mapping
        self.connection = connection
        self.key = f"database.map.{name}"
        self.wide: Mapping[str, str] = mapping.wide if isinstance(mapping, ReadingMap) else {}
        self.tz = self._zone()

    def subject(self) -> Subject:
        self._check_fields()
        origin, theirs = self._origin()
        columns = [*self._columns(origin, theirs), *self._wide_columns(theirs)]
        relation = sa.select(*columns).select_from(origin).subquery(self.name)
        if self.name == "alarm" and not {"store_house_id", "sensor_id"} & set(relation.c.keys()):
            raise Misfit(self.key, "say in columns what store_house_id, or else sensor_id, is called")
        kinds = self._kinds(relation)
        string_ids = self._string_ids(relation, kinds)
        self._check_times(relation, kinds)
        late_window = duration(self.mapping.late_window) if isinstance(self.mapping, ReadingMap) else timedelta()
        wide = {metric: _wide_label(metric) for metric in self.wide}
        return Subject(self.name, relation, self.tz, wide, late_window, string_ids)

    def _zone(self) -> ZoneInfo | None:
        try:
            return zone(self.mapping.time_zone) if self.mapping.time_zone else None
        except ValueError as error:
            raise Misfit(f"{self.key}.time_zone", str(error)) from None

    def _check_fields(self) -> None:
        for part in ("columns", "expressions"):
            for name in getattr(self.mapping, part):
                if name not in FIELDS[self.name]:
                    known = ", ".join(FIELDS[self.name])
                    raise Misfit(f"{self.key}.{part}.{name}", f"{self.name} has no such field; it has {known}")

    def _origin(self) -> tuple[sa.FromClause, dict[str, str]]:
        """Return the table, or the sql as one, and its columns, by their names in lower case (as MySQL sees them)."""
        if self.mapping.sql:
            # text() takes :name for a parameter
            # Its last line may be a comment, which must not swallow what comes behind.
            text = self.mapping.sql.strip().rstrip(";").replace(":", r"\:") + "\n"
            names = self._names(sa.text(text).columns().subquery("site"), "sql")
            whole: sa.FromClause = sa.text(text).columns(*(sa.column(name) for name in names)).subquery("site")
        else:
            schema, _, table = (self.mapping.table or self.name).rpartition(".")
            names = self._names(sa.table(table, schema=schema or None), "table")
            whole = sa.table(table, *(sa.column(name) for name in names), schema=schema or None)
        return whole, {name.lower(): name for name in names}

    def _names(self, origin: sa.FromClause, part: str) -> list[str]:
        key = f"{self.key}.{part}" if getattr(self.mapping, part) else self.key
        return list(self._try(sa.select(sa.text("*")).select_from(origin).limit(0), key).keys())

    def _try(self, statement: sa.Executable, key: str) -> sa.CursorResult[Any]:
        try:
            return self.connection.execute(statement)
        except sa.exc.DBAPIError as error:
            if error.connection_invalidated:
                raise
            raise Misfit(key, reason(error)) from None

    def _columns(self, origin: sa.FromClause, theirs: dict[str, str]) -> Iterable[sa.ColumnElement[Any]]:
        for name, required in FIELDS[self.name].items():
            kind = Instant(self.tz) if name in TIMES else sa.types.NULLTYPE
            expression = self.mapping.expressions.get(name)
            if expression is not None:
                column = sa.type_coerce(sa.literal_column(expression), kind).label(name)
                self._try(sa.select(column).select_from(origin).limit(0), f"{self.key}.expressions.{name}")
                yield column
                continue
            found = self._find(name, theirs, needed=required and not (name == "value" and self.wide))
            if found is not None:
                yield sa.type_coerce(sa.column(found), kind).label(name)

    def _find(self, name: str, theirs: dict[str, str], *, needed: bool) -> str | None:
        mapped = self.mapping.columns.get(name)
        found = theirs.get((mapped or name).lower())
        if found is not None:
            return found
        if mapped is not None:
            raise Misfit(f"{self.key}.columns.{name}", self._no_column(mapped, theirs))
        if needed:
            raise Misfit(self.key, f"say in columns what {name} is called; {self._no_column(name, theirs)}")
        return None

    def _no_column(self, wanted: str, theirs: dict[str, str]) -> str:
        where = "the sql" if self.mapping.sql else f"table {self.mapping.table or self.name!r}"
        return f"there is no column {wanted!r} in {where}, which has {', '.join(theirs.values())}"

    def _wide_columns(self, theirs: dict[str, str]) -> Iterable[sa.ColumnElement[Any]]:
        for metric, mapped in self.wide.items():
            found = theirs.get(mapped.lower())
            if found is None:
                raise Misfit(f"{self.key}.wide.{metric}", self._no_column(mapped, theirs))
            yield sa.column(found).label(_wide_label(metric))

    def _kinds(self, relation: sa.FromClause) -> dict[str, Any]:
        """Return what the driver calls the columns' types; nothing for SQLite, where values have types."""
        result = self._try(sa.select(relation).limit(0), self.key)
        assert result.cursor is not None  # noqa: S101 - a SELECT has one
        return {name: column[1] for name, column in zip(relation.c.keys(), result.cursor.description, strict=True)}

    def _string_ids(self, relation: sa.FromClause, kinds: dict[str, Any]) -> frozenset[str]:
        names = [name for name in FIELDS[self.name] if name in IDS and name in relation.c]
        if self.connection.dialect.name == "sqlite":
            return frozenset(name for name in names if self._sqlite_kind(relation.c[name]) not in ("integer", None))
        return frozenset(name for name in names if kinds[name] not in MYSQL_INTEGERS)

    def _sqlite_kind(self, column: sa.ColumnElement[Any]) -> str | None:
        statement = sa.select(sa.func.typeof(column)).where(column.is_not(None)).limit(1)
        kind: str | None = self._try(statement, self.key).scalar()
        return kind

    def _check_times(self, relation: sa.FromClause, kinds: dict[str, Any]) -> None:
        for name in TIMES & set(relation.c.keys()):
            part = "expressions" if name in self.mapping.expressions else "columns"
            key = f"{self.key}.{part}.{name}"
            if self.tz and kinds[name] == MYSQL_TIMESTAMP:
                raise Misfit(key, "a TIMESTAMP tells its time in UTC, so time_zone would shift it: leave time_zone out")
            raw = sa.type_coerce(relation.c[name], sa.types.NULLTYPE)
            found = list(self._try(sa.select(raw).where(raw.is_not(None)).limit(SAMPLE), key).scalars())
            if found and not any(_is_time(one) for one in found):
                raise Misfit(
                    key,
                    f"{str(found[0])!r} is no date and time as the database compares them; let an expression make it "
                    f"one, such as `expressions: {{{name}: FROM_UNIXTIME(the_column)}}`",
                )


def _is_time(value: Any) -> bool:
    return isinstance(value, datetime) or (isinstance(value, str) and TIME_TEXT.fullmatch(value) is not None)


def _wide_label(metric: str) -> str:
    # apart from our own fields, one of which a site might call a metric
    return f"metric {metric}"
