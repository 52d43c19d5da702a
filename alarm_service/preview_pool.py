"""Computes previews of alarm rules in a separate process. In the server's process, they would delay pushes.

The separate process starts with the first preview and keeps running. It runs `alarm_service/preview_worker.py` and
reads tasks as lines of JSON. It ends when its stdin closes, so it never outlives the server.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from datetime import UTC
from pathlib import Path

import msgspec

from access.connection import Request
from alarm_service.preview_worker import Answer, Task
from alarm_service.rule_actions import parse_requested_rules
from alarm_service.rules_in_force import RulesInForce
from alarms.rules import Rule
from ask import Ask
from ask.answers import Preview
from ask.history import check_span
from ask.questions import PreviewAlarms
from common.clock import Clock
from db.database import Database
from errors import BadRequest, Unavailable
from settings import Database as DatabaseSettings

COMMAND = (sys.executable, "-m", "alarm_service.preview_worker")
ROOT = Path(__file__).resolve().parent.parent
ANSWER_S = 60.0
"""Time-out of a preview, in seconds. The time in the lane's queue does not count."""
LONGEST_LINE = 64 * 1024 * 1024
"""Maximum length of an answer from the preview process, in bytes."""


class PreviewPool:
    """Computes previews of alarm rules, one at a time.

    It uses the readings in `sensor_database` and the rules in force, which are in the database `state`.
    """

    def __init__(
        self, ask: Ask, state: Database, sensor_database: DatabaseSettings, clock: Clock, in_force: RulesInForce
    ) -> None:
        self._ask = ask
        self._state = state
        self._sensor_database = sensor_database
        self._clock = clock
        self._in_force = in_force
        self._process: Process | None = None
        self._killed: list[Process] = []
        self._turn = asyncio.Lock()

    async def preview(self, request: Request) -> Preview:
        """Return the alarms that the proposed rules and the rules in force would have raised in the time span.

        Raise `BadRequest` if the rules or the time span are invalid, `Unavailable` if the preview fails or takes too
        long.
        """
        task = await self._task(request)
        try:
            async with asyncio.timeout(ANSWER_S), self._turn:
                return await self._make(task)
        except TimeoutError:
            raise Unavailable("the preview takes too long; try a shorter span", reason="preview_too_slow") from None

    def check(self, request: Request) -> list[Rule]:
        """Return the proposed rules of a request. Raise `BadRequest` if the rules or the time span are invalid."""
        question: PreviewAlarms = request.question
        proposed = parse_requested_rules(question.rules)
        check_span(question.start, question.end)
        if question.start >= self._clock():
            raise BadRequest("start must be in the past", "start", reason="start_in_future")
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

    async def close(self) -> None:
        """Kill the preview process and wait until it has ended. Also wait for processes that were killed earlier.

        asyncio's transport for a process must not outlive the event loop.
        """
        self._kill()
        await asyncio.gather(*(process.wait() for process in self._killed))

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            self._killed = [process for process in self._killed if process.returncode is None] + [self._process]
        self._process = None

    async def _make(self, task: Task) -> Preview:
        try:
            process = await self._running()
            _stdin(process).write(msgspec.json.encode(task) + b"\n")
            await _stdin(process).drain()
            answer = msgspec.json.decode(await _stdout(process).readline(), type=Answer)
        except (OSError, msgspec.DecodeError):
            self._kill()
            raise Unavailable("the preview process has ended; try again", reason="preview_failed") from None
        except BaseException:
            self._kill()  # otherwise the answer would be read as the answer to the next task
            raise
        if answer.preview is None:
            error_type = BadRequest if answer.field else Unavailable
            raise error_type(answer.message, answer.field, reason=answer.reason, **answer.values)
        return answer.preview

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *COMMAND, cwd=ROOT, stdin=PIPE, stdout=PIPE, limit=LONGEST_LINE
            )
            # Send the settings over stdin. Every user of the machine can read the arguments of a process, so the
            # password must not be in them.
            _stdin(self._process).write(msgspec.json.encode(self._sensor_database) + b"\n")
        return self._process


def _stdin(process: Process) -> asyncio.StreamWriter:
    assert process.stdin  # noqa: S101 - it is a pipe
    return process.stdin


def _stdout(process: Process) -> asyncio.StreamReader:
    assert process.stdout  # noqa: S101 - it is a pipe
    return process.stdout
