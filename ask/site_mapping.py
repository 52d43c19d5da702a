"""Maps a site's own tables to the subjects of Storewatch, and checks the mapping against the database.

The subjects are organisation, storehouse, sensor, reading and alarm. If the settings do not map a field of a subject,
the column with the same name as the field is read. Each error message contains the key of the setting to correct.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from ask.subjects import FIELDS, Subject, Subjects, our_subjects
from common.time_zones import zone
from db.database import database_error, reason
from db.dialects import dialect_for, dialect_of
from db.types import Instant
from errors import UsageError
from settings import Database, DatabaseMap, ReadingMap, Source, SubjectMap, duration

TIMES = {"time", "raised", "cleared"}
TIME_TEXT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d(\.\d+)?)?")
"""The only valid format of times in text columns, because texts in this format sort in chronological order. The
database driver also returns MySQL's invalid time 0000-00-00 as a text in this format."""
SAMPLE = 100
"""Number of rows that are read to check a column with times. The check fails only if no row has a valid time."""
REFERENCES = (
    ("storehouse", "organisation", "org_id"),
    ("sensor", "storehouse", "store_house_id"),
    ("reading", "sensor", "sensor_id"),
    ("alarm", "sensor", "sensor_id"),
    ("alarm", "storehouse", "store_house_id"),
)
"""References between subjects. Each element contains a subject, the subject to which it refers, and the id column that
both have in common."""
IDS = {"org_id", "store_house_id", "sensor_id", "reading_id", "alarm_id"}


