"""Previews of alarm rules, made in a process of their own, because judging would hold up every push meanwhile.

The process starts with the first preview and stays. It reads tasks as lines of JSON and ends when its stdin does, so
it never outlives us; `alarm_service/preview_worker.py` runs in it.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from datetime import UTC
from pathlib import Path

import msgspec

from access.connection import Request
from alarm_service.preview_worker import Answer, Task
from alarm_service.rules_in_force import RulesInForce
from alarms import rules
from alarms.rules import Rule
from ask import Ask
from ask.answers import Preview
from ask.history import check_span
from ask.questions import PreviewAlarms
from common.clock import Clock
from db.database import Database
from errors import BadRequest, RateLimited, Unavailable
from settings import Database as DatabaseSettings

COMMAND = (sys.executable, "-m", "alarm_service.preview_worker")
ROOT = Path(__file__).resolve().parent.parent
ANSWER_S = 60.0
MAX_WAITING = 4
"""Previews that are being made, or wait for their turn."""
LONGEST_LINE = 64 * 1024 * 1024


class PreviewPool:
    """Makes one preview at a time, of the readings in `sensor_database`; `state` has the rules in force."""

    def __init__(
        self, ask: Ask, state: Database, sensor_database: DatabaseSettings, clock: Clock, in_force: RulesInForce
    ) -> None:
        self._ask = ask
        self._state = state
        self._sensor_database = sensor_database
        self._clock = clock
        self._in_force = in_force
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def preview(self, request: Request) -> Preview:
        """Return the alarms that the proposed rules would have raised.

        Raises `BadRequest`, `RateLimited` where too many wait, `Unavailable`.
        """
        task = await self._task(request)
        if self._waiting >= MAX_WAITING:
            raise RateLimited("others are being previewed; try again in a minute")
        self._waiting += 1
        try:
            async with asyncio.timeout(ANSWER_S), self._turn:
                return await self._make(task)
        except TimeoutError:
            raise Unavailable("that takes too long; try a shorter span") from None
        finally:
            self._waiting -= 1

    def check(self, request: Request) -> list[Rule]:
        """Return the proposed rules; raises `BadRequest` where they are wrong, or the span is."""
        question: PreviewAlarms = request.question
        try:
            proposed = rules.parse(question.rules)
        except ValueError as error:
            raise BadRequest(str(error), "rules") from None
        check_span(question.start, question.end)
        if question.start >= self._clock():
            raise BadRequest("must lie in the past", "start")
        return proposed

    async def _task(self, request: Request) -> Task:
        question, storehouse = request.question, request.storehouse
        now = self._clock()
        return Task(
            store_house_id=storehouse.store_house_id,
            sensors=await self._ask.sensors(storehouse),
            proposed=self.check(request),
            in_force=await self._state.run(self._in_force.read),
            defaults=self._in_force.defaults,
            start=question.start.astimezone(UTC),
            end=min(question.end.astimezone(UTC), now),
            now=now,
        )

    def stop(self) -> None:
        """Kill the process."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        self._process = None

    async def _make(self, task: Task) -> Preview:
        try:
            process = await self._running()
            _stdin(process).write(msgspec.json.encode(task) + b"\n")
            await _stdin(process).drain()
            answer = msgspec.json.decode(await _stdout(process).readline(), type=Answer)
        except (OSError, msgspec.DecodeError):
            self.stop()
            raise Unavailable("the process that previews has ended; try again") from None
        except BaseException:
            self.stop()  # or its answer would be taken for that to the next question
            raise
        if answer.preview is None:
            raise (BadRequest if answer.field else Unavailable)(answer.message, answer.field)
        return answer.preview

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *COMMAND, cwd=ROOT, stdin=PIPE, stdout=PIPE, limit=LONGEST_LINE
            )
            # Not as an argument: everybody on this machine could read the password there.
            _stdin(self._process).write(msgspec.json.encode(self._sensor_database) + b"\n")
        return self._process


def _stdin(process: Process) -> asyncio.StreamWriter:
    assert process.stdin  # noqa: S101 - it is a pipe
    return process.stdin


def _stdout(process: Process) -> asyncio.StreamReader:
    assert process.stdout  # noqa: S101 - it is a pipe
    return process.stdout
