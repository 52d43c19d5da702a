"""`python main.py --check`: tests the settings against the database.

For each mapped subject (organisation, storehouse, sensor, reading, alarm), it prints the number of rows or the error.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from ask.site_mapping import MappingError, check_references, mapped_subject
from ask.subjects import FIELDS, Subject, our_subjects
from common import clock
from db.database import Database, reach, reason
from db.dialects import dialect_of
from db.limits import Limits
from db.migrate import migrate
from notify import sender
from settings import Database as DatabaseSettings
from settings import Settings, Source

LIMITS = Limits(connect=5.0, statement=60.0, read=65.0, answer=70.0)


def run(settings: Settings, source: Source) -> int:
    """Print the report. Return the exit status: 0 without errors, otherwise 2."""
    if settings.notify is not None:
        sender.prepare(settings.notify.targets, source)
        print(
            f"notify: {len(settings.notify.targets)} targets; no message was sent; "
            "`python -m alarms drill` sends a test alarm"
        )
    database_settings = settings.sensor_database
    if database_settings.map is None:
        migrate(database_settings)
    reach(database_settings)
    database = Database(database_settings, LIMITS, 1)
    try:
        print(f"database: {database_settings!r}: open")
        with database.engine.connect() as connection:
            return _check(database_settings, source, connection)
    finally:
        database.close()


def _check(settings: DatabaseSettings, source: Source, connection: sa.Connection) -> int:
    subjects: dict[str, Subject | None] = {}
    errors = 0
    for name in (*FIELDS, "references"):
        try:
            if name == "references":
                check_references(subjects, settings)
                continue
            subjects[name] = _subject(settings, name, connection)
            for line in _report(name, subjects[name], connection, clock.now()):
                print(line)
        except MappingError as error:
            errors += 1
            print(f"{name}: ERROR: {source.where(error.key)}: {error.message}")
        except sa.exc.DBAPIError as error:
            errors += 1
            print(f"{name}: ERROR: {source.where(f'database.map.{name}')}: {reason(error)}")
    print(f"errors: {errors}; nothing was changed" if errors else "no errors")
    return 2 if errors else 0


def _subject(settings: DatabaseSettings, name: str, connection: sa.Connection) -> Subject | None:
    if settings.map is not None:
        return mapped_subject(name, settings.map, connection)
    subject: Subject | None = getattr(our_subjects(dialect_of(connection)), name)
    return subject


def _report(name: str, subject: Subject | None, connection: sa.Connection, now: datetime) -> Iterator[str]:
    if subject is None:
        yield f"{name}: not mapped; the pages show none"
        return
    rows = connection.scalar(sa.select(sa.func.count()).select_from(subject.relation))
    line = f"{name}: {rows} rows"
    if name == "reading":
        line += _newest(subject, connection, now) + _left_out(subject, connection)
    yield line
    yield from (f"  note: {note}" for note in _notes(name, subject))


def _newest(subject: Subject, connection: sa.Connection, now: datetime) -> str:
    time = subject.column("time")
    newest = subject.instant(
        connection.scalar(sa.select(sa.type_coerce(sa.func.max(time), time.type)).where(time <= now + clock.AHEAD)),
        now,
    )
    ahead = connection.scalar(sa.select(sa.func.count()).select_from(subject.relation).where(time > now + clock.AHEAD))
    text = f", newest {newest:%Y-%m-%d %H:%M:%S}Z, {age(now - newest)} old" if newest else ", none with a past time"
    return text + (f"; {ahead} have a time in the future: check time_zone" if ahead else "")


def _left_out(subject: Subject, connection: sa.Connection) -> str:
    time, sensor_id = subject.column("time"), subject.column("sensor_id")
    # In MySQL 0000-00-00 is a valid time, earlier than all others.
    unusable = sa.or_(time.is_(None), time < datetime(1, 1, 2, tzinfo=UTC), sensor_id.is_(None))
    rows = connection.scalar(sa.select(sa.func.count()).select_from(subject.relation).where(unusable))
    return f"; {rows} have no sensor or no time and are ignored" if rows else ""


def age(span: timedelta) -> str:
    """Return a time span as text, in the largest unit (days, hours or minutes) that gives a number of at least 2.

    A span of less than two minutes is given in seconds.
    """
    seconds = max(span.total_seconds(), 0)
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _notes(name: str, subject: Subject) -> Iterator[str]:
    if name == "reading" and not subject.grows:
        hours = subject.late_window.total_seconds() / 3600
        yield (
            f"no increasing reading_id: each poll queries the readings of the last late_window ({hours:g} h) again; "
            "a reading that is committed more than late_window after its time is not found"
        )
    if name == "sensor" and not subject.has("interval_s"):
        yield "no interval_s: no sensor ever becomes stale; map interval_s to a column or an expression"
    if name == "sensor" and not subject.has("metric"):
        yield "no metric: unless the readings are wide, the pages do not show what a sensor measures; map metric"
    if name == "storehouse" and not subject.has("time_zone"):
        yield "no time_zone: storehouses use the time_zone of the readings, or UTC if that is not set"