class MappingError(Exception):
    """The mapping in the settings does not match the site's database. `key` is the key of the wrong setting."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message


def subjects_of(settings: Database, source: Source, connection: sa.Connection) -> Subjects:
    """Return the subjects (organisation, storehouse, sensor, reading, alarm) of the database.

    Raise `UsageError` if the mapping in the settings does not match the database.
    """
    if settings.map is None:
        return our_subjects(dialect_for(settings))
    try:
        subjects: dict[str, Any] = {name: mapped_subject(name, settings.map, connection) for name in FIELDS}
        check_references(subjects, settings)
    except MappingError as error:
        raise UsageError(f"{source.where(error.key)}: {error.message}") from None
    except sa.exc.DBAPIError as error:
        raise database_error(f"cannot read {settings!r}", settings, error) from None
    return Subjects(**subjects, ours=False)


def mapped_subject(name: str, maps: DatabaseMap, connection: sa.Connection) -> Subject | None:
    """Check the mapping of the subject `name` against the site's database, and return the subject.

    Return None for alarms if the settings do not map them. Raise `MappingError` if the mapping is wrong.
    """
    mapping: SubjectMap | None = getattr(maps, name)
    if mapping is None and name == "alarm":
        return None
    mapping = mapping or SubjectMap()
    return _SubjectMapper(name, mapping, connection).subject()


def check_references(subjects: Mapping[str, Subject | None], settings: Database) -> None:
    """Raise `MappingError` if the mapped subjects (such as sensors and readings) do not fit together.

    An id must have the same type in all subjects that contain it. If the readings have a metric, the sensors must have
    a metric too. Missing subjects are skipped.
    """
    if dialect_for(settings).declares_types:  # otherwise the type of the ids is unknown while a table is empty
        for name, other_name, key in REFERENCES:
            subject, other = subjects.get(name), subjects.get(other_name)
            if subject and other and subject.has(key) and subject.is_text(key) != other.is_text(key):
                raise MappingError(
                    f"database.map.{name}",
                    f"{key} is {'text' if subject.is_text(key) else 'a number'} here but not in {other_name}, so the "
                    "two never match; convert one with an expression, CAST(... AS CHAR) or CAST(... AS SIGNED)",
                )
    sensor, reading = subjects.get("sensor"), subjects.get("reading")
    if sensor and reading and reading.has("metric") and not sensor.has("metric"):
        raise MappingError(
            "database.map.sensor",
            "the readings have a metric, so each sensor needs one too; map it, or set `sql` to a query that returns a "
            "row for each metric of each sensor",
        )


class _SubjectMapper:
    """Maps a site's tables to one subject, such as the sensors.

    It checks each setting of the mapping separately, so that an error message can name the wrong setting.
    """

    def __init__(self, name: str, mapping: SubjectMap, connection: sa.Connection) -> None:
        self.name = name
        self.mapping = mapping
        self.connection = connection
        self.dialect = dialect_of(connection)
        self.key = f"database.map.{name}"
        self.wide: Mapping[str, str] = mapping.wide if isinstance(mapping, ReadingMap) else {}
        self.tz = self._zone()

    def subject(self) -> Subject:
        self._check_fields()
        origin, theirs = self._origin()
        columns = [*self._columns(origin, theirs), *self._wide_columns(theirs)]
        relation = sa.select(*columns).select_from(origin).subquery(self.name)
        if self.name == "alarm" and not {"store_house_id", "sensor_id"} & set(relation.c.keys()):
            raise MappingError(self.key, "map store_house_id or sensor_id in columns")
        type_codes = self._type_codes(relation)
        string_ids = self._string_ids(relation, type_codes)
        self._check_times(relation, type_codes)
        late_window = duration(self.mapping.late_window) if isinstance(self.mapping, ReadingMap) else timedelta()
        wide = {metric: _wide_label(metric) for metric in self.wide}
        return Subject(self.name, relation, self.dialect, self.tz, wide, late_window, string_ids)

    def _zone(self) -> ZoneInfo | None:
        try:
            return zone(self.mapping.time_zone) if self.mapping.time_zone else None
        except ValueError as error:
            raise MappingError(f"{self.key}.time_zone", str(error)) from None

    def _check_fields(self) -> None:
        for part in ("columns", "expressions"):
            for name in getattr(self.mapping, part):
                if name not in FIELDS[self.name]:
                    fields = ", ".join(FIELDS[self.name])
                    raise MappingError(f"{self.key}.{part}.{name}", f"{self.name} has no such field; it has {fields}")

    def _origin(self) -> tuple[sa.FromClause, dict[str, str]]:
        """Return the mapping's table or query, and a dict from lower-case column names to the real names.

        The lower-case names are necessary because MySQL ignores the case of column names.
        """
        if self.mapping.sql:
            # text() treats :name as a parameter, so colons are escaped. The newline ends a possible comment at the end.
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
            if error.connection_invalidated or self.dialect.is_unreachable(error):
                raise
            raise MappingError(key, reason(error)) from None

    def _columns(self, origin: sa.FromClause, theirs: dict[str, str]) -> Iterable[sa.ColumnElement[Any]]:
        for name, required in FIELDS[self.name].items():
            kind = Instant(self.tz) if name in TIMES else sa.types.NULLTYPE
            expression = self.mapping.expressions.get(name)
            if expression is not None:
                column = sa.type_coerce(sa.literal_column(expression), kind).label(name)
                self._try(sa.select(column).select_from(origin).limit(0), f"{self.key}.expressions.{name}")
                yield column
                continue
            site_column = self._find(name, theirs, needed=required and not (name == "value" and self.wide))
            if site_column is not None:
                yield sa.type_coerce(sa.column(site_column), kind).label(name)

    def _find(self, name: str, theirs: dict[str, str], *, needed: bool) -> str | None:
        mapped = self.mapping.columns.get(name)
        site_column = theirs.get((mapped or name).lower())
        if site_column is not None:
            return site_column
        if mapped is not None:
            raise MappingError(f"{self.key}.columns.{name}", self._no_column(mapped, theirs))
        if needed:
            raise MappingError(self.key, f"map {name} in columns: {self._no_column(name, theirs)}")
        return None

    def _no_column(self, wanted: str, theirs: dict[str, str]) -> str:
        where = "the sql" if self.mapping.sql else f"table {self.mapping.table or self.name!r}"
        return f"there is no column {wanted!r} in {where}, which has {', '.join(theirs.values())}"

    def _wide_columns(self, theirs: dict[str, str]) -> Iterable[sa.ColumnElement[Any]]:
        for metric, mapped in self.wide.items():
            site_column = theirs.get(mapped.lower())
            if site_column is None:
                raise MappingError(f"{self.key}.wide.{metric}", self._no_column(mapped, theirs))
            yield sa.column(site_column).label(_wide_label(metric))

    def _type_codes(self, relation: sa.FromClause) -> dict[str, Any]:
        """Return a dict from each column's name to the driver's type code of the column.

        In SQLite, every type code is None, because a column can contain values of different types.
        """
        result = self._try(sa.select(relation).limit(0), self.key)
        assert result.cursor is not None  # noqa: S101 - a SELECT has a cursor
        return {name: column[1] for name, column in zip(relation.c.keys(), result.cursor.description, strict=True)}

    def _string_ids(self, relation: sa.FromClause, type_codes: dict[str, Any]) -> Mapping[str, Callable[[str], bool]]:
        def execute(statement: sa.Executable) -> sa.CursorResult[Any]:
            return self._try(statement, self.key)

        names = [name for name in FIELDS[self.name] if name in IDS and name in relation.c]
        is_text = self.dialect.is_text_id
        texts = [name for name in names if is_text(relation.c[name], type_codes[name], execute)]
        return {name: self.dialect.can_contain(relation.c[name], execute) for name in texts}

    def _check_times(self, relation: sa.FromClause, type_codes: dict[str, Any]) -> None:
        for name in TIMES & set(relation.c.keys()):
            part = "expressions" if name in self.mapping.expressions else "columns"
            key = f"{self.key}.{part}.{name}"
            if self.tz and self.dialect.is_instant(type_codes[name]):
                raise MappingError(
                    key, "a TIMESTAMP column returns times in UTC, so time_zone would shift them; remove time_zone"
                )
            raw = sa.type_coerce(relation.c[name], sa.types.NULLTYPE)
            values = list(self._try(sa.select(raw).where(raw.is_not(None)).limit(SAMPLE), key).scalars())
            if values and not any(_is_time(value) for value in values):
                raise MappingError(
                    key,
                    f"{str(values[0])!r} is not a date and time that the database can compare; convert it with an "
                    f"expression such as `expressions: {{{name}: FROM_UNIXTIME(the_column)}}`",
                )


def _is_time(value: Any) -> bool:
    return isinstance(value, datetime) or (isinstance(value, str) and TIME_TEXT.fullmatch(value) is not None)


def _wide_label(metric: str) -> str:
    # Without the prefix, a site's metric could have the name of a field.
    return f"metric {metric}"
