"""Prepares a database when the server starts, and tries again until the database can be reached."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import sqlalchemy as sa

from db.database import Database, database_error
from db.dialects import dialect_of
from errors import Unavailable, Unreachable, UsageError
from settings import Database as DatabaseSettings

log = logging.getLogger(__name__)

RETRY_S = 0.5
"""Pause between two attempts to prepare a database, in seconds."""

FIRST_ATTEMPT_S = 20.0
"""Time limit for the attempts before the server opens its port, in seconds. After it, the attempts continue.

The port stays closed during a usual start, so that no client sees a server that has no data yet. A lock in the database
must not keep it closed.
"""

NUMBER = re.compile(r"\d+")
Step = Callable[[], Awaitable[object]]


class Preparation:
    """Prepares one database: runs `steps` in order, each until it has succeeded once.

    `name` is the name of the database in messages, such as "the sensor database". `pulse` is a connection pool with
    short time limits, which shows soon whether the database can be reached. It is None for a file of Storewatch's own,
    because such a file may not exist yet.
    """

    def __init__(self, name: str, settings: DatabaseSettings, pulse: Database | None, steps: Sequence[Step]) -> None:
        self.done = asyncio.Event()
        """Set when all steps have succeeded."""
        self.problem: str | None = f"{name} is being prepared"
        """The reason why the database is not prepared, or None when it is prepared."""
        self._cause = self.problem
        self._name = name
        self._settings = settings
        self._pulse = pulse
        self._steps = list(steps)
        self._running: asyncio.Task[None] | None = None
        """The attempt that is running, or that has ended without anybody waiting for it."""

    async def attempt(self) -> None:
        """Run the steps that have not succeeded yet. Return without success if the database cannot be reached.

        If an earlier attempt has not ended, wait for that attempt instead. Raise `UsageError` if a setting is wrong.
        """
        if self._running is None:
            self._running = asyncio.create_task(self._attempt())
        running = self._running
        try:
            await asyncio.shield(running)
        finally:
            if running.done():
                self._running = None

    async def _attempt(self) -> None:
        try:
            await self._run_steps()
        except Unreachable as error:
            self._set_problem(f"the server waits for {self._name}", str(error))
        except Unavailable as error:
            self._set_problem(f"the server waits for {self._name}", error.message)
        else:
            self.problem = None
            if self._pulse is not None:
                self._pulse.engine.dispose()
            self.done.set()

    def _set_problem(self, problem: str, cause: str) -> None:
        # Anybody may read the reasons in /readyz, so they do not contain the cause, which names accounts and hosts.
        self.problem, self._cause = f"{problem}; its log contains the cause", f"{problem}: {cause}"

    async def run(self) -> None:
        """Attempt the preparation until it is done, and log each new problem once. A wrong setting does not end it."""
        try:
            await self._repeat()
        finally:
            if self._running is not None:
                self._running.cancel()

    async def _repeat(self) -> None:
        logged: set[str] = set()
        while not self.done.is_set():
            defect: Exception | None = None
            try:
                await self.attempt()
            except UsageError as error:
                self._set_problem(f"the server cannot use {self._name}", str(error))
            except Exception as error:
                self._set_problem(f"the server cannot prepare {self._name}", repr(error))
                defect = error
            if self.done.is_set():
                log.info("the server has reached %s", self._name)
                return
            kind = NUMBER.sub("", self._cause)  # numbers, such as ids of connections, differ between attempts
            if kind not in logged:
                log.error("%s; it tries again", self._cause, exc_info=defect)
                logged.add(kind)
            await asyncio.sleep(RETRY_S)

    async def _run_steps(self) -> None:
        """Run the remaining steps. Raise `Unreachable`, `Unavailable` or `UsageError` for an error of the database."""
        try:
            if self._pulse is not None:
                await self._pulse.run(_ping)
            while self._steps:
                await self._steps[0]()
                del self._steps[0]
        except Unavailable as error:
            if isinstance(error.__cause__, sa.exc.DBAPIError):
                raise self._converted(error.__cause__) from None
            raise
        except sa.exc.DBAPIError as error:
            raise self._converted(error) from None

    def _converted(self, error: sa.exc.DBAPIError) -> UsageError:
        return database_error(f"cannot open {self._settings!r}", self._settings, error)


async def attempt_all(attempts: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all attempts at the same time. When all have ended, raise the first exception that any of them raised.

    Wait at most `FIRST_ATTEMPT_S` seconds.
    """
    tasks = [asyncio.create_task(each) for each in attempts]
    try:
        await asyncio.wait(tasks, timeout=FIRST_ATTEMPT_S)
    finally:
        for task in tasks:
            task.cancel()
    for task in tasks:
        if task.done():
            task.result()


def _ping(connection: sa.Connection) -> None:
    connection.execute(sa.text(dialect_of(connection).ping)).all()
