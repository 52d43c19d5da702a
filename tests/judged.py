"""A course of readings whose alarms are known beforehand, and what a server has made of it."""

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

import record.sites
from alarms import rules
from alarms.model import Reading
from alarms.replay import replay
from ask.answers import Alarm, Id
from ask.episodes import alarm
from ask.sensors import Sensor
from db import tables
from record.readings import Row
from tests.sites import Site

STEP = timedelta(minutes=1)
RULES: list[dict[str, Any]] = [
    {
        "scope": {"metric": "temperature"},
        "high": {"limit": 5, "delay": "3m", "hysteresis": 0.5},
        "high_high": {"limit": 8, "delay": "1m"},
        "low": {"limit": 1, "severity": "info"},
    },
    {"scope": {"metric": "door"}, "switch": {"limit": 1, "delay": "2m", "severity": "warning"}},
    # The times of the readings are long past: by the clock all would be silent.
    {"no_data": None},
]
STEADY = ("rack", "rear", "vent")
LATE = "vent"
LATE_STEPS = 7
"""So many steps later than they were taken its readings come."""
MARK = "mark"
"""The sensor whose alarm says that everything before it has been judged."""


class Episode(NamedTuple):
    """What became of an alarm."""

    sensor_name: str
    kind: str
    severity: str
    since: datetime
    raised: datetime
    cleared: datetime | None
    acknowledged_by: str | None = None


class Course:
    """Readings of several sensors, in steps; those of a step are committed together."""

    def __init__(self, steps: int, seed: int) -> None:
        self.start = datetime.now(UTC).replace(second=0, microsecond=0) - (steps + 30) * STEP
        self._random = random.Random(seed)
        self._values = {name: self._walk(steps) for name in STEADY}
        self._door = self._openings(steps)
        self.length = steps + LATE_STEPS + 1

    def add_sensors(self, built: Site) -> None:
        """Make the sensors."""
        with built.database.engine.begin() as connection:
            for name in (*STEADY, MARK):
                built.ids[name] = record.sites.sensor(
                    connection, built.ids["north"], name, "temperature", interval_s=60
                )
            built.ids["gate"] = record.sites.sensor(connection, built.ids["north"], "gate", "door")

    def rows(self, built: Site, step: int) -> list[Row]:
        """What is committed at a step."""
        time = self.start + step * STEP
        found: list[Row] = []
        for name, values in self._values.items():
            at = step - (LATE_STEPS if name == LATE else 0)
            if 0 <= at < len(values):
                found.append((built.ids[name], self.start + at * STEP, values[at]))
        if step in self._door:
            found.append((built.ids["gate"], time, self._door[step]))
        if step == self.length - 1:
            found.append((built.ids[MARK], time, 0.0))
        return found

    def episodes(self) -> set[Episode]:
        """What the judge makes of it, all readings in the order of their times."""
        found = set()
        for name, values in self._values.items():
            found |= self._replay(name, "temperature", enumerate(values))
        return found | self._replay("gate", "door", self._door.items())

    def step_of(self, time: datetime) -> int:
        """At which step it was this time."""
        return round((time - self.start) / STEP)

    def _replay(self, name: str, metric: str, values: Iterable[tuple[int, float]]) -> set[Episode]:
        sensor = Sensor(name, 1, name, metric, "", 60.0 if metric == "temperature" else None, (name, None))
        terms = rules.terms(rules.read(RULES), sensor, defaults=False)
        readings = [Reading((self.start + at * STEP).timestamp(), value) for at, value in values]
        until = datetime.now(UTC).timestamp()
        return {
            Episode(name, one.kind, one.severity, _time(one.since), _time(one.raised), _time(one.cleared))
            for one in replay(terms, sensor, readings, until)
            if one.raised is not None
        }

    def _walk(self, steps: int) -> list[float]:
        value, found = 4.0, []
        for _ in range(steps):
            value += self._random.uniform(-1.4, 1.4) + 0.1 * (4.5 - value)
            found.append(round(value, 1))
        return [*found[:-3], 4.0, 4.0, 4.0]

    def _openings(self, steps: int) -> dict[int, float]:
        changes, at = {}, 3
        while at < steps - 10:
            changes[at] = 1.0
            changes[at := at + self._random.randrange(1, 6)] = 0.0
            at += self._random.randrange(5, 40)
        return changes


def _time(seconds: float | None) -> Any:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def kept(built: Site) -> list[Alarm]:
    """Our alarms as they stand in the database, those that never were left out."""
    with built.database.engine.connect() as connection:
        rows = connection.execute(sa.select(tables.episode)).mappings().all()
    return [found for row in rows if (found := alarm(dict(row))).transition != "withdrawn"]


def outcome(built: Site) -> set[Episode]:
    """What has become of the alarms of the course."""
    return {
        Episode(
            str(one.sensor_name),
            one.kind,
            one.severity,
            one.since,
            one.raised,
            one.cleared,
            None if one.acknowledged_by is msgspec.UNSET else one.acknowledged_by,
        )
        for one in kept(built)
        if one.sensor_name != MARK and one.state != "pending" and one.since is not msgspec.UNSET
    }


def is_done(built: Site) -> bool:
    """Whether the end of the course has been judged."""
    return any(one.sensor_name == MARK for one in kept(built))


def steps(built: Site) -> dict[Id, list[str]]:
    """The transitions of each alarm, as the journal has them."""
    journal = tables.alarm_journal.c
    with built.database.engine.connect() as connection:
        rows = connection.scalars(sa.select(journal.alarm).order_by(journal.transition_id)).all()
    found: dict[Id, list[str]] = {}
    for row in rows:
        one = msgspec.json.decode(row, type=Alarm)
        found.setdefault(one.alarm_id, []).append(str(one.transition))
    return found


def without(episodes: Iterable[Episode], *, acknowledged_by: None = None) -> set[Episode]:
    """The same, as if nobody had acknowledged them."""
    return {one._replace(acknowledged_by=acknowledged_by) for one in episodes}


def some(episodes: Iterable[Episode], sensor_name: str, every: int) -> Sequence[Episode]:
    """Each so many-th of a sensor's episodes, in the order of their beginnings."""
    return sorted((one for one in episodes if one.sensor_name == sensor_name), key=lambda one: one.since)[::every]


def holder(built: Site) -> str:
    """The process that judges; empty while there never was one."""
    with built.database.engine.connect() as connection:
        return str(connection.scalar(sa.select(tables.lease.c.holder)) or "")
