"""The steps that prepare the databases and the parts of the server that depend on them."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import demo.history
import demo.rules
import record.journal
from alarm_service.journal_follower import JournalFollower
from alarm_service.judge_loop import JudgeLoop
from alarm_service.rules_in_force import RulesInForce
from app.databases import Databases, find_subjects, in_thread
from app.preparation import Preparation, Step, attempt_all
from ask import Ask
from common import clock
from db.database import Database
from db.migrate import migrate
from errors import Unavailable, Unreachable, UsageError
from live.directory import Directory
from live.overview_feed import OverviewFeed
from live.pending_source import PendingSource
from live.poller import Poller
from live.site_snapshot import SiteSnapshot
from live.storehouse_feed import StorehouseFeed
from notify import sender
from settings import Database as DatabaseSettings
from settings import Settings, Source
from transport.redis_manager import check_password


@dataclass
class Start:
    """The parts that use a database from its first answer on, and the steps that prepare them.

    The sensor database and the database `state` are prepared independently of each other, unless they are one.
    """

    settings: Settings
    origin: Source
    databases: Databases
    asks: Sequence[Ask]
    """The parts that put questions to the sensor database. Each gets the subjects once they are found."""
    in_force: RulesInForce
    readings: PendingSource
    directory: Directory
    poller: Poller
    judge_loop: JudgeLoop
    journal: JournalFollower
    storehouse_feed: StorehouseFeed
    overview_feed: OverviewFeed
    site_snapshot: SiteSnapshot | None
    """The last known state of the site. None if it would be in the sensor database itself."""
    pulse: Callable[[DatabaseSettings], Database | None]
    """A function that returns the connection pool of a `Preparation`."""
    sensors: Preparation = field(init=False)
    """The preparation of the sensor database, which may also contain Storewatch's own tables."""
    preparations: list[Preparation] = field(init=False)
    """All preparations."""
    _begun: datetime = field(default_factory=clock.now)
    _since: datetime | None = None
    """If it is set, existing readings with a time from `_since` on count as new. It is set if the sensor database could
    not be reached at the start, because readings may be committed before the server reaches it."""

    def __post_init__(self) -> None:
        sensors, state = self.settings.sensor_database, self.settings.state_database
        steps: list[Step] = [self._prepare_sensors, self._find_position, self._read_site]
        state_steps: list[Step] = [self._follow_journal]
        if state is sensors:
            name, steps = "the database", steps + state_steps
        else:
            name = "the sensor database"
            state_steps = [self._prepare_state, *state_steps, self._show_snapshot]
        self.sensors = Preparation(name, sensors, self.pulse(sensors), [*steps, self._go_live])
        self.preparations = [self.sensors]
        if state is not sensors:
            self.preparations.append(Preparation("the database `state`", state, self.pulse(state), state_steps))

    @property
    def problems(self) -> list[str]:
        """For each database that is not prepared, the reason."""
        return [preparation.problem for preparation in self.preparations if preparation.problem]

    async def attempt(self) -> None:
        """Attempt each preparation once, before clients can connect. Raise `UsageError` if a setting is wrong."""
        if self.settings.notify is not None:
            await in_thread(sender.prepare, self.settings.notify.targets, self.origin)
        checks = [] if self.settings.redis is None else [check_password(self.settings.redis)]
        await attempt_all([*(preparation.attempt() for preparation in self.preparations), *checks])
        if not self.sensors.done.is_set():
            self._since = self._begun - clock.AHEAD
            await self.storehouse_feed.database_lost()
            with suppress(Unavailable):
                await self._show_snapshot()

    async def run(self) -> None:
        """Continue the preparations until all are done."""
        async with asyncio.TaskGroup() as tasks:
            for preparation in self.preparations:
                tasks.create_task(preparation.run())

    async def _prepare_sensors(self) -> None:
        try:
            await self._prepare_tables()
        except Unreachable as error:
            if self.settings.is_demo:  # its file is local, so waiting does not help
                raise UsageError(str(error)) from None
            raise

    async def _prepare_tables(self) -> None:
        sensors = self.settings.sensor_database
        if sensors.map is None:
            await in_thread(migrate, sensors)
        if self.settings.is_demo:
            await in_thread(demo.history.prepare, sensors, clock.now())
            if not self.settings.rules:
                self.in_force.configured = await in_thread(demo.rules.rules, sensors)
        # At the first attempt, clients wait for the port. A locked table must not keep it closed for long.
        pool = self.databases.questions if self._since is None else self.databases.slow
        subjects = await in_thread(find_subjects, pool, self.origin)
        for each in self.asks:
            each.subjects = subjects
        self.databases.set_prepared(sensors)

    async def _prepare_state(self) -> None:
        await in_thread(migrate, self.settings.state_database)
        self.databases.set_prepared(self.settings.state_database)

    async def _find_position(self) -> None:
        await self.readings.start_at_end(self._since)

    async def _read_site(self) -> None:
        # Read the newest readings after the position in the table of readings: none may lie between the two.
        await self.directory.refresh()
        await self.overview_feed.refresh_organisations()

    async def _follow_journal(self) -> None:
        await self.journal.start()
        self.storehouse_feed.cursor = self.journal.cursor
        open_steps = await self.databases.journal.run(record.journal.open_steps)
        self.overview_feed.load_alarms(step.alarm for step in open_steps.values())

    async def _show_snapshot(self) -> None:
        """Show the last known state of the site if the sensor database could not be reached at the start."""
        if self.site_snapshot is not None and self._since is not None:
            await self.site_snapshot.load()

    async def _go_live(self) -> None:
        """Let the poller and the judge read the sensor database."""
        self.judge_loop.start = self.readings.position()
        self.readings.open()
        self.poller.wake()
