"""`python main.py --check`: tries the settings on the database, and says per subject what is there or what is wrong."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from ask.subjects import FIELDS, Misfit, Subject, Subjects, check_together, subject, subjects
from common import clock
from db import database
from notify import sender
from settings import Database, Settings, Source

LIMITS = database.Limits(connect=5.0, statement=60.0, read=65.0, answer=70.0)


def run(settings: Settings, source: Source) -> int:
    """Print what is found; return 0 if all is well, 2 if not."""
    if settings.notify is not None:
        sender.prepare(settings.notify.targets, source)
        print(f"notify: {len(settings.notify.targets)} targets; none was told anything, `python -m alarms drill` does")
    where = settings.sensor_database
    if where.map is None:
        database.migrate(where)
    database.reach(where)
    asking = database.Database(where, LIMITS, 1)
    try:
        print(f"database: {where!r}: open")
        with asking.engine.connect() as connection:
            return _check(where, source, connection)
    finally:
        asking.close()


def _check(where: Database, source: Source, connection: sa.Connection) -> int:
    found: dict[str, Subject | None] = {}
    wrong = 0
    for name in (*FIELDS, "together"):
        try:
            if name == "together":
                check_together(found, where)
                continue
            found[name] = _subject(where, name, source, connection)
            for line in _report(name, found[name], connection, clock.now()):
                print(line)
        except Misfit as misfit:
            wrong += 1
            print(f"{name}: WRONG: {source.where(misfit.key)}: {misfit.message}")
        except sa.exc.DBAPIError as error:
            wrong += 1
            print(f"{name}: WRONG: {source.where(f'database.map.{name}')}: {database.reason(error)}")
    print(f"{wrong} wrong; nothing was changed" if wrong else "all is well")
    return 2 if wrong else 0


def _subject(where: Database, name: str, source: Source, connection: sa.Connection) -> Subject | None:
    if where.map is None:
        ours: Subjects = subjects(where, source, connection)
        found: Subject | None = getattr(ours, name)
        return found
    return subject(name, where.map, connection)


def _report(name: str, found: Subject | None, connection: sa.Connection, now: datetime) -> Iterator[str]:
    if found is None:
        yield f"{name}: not mapped: none will be shown"
        return
    rows = connection.scalar(sa.select(sa.func.count()).select_from(found.relation))
    line = f"{name}: {rows} rows"
    if name == "reading":
        line += _newest(found, connection, now) + _left_out(found, connection)
    yield line
    yield from (f"  note: {note}" for note in _notes(name, found))


def _newest(found: Subject, connection: sa.Connection, now: datetime) -> str:
    time = found.column("time")
    newest = found.instant(
        connection.scalar(sa.select(sa.type_coerce(sa.func.max(time), time.type)).where(time <= now + clock.AHEAD)),
        now,
    )
    ahead = connection.scalar(sa.select(sa.func.count()).select_from(found.relation).where(time > now + clock.AHEAD))
    said = f", newest {newest:%Y-%m-%d %H:%M:%S}Z, {age(now - newest)} old" if newest else ", none with a time till now"
    return said + (f"; {ahead} lie in the future: is time_zone right?" if ahead else "")


def _left_out(found: Subject, connection: sa.Connection) -> str:
    time, sensor_id = found.column("time"), found.column("sensor_id")
    # MySQL holds 0000-00-00 to be a time, the first of all.
    unusable = sa.or_(time.is_(None), time < datetime(1, 1, 2, tzinfo=UTC), sensor_id.is_(None))
    rows = connection.scalar(sa.select(sa.func.count()).select_from(found.relation).where(unusable))
    return f"; {rows} have no sensor or no time and are left out" if rows else ""


def age(span: timedelta) -> str:
    """Return how long `span` is, in its largest unit."""
    seconds = max(span.total_seconds(), 0)
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _notes(name: str, found: Subject) -> Iterator[str]:
    if name == "reading" and not found.grows:
        hours = found.late_window.total_seconds() / 3600
        yield (
            f"no reading_id that grows: readings are asked for again over late_window ({hours:g} h), "
            "and one that is committed later than that is not found"
        )
    if name == "sensor" and not found.has("interval_s"):
        yield "no interval_s: no sensor can be told to be silent; map it, or give it as an expression"
    if name == "sensor" and not found.has("metric"):
        yield "no metric: unless the readings are wide, nobody is told what a sensor measures"
    if name == "storehouse" and not found.has("time_zone"):
        yield "no time_zone: the storehouses are taken to lie in the readings' time_zone, UTC where that is not set"
