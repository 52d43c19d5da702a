"""`python -m alarms drill`: a test alarm on its whole way, from a reading to a person and back."""

import argparse
import getpass
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa

import settings as settings_module
from alarms.commands.places import place
from ask import sensors
from ask.sensors import Sensor
from ask.subjects import subjects
from cli import add_config
from common import clock
from db import database
from errors import UsageError
from record import audit, test_alarms
from record.audit import Entry
from record.test_alarms import AlarmTest, Told
from settings import Settings, Source

T = TypeVar("T")

GLANCE_S = 0.5
"""Between two looks at what has become of it."""
JUDGED_WITHIN_S = 15.0
"""A running server takes 1 s, one that takes over from another 5 s."""
MOST = 10
"""Drills in a report."""

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
    parser.add_argument("--report", action="store_true", help=f"only tell what became of the last {MOST}")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run a drill, or report; raises `UsageError`."""
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
        return _watch(state, _ask(state, sensor, span))


def _open(where: settings_module.Database) -> database.Database:
    database.migrate(where)
    return database.Database(where, database.WORKING, 1, writes=True)


def _span(words: str) -> timedelta:
    try:
        return settings_module.duration(words)
    except ValueError as error:
        raise UsageError(f"drill: --for: {error}") from None


def _sensor(settings: Settings, origin: Source, place_name: str, sensor_name: str | None) -> Sensor:
    where = settings.sensor_database
    database.reach(where)
    with closing(database.Database(where, database.WORKING, 1)) as asked, asked.engine.connect() as connection:
        found = subjects(where, origin, connection)
        here = sensors.sensors(connection, found, place(connection, found, place_name).store_house_id)
    wanted = [one for one in here if sensor_name in (None, one.sensor_name)]
    if not wanted:
        known = ", ".join(sorted({one.sensor_name for one in here})) or "none"
        raise UsageError(f"drill: {place_name} has no sensor {sensor_name or ''}; its sensors: {known}")
    return wanted[0]


def _ask(state: database.Database, sensor: Sensor, span: timedelta) -> int:
    now = clock.now()
    with state.engine.begin() as connection:
        audit.append(connection, Entry("drill_asked", _person(), "", str(sensor.store_house_id), after=sensor), now)
        return test_alarms.ask(connection, sensor, now, now + span)


def _person() -> str:
    """Who it is for the system; some containers know their users by number alone."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _watch(state: database.Database, drill_id: int) -> int:
    """Print what happens until it is over and everybody knows."""
    start = time.monotonic()
    shown: set[str] = set()
    while True:
        with state.engine.begin() as connection:
            drill, told = _found(connection, drill_id)
            if drill.alarm is None and time.monotonic() - start > JUDGED_WITHIN_S:
                test_alarms.withdraw(connection, drill_id)
                raise UsageError("drill: no server has taken it up; is one running with these settings?")
        for line in steps(drill, told):
            if line not in shown:
                print(line, flush=True)
                shown.add(line)
        if drill.alarm is not None and drill.alarm.cleared and all(one.sent for one in told):
            return 0 if drill.alarm.acknowledged else 1
        time.sleep(GLANCE_S)


def _report(state: database.Database) -> int:
    with state.engine.begin() as connection:
        for drill in test_alarms.newest(connection, MOST):
            for line in steps(*_found(connection, drill.drill_id)):
                print(line)
    return 0


def _found(connection: sa.Connection, drill_id: int) -> tuple[AlarmTest, list[Told]]:
    drill = test_alarms.one(connection, drill_id)
    return drill, test_alarms.told(connection, drill)


def steps(drill: AlarmTest, told: Sequence[Told]) -> Iterator[str]:
    """Return what has happened so far, a line each, in the order of time."""
    yield f"{_time(drill.asked)} drill {drill.drill_id}: asked for at {drill.sensor.sensor_name}"
    alarm = drill.alarm
    if alarm is None:
        return
    found = [(alarm.raised, 0, f"alarm {alarm.alarm_id} was raised")]
    if isinstance(alarm.acknowledged_at, datetime):
        comment = f": {alarm.comment}" if isinstance(alarm.comment, str) else ""
        found.append((alarm.acknowledged_at, 1, f"{alarm.acknowledged_by} acknowledged it{comment}"))
    if alarm.cleared is not None:
        end = "it is over" if alarm.acknowledged else "it is over, and nobody has acknowledged it"
        found.append((alarm.cleared, 2, end))
    found += [(one.sent, 3, f"{one.target} was {WORDS[one.what]}") for one in told if one.sent is not None]
    for when, _, words in sorted(found):
        yield f"{_time(when)}   {words}"


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S}Z"
