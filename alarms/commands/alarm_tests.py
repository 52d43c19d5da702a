"""`python -m alarms drill`: raises a test alarm, and prints its whole way from a reading to a person and back."""

import argparse
import getpass
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

import settings as settings_module
from alarms.commands.storehouses import storehouse_named
from ask import sensors
from ask.sensors import Sensor
from ask.site_mapping import subjects_of
from cli import add_config
from common import clock
from db import database
from db.limits import BATCH_LIMITS
from db.migrate import migrate
from errors import UsageError
from record import alarm_tests, audit
from record.alarm_tests import AlarmTest, NoticeStatus
from record.audit import Entry
from settings import Settings, Source

POLL_S = 0.5
"""Time between two checks of what has become of it."""
JUDGED_WITHIN_S = 15.0
"""A running server judges it within 1 s, one that takes over from another within 5 s."""
REPORTED = 10
"""Test alarms in a report."""

WORDS = {
    "raised": "told that it was raised",
    "worsened": "told that it got worse",
    "reminded": "told again, as nobody has acknowledged it",
    "escalated": "told as the next tier, as nobody has acknowledged it",
    "cleared": "told that it is over",
}


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "drill",
        help="a test alarm on its whole way to a person",
        description="Have the running server raise a marked test alarm, and tell what becomes of it. It ends when "
        "somebody acknowledges it. The exit status is 0 if that happened.",
    )
    add_config(parser)
    parser.add_argument("--store-house", metavar="NAME", help="where it is raised")
    parser.add_argument("--sensor", metavar="NAME", help="whose test reading it is (default: the storehouse's first)")
    parser.add_argument("--for", metavar="SPAN", dest="span", default="30m", help="it ends then anyway (%(default)s)")
    parser.add_argument("--report", action="store_true", help=f"only tell what became of the last {REPORTED}")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Raise a test alarm and print what happens, or print the report; raises `UsageError`."""
    if not options.report and not options.store_house:
        raise UsageError("drill: name a storehouse with --store-house, or ask for the --report")
    span = _span(options.span)
    settings, origin = settings_module.load(options.config)
    with closing(_open(settings.state_database)) as state:
        if options.report:
            return _report(state)
        sensor = _sensor(settings, origin, options.store_house, options.sensor)
        if settings.notify is None:
            print("nobody will be told but who watches: the settings have no `notify`", flush=True)
        return _watch(state, _request(state, sensor, span))


def _open(where: settings_module.Database) -> database.Database:
    migrate(where)
    return database.Database(where, BATCH_LIMITS, 1, writes=True)


def _span(words: str) -> timedelta:
    try:
        return settings_module.duration(words)
    except ValueError as error:
        raise UsageError(f"drill: --for: {error}") from None


def _sensor(settings: Settings, origin: Source, storehouse_name: str, sensor_name: str | None) -> Sensor:
    where = settings.sensor_database
    database.reach(where)
    with (
        closing(database.Database(where, BATCH_LIMITS, 1)) as sensor_database,
        sensor_database.engine.connect() as connection,
    ):
        of_site = subjects_of(where, origin, connection)
        storehouse = storehouse_named(connection, of_site, storehouse_name)
        all_sensors = sensors.sensors(connection, of_site, storehouse.store_house_id)
    for sensor in all_sensors:
        if sensor_name in (None, sensor.sensor_name):
            return sensor
    names = ", ".join(sorted({sensor.sensor_name for sensor in all_sensors})) or "none"
    raise UsageError(f"drill: {storehouse_name} has no sensor {sensor_name or ''}; its sensors: {names}")


def _request(state: database.Database, sensor: Sensor, span: timedelta) -> int:
    now = clock.now()
    with state.engine.begin() as connection:
        audit.append(connection, Entry("drill_asked", _person(), "", str(sensor.store_house_id), after=sensor), now)
        return alarm_tests.request(connection, sensor, now, now + span)


def _person() -> str:
    """Return the name of the system's user; some containers know their users by number alone."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _watch(state: database.Database, test_alarm_id: int) -> int:
    """Print what happens until it is over and all notices have arrived."""
    start = time.monotonic()
    printed: set[str] = set()
    while True:
        with state.engine.begin() as connection:
            test_alarm, notices = _status(connection, test_alarm_id)
            if test_alarm.alarm is None and time.monotonic() - start > JUDGED_WITHIN_S:
                alarm_tests.withdraw(connection, test_alarm_id)
                raise UsageError("drill: no server has taken it up; is one running with these settings?")
        for line in steps(test_alarm, notices):
            if line not in printed:
                print(line, flush=True)
                printed.add(line)
        alarm = test_alarm.alarm
        if alarm is not None and not alarm.is_open and all(notice.sent for notice in notices):
            return 0 if alarm.acknowledged else 1
        time.sleep(POLL_S)


def _report(state: database.Database) -> int:
    with state.engine.begin() as connection:
        for test_alarm in alarm_tests.newest(connection, REPORTED):
            for line in steps(*_status(connection, test_alarm.test_alarm_id)):
                print(line)
    return 0


def _status(connection: sa.Connection, test_alarm_id: int) -> tuple[AlarmTest, list[NoticeStatus]]:
    test_alarm = alarm_tests.get(connection, test_alarm_id)
    return test_alarm, alarm_tests.notices(connection, test_alarm)


def steps(test_alarm: AlarmTest, notices: Sequence[NoticeStatus]) -> Iterator[str]:
    """Yield what has happened so far, a line each, in the order of time."""
    requested = f"drill {test_alarm.test_alarm_id}: asked for at {test_alarm.sensor.sensor_name}"
    yield f"{_time(test_alarm.asked)} {requested}"
    alarm = test_alarm.alarm
    if alarm is None:
        return
    timed_lines = [(alarm.raised, 0, f"alarm {alarm.alarm_id} was raised")]
    if isinstance(alarm.acknowledged_at, datetime):
        comment = f": {alarm.comment}" if isinstance(alarm.comment, str) else ""
        timed_lines.append((alarm.acknowledged_at, 1, f"{alarm.acknowledged_by} acknowledged it{comment}"))
    if alarm.cleared is not None:
        end = "it is over" if alarm.acknowledged else "it is over, and nobody has acknowledged it"
        timed_lines.append((alarm.cleared, 2, end))
    timed_lines += [
        (notice.sent, 3, f"{notice.target} was {WORDS[notice.what]}") for notice in notices if notice.sent is not None
    ]
    for instant, _, line in sorted(timed_lines):
        yield f"{_time(instant)}   {line}"


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S}Z"
