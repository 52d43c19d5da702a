"""What befalls the servers and what they stand on, while browsers watch: each fault, and what came of it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from threading import Event, Thread
from typing import Any, Literal, NamedTuple, Self

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
"""Each reading above zero raises an alarm, each below ends it."""
PATIENT_S = 60.0
"""Only what never happens takes so long."""
WRITING = Limits(connect=2.0, statement=3.0, read=4.0)
EVERY = 8
"""Of so many readings one is of the sensor whose alarms are judged."""
PAUSE_S = 0.03


class Writer:
    """Commits readings, each with a value of its own, whatever happens to the database."""

    def __init__(self, where: dict[str, Any], built: Site) -> None:
        self.last = 0
        """The number of the last reading that was tried; its value is that, negative if it ends an alarm."""
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
        """Begin, or go on."""
        self._idle.clear()
        self._writes.set()

    async def pause(self) -> None:
        """Write nothing more for now; what was begun is over."""
        self._writes.clear()
        await until(self._idle.is_set, PATIENT_S)

    def _run(self) -> None:
        while not self._over:
            if not self._writes.is_set():
                self._idle.set()
                self._writes.wait()
                continue
            self.last += 1  # one that fails is not tried again: it may have been committed
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
    """Servers, what they stand on, and who watches."""

    servers: Sequence[WatchedServer]
    built: Site
    writer: Writer
    watchers: Sequence[Follower]
    away_s: float
    """How long a fault lasts at least, and how long a lock is held."""
    lock_s: float
    mariadb: MariaDB | None = None
    redis: Redis | None = None
    nginx: Nginx | None = None
    held: list[Any] = field(default_factory=list)
    """What a fault has to let go of at its end."""
    read: int = 0
    """Up to this id, readings have been counted, and below how many steps of alarms."""
    steps: int = 0


@dataclass(frozen=True)
class Fault:
    """Something that befalls them. `start` and `end` block until it has happened; `told`: what watchers see of it."""

    name: str
    told: Told
    start: Callable[[Stage], object]
    end: Callable[[Stage], object]
    is_lock: bool = False
    is_leap: bool = False
    """The clock leaps, while nothing is on its way: alarms are those of the readings in the order they came in."""


class Row(NamedTuple):
    """What came of a fault."""

    fault: str
    readings: int
    """Committed from the end of the one before to the end of this."""
    lost: int
    doubled: int
    transitions: int
    """Steps of alarms in the same time, and below those that any of the watchers missed, or got twice."""
    told_lost: int
    told_doubled: int
    told_s: float | None
    current_s: float
    needless: int
    """How many were told of a loss, or cut off, where what they show stays true."""

    def cells(self) -> list[str]:
        """How it stands in the table."""
        told = (
            f"{self.told_s:.1f}"
            if self.told_s is not None
            else f"needlessly: {self.needless}"
            if self.needless
            else "-"
        )
        counts = [self.readings, self.readings - self.lost, self.lost, self.doubled]
        counts += [self.transitions, self.told_lost, self.told_doubled]
        return [self.fault, *map(str, counts), told, f"{self.current_s:.1f}"]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost and nothing doubled."""
        return self.lost == self.doubled == self.told_lost == self.told_doubled == 0


HEAD = [
    "fault",
    "readings",
    "arrived",
    "lost",
    "doubled",
    "alarm steps",
    "lost",
    "doubled",
    "told after s",
    "current after s",
]


