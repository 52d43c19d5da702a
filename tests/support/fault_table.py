"""Runs faults of servers and services while clients watch a storehouse.

After each fault, the clients' data are compared with the database.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from threading import Event, Thread
from typing import Any, Literal, Self

import msgspec
import sqlalchemy as sa

import record.readings
import settings
from alarms import rules
from alarms.model import Reading
from alarms.replay import replay
from ask import journal
from ask.answers import Alarm
from ask.sensors import Sensor
from db import tables
from db.database import Database
from db.limits import Limits
from tests.support.fault_page import FaultRow
from tests.support.followers import Follower
from tests.support.judged import kept
from tests.support.services.mariadb import MariaDB
from tests.support.services.nginx import Nginx
from tests.support.services.redis import Redis
from tests.support.serving_inside import until
from tests.support.serving_watched import WatchedServer
from tests.support.sites import Site

RULES: list[dict[str, Any]] = [
    {"scope": {"sensor_name": "温度 1"}, "high": {"limit": 0, "delay": 0, "hysteresis": 0, "reopen": 0}},
    {"no_data": None},
]
"""Alarm rules: a value above zero raises an alarm, and a value below zero clears the alarm."""
PATIENT_S = 60.0
"""Time-out of every wait, in seconds."""
WRITING = Limits(connect=2.0, statement=3.0, read=4.0)
EVERY = 8
"""One reading in `EVERY` readings belongs to the sensor with alarm rules."""
PAUSE_S = 0.03


class Writer:
    """Commits readings with unique values. Continues while the database fails."""

    def __init__(self, where: dict[str, Any], built: Site) -> None:
        self.last = 0
        """Number of the last reading that the writer tried to commit.

        The value of a reading is the number of the reading. The value is negative if the reading clears an alarm.
        """
        self.clock_off = timedelta()
        self._site = built
        self._database = Database(settings.Database(**where), WRITING, 1, writes=True)
        self._writes = Event()
        self._idle = Event()
        self._over = False
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._writes.set()
        self._thread.join()
        self._database.close()

    def write(self) -> None:
        """Start or resume the writing of readings."""
        self._idle.clear()
        self._writes.set()

    async def pause(self) -> None:
        """Pause the writing of readings. Wait until the current transaction has ended."""
        self._writes.clear()
        await until(self._idle.is_set, PATIENT_S)

    def _run(self) -> None:
        while not self._over:
            if not self._writes.is_set():
                self._idle.set()
                self._writes.wait()
                continue
            self.last += 1  # not retried after an error, because the reading may have been committed
            with suppress(sa.exc.DBAPIError):
                self._commit(self.last)
            time.sleep(PAUSE_S)

    def _commit(self, number: int) -> None:
        is_judged = number % EVERY == 0
        value = float(-number if number // EVERY % 2 else number)
        sensor_id = self._site.ids["temperature" if is_judged else "far"]
        with self._database.engine.begin() as connection:
            record.readings.add(connection, [(sensor_id, datetime.now(UTC) + self.clock_off, value)])


Told = Literal["stale", "cut", "nobody"]


@dataclass
class Stage:
    """The servers under test, the services that they use, and the clients that watch a storehouse."""

    servers: Sequence[WatchedServer]
    built: Site
    writer: Writer
    watchers: Sequence[Follower]
    away_s: float
    """Minimum duration of a fault that is not a lock, in seconds."""
    lock_s: float
    """Minimum duration of a lock, in seconds."""
    mariadb: MariaDB | None = None
    redis: Redis | None = None
    nginx: Nginx | None = None
    held: list[Any] = field(default_factory=list)
    """Database connections that the current fault has opened and must close at the end of the fault."""
    read: int = 0
    """Largest reading id at the time of the last check. The next check counts only readings with higher ids."""
    steps: int = 0
    """Number of alarm transitions at the time of the last check. The next check counts only newer transitions."""


@dataclass(frozen=True)
class Fault:
    """A fault of a server or a service. The functions `start` and `end` block until they have taken effect.

    `told` says how the watching clients notice the fault: `stale` means by stale data, `cut` means by a lost
    connection, and `nobody` means that no client notices the fault.
    """

    name: str
    told: Told
    start: Callable[[Stage], object]
    end: Callable[[Stage], object]
    is_lock: bool = False
    is_leap: bool = False
    """Whether the fault is a jump of the clock.

    The writer of readings pauses during the jump. After a jump, the alarms must be those that result from evaluating
    the readings in the order of their ids. After other faults, the alarms must be those that result from evaluating the
    readings in the order of their times.
    """


async def suffer(stage: Stage, fault: Fault) -> FaultRow:
    """Run a fault. Compare the data that clients received with the database. Return the result."""
    mark = stage.writer.last
    stage.writer.write()
    await until(lambda: shows_later_than(stage, mark), PATIENT_S)
    seen = Seen(stage.watchers)
    async with seen.looking():
        await happen(stage, fault, fault.start)
        begun = time.monotonic()
        if fault.told != "nobody":
            await until(lambda: seen.all_told(fault.told), PATIENT_S)
        told_s = seen.told_after(fault.told, begun)
        least = stage.lock_s if fault.is_lock else stage.away_s
        await asyncio.sleep(max(0.0, begun + least - time.monotonic()))
    needless = 0 if fault.told != "nobody" else len(seen.told_needlessly())
    await happen(stage, fault, fault.end)
    ended, mark = time.monotonic(), stage.writer.last
    await until(lambda: shows_later_than(stage, mark), PATIENT_S)
    current_s = time.monotonic() - ended
    await stage.writer.pause()
    return await compare(stage, fault, told_s, current_s, needless)


async def happen(stage: Stage, fault: Fault, what: Callable[[Stage], object]) -> None:
    """Call `what`, which starts or ends the fault.

    Before a jump of the clock, pause the writer and check the alarms.
    """
    if fault.is_leap:
        await stage.writer.pause()
        await compare_alarms(stage, fault, readings(stage.built))
    await asyncio.to_thread(what, stage)
    stage.writer.write()


def shows_later_than(stage: Stage, mark: int) -> bool:
    """Return whether the data of every client are current.

    The data must not be stale. Each client must have received a reading and an alarm transition that are newer than the
    reading with the number `mark`. The absolute value of a reading is its number.
    """
    return all(_shows_later(watcher, mark) and _told_later(watcher, mark) for watcher in stage.watchers)


def _shows_later(watcher: Follower, mark: int) -> bool:
    envs = watcher.shown
    if envs is None or envs["stale"]:
        return False
    (value,) = (env["value"] for env in envs["envs"] if env["metric"] == "temperature")
    return value is not None and abs(value) > mark


def _told_later(watcher: Follower, mark: int) -> bool:
    told = watcher.last_told
    return told is not None and abs(told["value"] or 0) > mark


class Seen:
    """Records how and when the watching clients notice a fault."""

    def __init__(self, watchers: Sequence[Follower]) -> None:
        self.stale: dict[str, float] = {}
        self._watchers = watchers
        self._began = time.monotonic()

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """During the block, check periodically whether the clients show stale data."""
        task = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            task.cancel()

    async def _poll(self) -> None:
        while True:
            for watcher in self._watchers:
                if watcher.shown and watcher.shown["stale"]:
                    self.stale.setdefault(watcher.name, time.monotonic())
            await asyncio.sleep(0.02)

    def all_told(self, told: Told) -> bool:
        """Return whether the clients have noticed the fault.

        If `told` is `cut`, one client must have lost its connection. Otherwise, every client must have seen stale data.
        """
        if told == "cut":
            return any(watcher.ended > self._began for watcher in self._watchers)
        return len(self.stale) == len(self._watchers)

    def told_needlessly(self) -> set[str]:
        """Return the names of the clients that saw stale data or lost the connection."""
        return self.stale.keys() | {watcher.name for watcher in self._watchers if watcher.ended > self._began}

    def told_after(self, told: Told, begun: float) -> float | None:
        """Return the time from `begun` until the last client noticed the fault, in seconds.

        Return None if no client should notice the fault.
        """
        if told == "nobody":
            return None
        times = (
            [watcher.ended for watcher in self._watchers if watcher.ended > self._began]
            if told == "cut"
            else self.stale.values()
        )
        return max(0.0, max(times) - begun)


async def compare(stage: Stage, fault: Fault, told_s: float | None, current_s: float, needless: int) -> FaultRow:
    """Wait until all committed readings and alarm transitions have arrived.

    Return a row for the table of results. It contains the number of readings, the number of transitions, and how many
    of each were lost or arrived twice.
    """
    server = stage.servers[-1]  # no fault affects this server

    rows = readings(stage.built)
    values = Counter(row.value for row in rows if row.reading_id > stage.read)
    with suppress(TimeoutError):
        await until(lambda: not values - server.seen(), PATIENT_S)
    await compare_alarms(stage, fault, rows)
    with stage.built.database.engine.connect() as connection:
        transitions = journal.after(connection, 0, 1_000_000)
    wanted = [
        [transition.alarm for transition in transitions if transition.transition_id > (who.first_cursor or 0)]
        for who in stage.watchers
    ]
    with suppress(TimeoutError):
        pairs = list(zip(stage.watchers, wanted, strict=True))
        await until(lambda: all(len(who.told) >= len(all_) for who, all_ in pairs), PATIENT_S)
    await asyncio.sleep(0.3)  # wait for a few more polls, in case something arrives twice
    seen = server.seen()
    told = [_counted(msgspec.convert(who.told, list[Alarm])) for who in stage.watchers]
    journalled = [_counted(all_) for all_ in wanted]
    steps, stage.steps = len(transitions) - stage.steps, len(transitions)
    stage.read = max((row.reading_id for row in rows), default=0)
    return FaultRow(
        values.total(),
        (values - seen).total(),
        sum(seen[value] - 1 for value in values if seen[value] > 1),
        steps,
        sum((all_ - got).total() for all_, got in zip(journalled, told, strict=True)),
        sum((got - all_).total() for all_, got in zip(journalled, told, strict=True)),
        told_s,
        current_s,
        needless,
    )


async def compare_alarms(stage: Stage, fault: Fault, rows: Sequence[sa.Row[Any]]) -> None:
    """Wait until the alarms match the readings. Fail if this takes too long."""
    outcome: Callable[[Site], set[Any]] = turns if fault.is_leap else judged
    right: set[Any] = (expected_turns if fault.is_leap else expected)(stage.built, rows)
    with suppress(TimeoutError):
        await until(lambda: outcome(stage.built) == right, PATIENT_S)
    other = outcome(stage.built) ^ right
    assert not other, f"{fault.name}: these alarms do not match the readings: {other}"


def _counted(alarms: Sequence[Alarm]) -> Counter[bytes]:
    return Counter(map(msgspec.json.encode, alarms))


def readings(built: Site) -> Sequence[sa.Row[Any]]:
    """Return all readings that the writer has committed."""
    reading = tables.reading
    with built.database.engine.connect() as connection:
        return connection.execute(sa.select(reading).where(reading.c.reading_id > built.ids["last"])).all()


def judged(built: Site) -> set[tuple[Any, ...]]:
    """Return the times at which the alarms in the database were raised and cleared."""
    return {(alarm.raised, alarm.cleared) for alarm in kept(built) if alarm.kind == "high"}


def expected(built: Site, rows: Sequence[sa.Row[Any]]) -> set[tuple[Any, ...]]:
    """Return the times at which alarms must be raised and cleared.

    The readings are evaluated in the order of their times.
    """
    sensor = Sensor(1, 1, "温度 1", "temperature", "", 60.0, (1, None))
    ours = (row for row in rows if row.sensor_id == built.ids["temperature"])
    written = sorted((row.time.timestamp(), row.value) for row in ours)
    terms = rules.terms(rules.parse(RULES), sensor, defaults=False)
    episodes = replay(terms, sensor, [Reading(at, value) for at, value in written])
    return {(_time(episode.raised), _time(episode.cleared)) for episode in episodes if episode.raised is not None}


def turns(built: Site) -> set[float | None]:
    """Return the values of the readings that raised or cleared alarms, as recorded in the alarm journal."""
    with built.database.engine.connect() as connection:
        alarms = [step.alarm for step in journal.after(connection, 0, 1_000_000)]
    return {alarm.value for alarm in alarms if alarm.kind == "high" and alarm.transition in ("raised", "cleared")}


def expected_turns(built: Site, rows: Sequence[sa.Row[Any]]) -> set[float | None]:
    """Return the values of the readings that must raise or clear alarms.

    The readings are evaluated in the order of their ids.
    """
    ours = sorted((row.reading_id, row.value) for row in rows if row.sensor_id == built.ids["temperature"])
    values = [-1.0, *(value for _, value in ours)]
    return {value for before, value in pairwise(values) if (before > 0) != (value > 0)}


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(round(seconds, 3), UTC)
