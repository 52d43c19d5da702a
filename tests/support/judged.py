"""Generated readings, the alarms that they should raise, and queries for the alarms that a server has raised."""

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

import record.sites
from alarm_service.site_alarms import LEASE
from alarms import rules
from alarms.model import Reading
from alarms.replay import replay
from ask.answers import Alarm, Id
from ask.episodes import alarm
from ask.sensors import Sensor
from db import tables
from record.readings import Row
from tests.support.sites import Site

STEP = timedelta(minutes=1)
RULES: list[dict[str, Any]] = [
    {
        "scope": {"metric": "temperature"},
        "high": {"limit": 5, "delay": "3m", "hysteresis": 0.5},
        "high_high": {"limit": 8, "delay": "1m"},
        "low": {"limit": 1, "severity": "info"},
    },
    {"scope": {"metric": "door"}, "switch": {"limit": 1, "delay": "2m", "severity": "warning"}},
    # Without this rule, every sensor would have a no-data alarm, because the readings are old.
    {"no_data": None},
]
STEADY = ("rack", "rear", "vent")
LATE = "vent"
LATE_STEPS = 7
"""Number of minutes (steps) by which every reading of the sensor `LATE` arrives late."""
MARK = "mark"
"""Name of the sensor of the last reading. An alarm of this sensor shows that the server has evaluated all readings."""


class Episode(NamedTuple):
    """The final state of an alarm."""

    sensor_name: str
    kind: str
    severity: str
    since: datetime
    raised: datetime
    cleared: datetime | None
    acknowledged_by: str | None = None


class Course:
    """Generated readings of several sensors, in steps of one minute. The readings of a step are committed together."""

    def __init__(self, steps: int, seed: int) -> None:
        self.start = datetime.now(UTC).replace(second=0, microsecond=0) - (steps + 30) * STEP
        self._random = random.Random(seed)
        self._values = {name: self._walk(steps) for name in STEADY}
        self._switch = self._openings(steps)
        self.length = steps + LATE_STEPS + 1

    def add_sensors(self, built: Site) -> None:
        """Create the sensors in the storehouse `north`."""
        with built.database.engine.begin() as connection:
            for name in (*STEADY, MARK):
                built.ids[name] = record.sites.ensure_sensor(
                    connection, built.ids["north"], name, "temperature", interval_s=60
                )
            built.ids["gate"] = record.sites.ensure_sensor(connection, built.ids["north"], "gate", "door")

    def rows(self, built: Site, step: int) -> list[Row]:
        """Return the readings to commit at this step (minute), as rows of the table of readings."""
        time = self.start + step * STEP
        rows: list[Row] = []
        for name, values in self._values.items():
            at = step - (LATE_STEPS if name == LATE else 0)
            if 0 <= at < len(values):
                rows.append((built.ids[name], self.start + at * STEP, values[at]))
        if step in self._switch:
            rows.append((built.ids["gate"], time, self._switch[step]))
        if step == self.length - 1:
            rows.append((built.ids[MARK], time, 0.0))
        return rows

    def episodes(self) -> set[Episode]:
        """Return the alarms that the rules raise if all readings are evaluated in the order of their times."""
        episodes = set()
        for name, values in self._values.items():
            episodes |= self._replay(name, "temperature", enumerate(values))
        return episodes | self._replay("gate", "door", self._switch.items())

    def step_of(self, time: datetime) -> int:
        """Return the number of the step (minute) at this time."""
        return round((time - self.start) / STEP)

    def _replay(self, name: str, metric: str, values: Iterable[tuple[int, float]]) -> set[Episode]:
        sensor = Sensor(name, 1, name, metric, "", 60.0 if metric == "temperature" else None, (name, None))
        terms = rules.terms(rules.parse(RULES), sensor, defaults=False)
        readings = [Reading((self.start + at * STEP).timestamp(), value) for at, value in values]
        until = datetime.now(UTC).timestamp()
        return {
            Episode(
                name,
                episode.kind,
                episode.severity,
                _time(episode.since),
                _time(episode.raised),
                _time(episode.cleared),
            )
            for episode in replay(terms, sensor, readings, until)
            if episode.raised is not None
        }

    def _walk(self, steps: int) -> list[float]:
        value, values = 4.0, []
        for _ in range(steps):
            value += self._random.uniform(-1.4, 1.4) + 0.1 * (4.5 - value)
            values.append(round(value, 1))
        return [*values[:-3], 4.0, 4.0, 4.0]

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
    """Return the alarms in the database that Storewatch has raised, except withdrawn alarms."""
    with built.database.engine.connect() as connection:
        rows = connection.execute(sa.select(tables.episode)).mappings().all()
    return [kept_alarm for row in rows if (kept_alarm := alarm(dict(row))).transition != "withdrawn"]


def outcome(built: Site) -> set[Episode]:
    """Return the alarms in the database that generated readings have raised.

    Leave out pending alarms, and the alarm of the sensor `MARK`, which only marks the end of the readings.
    """
    return {
        Episode(
            str(alarm.sensor_name),
            alarm.kind,
            alarm.severity,
            alarm.since,
            alarm.raised,
            alarm.cleared,
            None if alarm.acknowledged_by is msgspec.UNSET else alarm.acknowledged_by,
        )
        for alarm in kept(built)
        if alarm.sensor_name != MARK and alarm.state != "pending" and alarm.since is not msgspec.UNSET
    }


def is_done(built: Site) -> bool:
    """Return whether the server has evaluated the last generated reading."""
    return any(kept_alarm.sensor_name == MARK for kept_alarm in kept(built))


def steps(built: Site) -> dict[Id, list[str]]:
    """Return, for each alarm id, the names of the alarm's transitions in the alarm journal."""
    journal = tables.alarm_journal.c
    with built.database.engine.connect() as connection:
        rows = connection.scalars(sa.select(journal.alarm).order_by(journal.transition_id)).all()
    by_alarm: dict[Id, list[str]] = {}
    for row in rows:
        step = msgspec.json.decode(row, type=Alarm)
        by_alarm.setdefault(step.alarm_id, []).append(str(step.transition))
    return by_alarm


def without(episodes: Iterable[Episode], *, acknowledged_by: None = None) -> set[Episode]:
    """Return a copy of the alarms without their acknowledgements."""
    return {episode._replace(acknowledged_by=acknowledged_by) for episode in episodes}


def some(episodes: Iterable[Episode], sensor_name: str, every: int) -> Sequence[Episode]:
    """Sort the alarms of a sensor by `since`. Return the first alarm and every `every`-th alarm after it."""
    of_sensor = [episode for episode in episodes if episode.sensor_name == sensor_name]
    return sorted(of_sensor, key=lambda episode: episode.since)[::every]


def holder(built: Site) -> str:
    """Return the holder of the lease to evaluate alarm rules.

    Return an empty text if no process has held the lease yet.
    """
    with built.database.engine.connect() as connection:
        journal = tables.lease.c.lease_name == LEASE  # the table also contains other leases, in no particular order
        return str(connection.scalar(sa.select(tables.lease.c.holder).where(journal)) or "")