def table(rows: Sequence[Row]) -> str:
    """The rows, in Markdown."""
    lines = [HEAD, ["---", *["---:"] * (len(HEAD) - 1)], *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


async def suffer(stage: Stage, fault: Fault) -> Row:
    """Have a fault befall them, and compare."""
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
    """Have it begin, or end."""
    if fault.is_leap:
        await stage.writer.pause()
        await compare_alarms(stage, fault, readings(stage.built))
    await asyncio.to_thread(what, stage)
    stage.writer.write()


def shows_later_than(stage: Stage, mark: int) -> bool:
    """Whether everybody is shown a reading that was committed later, as up to date, and told of its alarm."""
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
    """What those who watch see of a fault, and when."""

    def __init__(self, watchers: Sequence[Follower]) -> None:
        self.stale: dict[str, float] = {}
        self._watchers = watchers
        self._began = time.monotonic()

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look at their screens for the length of a block."""
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
        """Whether everybody whom the fault touches knows."""
        if told == "cut":
            return any(watcher.ended > self._began for watcher in self._watchers)
        return len(self.stale) == len(self._watchers)

    def told_needlessly(self) -> set[str]:
        """Who was told, or cut off."""
        return self.stale.keys() | {watcher.name for watcher in self._watchers if watcher.ended > self._began}

    def told_after(self, told: Told, begun: float) -> float | None:
        """How many seconds later the last one knew; None where nobody is to."""
        if told == "nobody":
            return None
        times = (
            [watcher.ended for watcher in self._watchers if watcher.ended > self._began]
            if told == "cut"
            else self.stale.values()
        )
        return max(0.0, max(times) - begun)


async def compare(stage: Stage, fault: Fault, told_s: float | None, current_s: float, needless: int) -> Row:
    """Wait for all that was committed to arrive, and count."""
    server = stage.servers[-1]  # nothing befalls this one

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
    await asyncio.sleep(0.3)  # some ticks more, for what might come twice
    seen = server.seen()
    told = [_counted(msgspec.convert(who.told, list[Alarm])) for who in stage.watchers]
    journalled = [_counted(all_) for all_ in wanted]
    steps, stage.steps = len(transitions) - stage.steps, len(transitions)
    stage.read = max((row.reading_id for row in rows), default=0)
    return Row(
        fault.name,
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
    """Wait for the alarms to be those of the readings."""
    outcome: Callable[[Site], set[Any]] = turns if fault.is_leap else judged
    right: set[Any] = (expected_turns if fault.is_leap else expected)(stage.built, rows)
    with suppress(TimeoutError):
        await until(lambda: outcome(stage.built) == right, PATIENT_S)
    other = outcome(stage.built) ^ right
    assert not other, f"{fault.name}: other alarms than those of the readings: {other}"


def _counted(alarms: Sequence[Alarm]) -> Counter[bytes]:
    return Counter(map(msgspec.json.encode, alarms))


def readings(built: Site) -> Sequence[sa.Row[Any]]:
    """All that have been committed by the writer."""
    reading = tables.reading
    with built.database.engine.connect() as connection:
        return connection.execute(sa.select(reading).where(reading.c.reading_id > built.ids["last"])).all()


def judged(built: Site) -> set[tuple[Any, ...]]:
    """From when to when there were alarms, as the database has it."""
    return {(alarm.raised, alarm.cleared) for alarm in kept(built) if alarm.kind == "high"}


def expected(built: Site, rows: Sequence[sa.Row[Any]]) -> set[tuple[Any, ...]]:
    """The same, as the readings have it in the order of their times."""
    sensor = Sensor(1, 1, "温度 1", "temperature", "", 60.0, (1, None))
    ours = (row for row in rows if row.sensor_id == built.ids["temperature"])
    written = sorted((row.time.timestamp(), row.value) for row in ours)
    terms = rules.terms(rules.parse(RULES), sensor, defaults=False)
    episodes = replay(terms, sensor, [Reading(at, value) for at, value in written])
    return {(_time(episode.raised), _time(episode.cleared)) for episode in episodes if episode.raised is not None}


def turns(built: Site) -> set[float | None]:
    """The values at which alarms were raised or ended, as the journal has it."""
    with built.database.engine.connect() as connection:
        alarms = [step.alarm for step in journal.after(connection, 0, 1_000_000)]
    return {alarm.value for alarm in alarms if alarm.kind == "high" and alarm.transition in ("raised", "cleared")}


def expected_turns(built: Site, rows: Sequence[sa.Row[Any]]) -> set[float | None]:
    """The same, as the readings have it in the order they came in, whatever their times."""
    ours = sorted((row.reading_id, row.value) for row in rows if row.sensor_id == built.ids["temperature"])
    values = [-1.0, *(value for _, value in ours)]
    return {value for before, value in pairwise(values) if (before > 0) != (value > 0)}


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(round(seconds, 3), UTC)
