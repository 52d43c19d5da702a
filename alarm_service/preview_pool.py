"""Previews of rules, made in a process of their own: it would otherwise hold up every push for as long as it judges.

The process is started for the first preview and stays. It is told what to do in lines of JSON, and ends when its
stdin does, so with us at the latest; `live/previewing.py` is what runs in it.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from datetime import UTC
from pathlib import Path

import msgspec

from alarm_service.actions import AlarmActions
from alarm_service.preview_worker import Answer, Task
from alarms import rules
from ask import Ask
from ask.answers import Preview
from ask.history import check_span
from ask.questions import PreviewAlarms
from ask.visibility import Visibility
from common.clock import Clock
from errors import BadRequest, RateLimited, Unavailable
from settings import Database

COMMAND = (sys.executable, "-m", "alarm_service.preview_worker")
ROOT = Path(__file__).resolve().parent.parent
ANSWER_S = 60.0
MOST_WAITING = 4
"""Previews that are being made or wait for that."""
LONGEST_LINE = 64 * 1024 * 1024


class Previews:
    """Makes one preview at a time. `where` is the sensor database."""

    def __init__(
        self, asking: Ask, alarm_actions: AlarmActions, where: Database, clock: Clock, *, defaults: bool
    ) -> None:
        self._ask = asking
        self._alarm_actions = alarm_actions
        self._where = where
        self._clock = clock
        self._defaults = defaults
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def preview(self, question: PreviewAlarms, visibility: Visibility) -> Preview:
        """Return which alarms rules would have raised.

        Raises `BadRequest`, `NotFound`, `RateLimited`, `Unavailable`.
        """
        try:
            proposed = rules.read(question.rules)
        except ValueError as error:
            raise BadRequest(str(error), "rules") from None
        check_span(question.start, question.end)
        now = self._clock()
        if question.start >= now:
            raise BadRequest("must lie in the past", "start")
        place = await self._ask.storehouse(question.store_house_id, visibility)
        task = Task(
            store_house_id=place.store_house_id,
            sensors=await self._ask.sensors(place.store_house_id, visibility),
            proposed=proposed,
            in_force=list(await self._alarm_actions.in_force()),
            defaults=self._defaults,
            start=question.start.astimezone(UTC),
            end=min(question.end.astimezone(UTC), now),
            now=now,
        )
        if self._waiting >= MOST_WAITING:
            raise RateLimited("others are being previewed; try again in a minute")
        self._waiting += 1
        try:
            async with asyncio.timeout(ANSWER_S), self._turn:
                made = await self._make(task)
        except TimeoutError:
            raise Unavailable("that takes too long; try a shorter span") from None
        finally:
            self._waiting -= 1
        await self._ask.stays(place.store_house_id, visibility)
        return made

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
            _stdin(self._process).write(msgspec.json.encode(self._where) + b"\n")
        return self._process


def _stdin(process: Process) -> asyncio.StreamWriter:
    assert process.stdin  # noqa: S101 - it is a pipe
    return process.stdin


def _stdout(process: Process) -> asyncio.StreamReader:
    assert process.stdout  # noqa: S101 - it is a pipe
    return process.stdout
