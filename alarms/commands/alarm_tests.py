"""The command `python -m alarms drill`: raises a test alarm and prints each event of the alarm until its end."""

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
"""Time between two queries for new events of the test alarm, in seconds."""
JUDGED_WITHIN_S = 15.0
"""Maximum time that the command waits for the server to raise the test alarm, in seconds.

The server needs 1 s, or 5 s if another process must first take over the evaluation of alarms.
"""
REPORTED = 10
"""Maximum number of test alarms that the option `--report` prints."""

WORDS = {
    "raised": "notified: alarm raised",
    "worsened": "notified: alarm worsened",
    "reopened": "notified: alarm reopened",
    "reminded": "reminded: not acknowledged yet",
    "escalated": "notified: escalated because nobody acknowledged it",
    "cleared": "notified: alarm cleared",
}
"""The text that the command prints for each event that a notice (a notification about an alarm) can report."""


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "drill",
        help="raise a test alarm and follow its notifications",
        description="Raise a marked test alarm on the running server and print each step. The alarm ends when somebody "
        "acknowledges it. The exit status is 0 if it was acknowledged, otherwise 1.",
    )
    add_config(parser)
    parser.add_argument("--store-house", metavar="NAME", help="name or id of the storehouse of the test alarm")
    parser.add_argument("--sensor", metavar="NAME", help="sensor of the test reading (default: the storehouse's first)")
    parser.add_argument(
        "--for", metavar="SPAN", dest="span", default="30m", help="end the test alarm after this time (%(default)s)"
    )
    parser.add_argument("--report", action="store_true", help=f"only print the last {REPORTED} test alarms")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Raise a test alarm and print its events, or print the last test alarms if the option `--report` is given.

    Return the exit status. Raise `UsageError` if the command cannot be run.
    """
    if not options.report and not options.store_house:
        raise UsageError("drill: give a storehouse with --store-house, or use --report")
    span = _span(options.span)
    settings, origin = settings_module.load(options.config)
    with closing(_open(settings.state_database)) as state:
        if options.report:
            return _report(state)
        sensor = _sensor(settings, origin, options.store_house, options.sensor)
        if settings.notify is None:
            print("no notifications will be sent: the settings have no `notify`", flush=True)
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
    if sensor_name is None:
        raise UsageError(f"drill: {storehouse_name} has no sensors")
    raise UsageError(f"drill: {storehouse_name} has no sensor {sensor_name}; its sensors: {names}")


def _request(state: database.Database, sensor: Sensor, span: timedelta) -> int:
    now = clock.now()
    with state.engine.begin() as connection:
        audit.append(connection, Entry("drill_asked", _person(), "", str(sensor.store_house_id), after=sensor), now)
        return alarm_tests.request(connection, sensor, now, now + span)


def _person() -> str:
    """Return the name of the operating system's user who runs the command.

    Return the numeric user id if the user has no name, as in some containers.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _watch(state: database.Database, test_alarm_id: int) -> int:
    """Print the events of a test alarm until the alarm is cleared and all its notifications have arrived.

    Return the exit status: 0 if somebody acknowledged the alarm, otherwise 1. Raise `UsageError` if no server raises
    the alarm.
    """
    start = time.monotonic()
    printed: set[str] = set()
    while True:
        with state.engine.begin() as connection:
            test_alarm, notices = _status(connection, test_alarm_id)
            if test_alarm.alarm is None and time.monotonic() - start > JUDGED_WITHIN_S:
                alarm_tests.withdraw(connection, test_alarm_id)
                raise UsageError(
                    "drill: no server has raised the test alarm; check that a server is running with these settings"
                )
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
    """Yield one line for each event of a test alarm so far, in chronological order.

    Examples of events are the request, the raised alarm, a notification and the acknowledgement.
    """
    requested = f"drill {test_alarm.test_alarm_id}: requested for sensor {test_alarm.sensor.sensor_name}"
    yield f"{_time(test_alarm.asked)} {requested}"
    alarm = test_alarm.alarm
    if alarm is None:
        return
    timed_lines = [(alarm.raised, 0, f"alarm {alarm.alarm_id} was raised")]
    if isinstance(alarm.acknowledged_at, datetime):
        comment = f": {alarm.comment}" if isinstance(alarm.comment, str) else ""
        timed_lines.append((alarm.acknowledged_at, 1, f"{alarm.acknowledged_by} acknowledged the alarm{comment}"))
    if alarm.cleared is not None:
        end = "alarm cleared" if alarm.acknowledged else "alarm cleared; nobody acknowledged it"
        timed_lines.append((alarm.cleared, 2, end))
    timed_lines += [
        (notice.sent, 3, f"{notice.target} {WORDS[notice.what]}") for notice in notices if notice.sent is not None
    ]
    for instant, _, line in sorted(timed_lines):
        yield f"{_time(instant)}   {line}"


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S}Z"
