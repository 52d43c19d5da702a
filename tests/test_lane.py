"""The lane for long questions in the event loop, and the runs that callers share."""

import asyncio
from typing import Any

import pytest

from access.caller import Caller
from access.lane import Lane
from access.user import ANYBODY, User
from common.fair_queue import QueueLimits
from common.shared_run import SharedRun
from errors import RateLimited, Unavailable
from tests.support.serving_inside import until

LIMITS = QueueLimits(places=1, places_per_user=1, waiting_per_user=2)
TELL_S = 0.01


class Questions:
    """Questions in a lane that run until they are told to end."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, int]] = []
        self.started: list[str] = []
        self.lane = Lane(self._tell, LIMITS, TELL_S)
        self._ends: dict[str, asyncio.Event] = {}

    async def _tell(self, sid: str, event: str, position: int) -> None:
        self.told.append((sid, event, position))

    def ask(self, sid: str, user: User = ANYBODY, address: str = "10.0.0.1") -> asyncio.Task[str]:
        """Ask a question over the connection `sid`."""
        self._ends[sid] = asyncio.Event()

        async def work() -> str:
            self.started.append(sid)
            await self._ends[sid].wait()
            return f"answer to {sid}"

        return asyncio.create_task(self.lane.run(Caller(sid, user, address), "queryEnvs", work))

    def end(self, sid: str) -> None:
        """End the running question of the connection `sid`."""
        self._ends[sid].set()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_waiting_client_is_told_each_new_position() -> None:
    questions = Questions()
    tasks = [questions.ask(sid) for sid in ("first", "second", "third")]
    await until(lambda: len(questions.told) == 2)
    assert sorted(questions.told) == [("second", "queryEnvs", 1), ("third", "queryEnvs", 2)]
    questions.end("first")
    await until(lambda: len(questions.told) == 3)
    assert questions.told[2] == ("third", "queryEnvs", 1)
    await asyncio.sleep(5 * TELL_S)  # an unchanged position is not told again
    assert len(questions.told) == 3
    questions.end("second")
    questions.end("third")
    assert await asyncio.gather(*tasks) == [f"answer to {sid}" for sid in ("first", "second", "third")]


@pytest.mark.parametrize("same", ["user", "address"])
async def test_connections_of_one_user_or_address_share_the_limits(same: str) -> None:
    def user(name: str) -> User:
        return User(name, "watch") if same == "user" else ANYBODY

    def address(name: str) -> str:
        return "10.0.0.1" if same == "user" else name

    questions = Questions()
    tasks = [questions.ask(f"greedy {number}", user("greedy"), address("greedy")) for number in range(3)]
    await settled()
    with pytest.raises(RateLimited) as refused:
        await questions.ask("one more", user("greedy"), address("greedy"))
    assert refused.value.params["reason"] == "too_many_waiting"
    tasks.append(questions.ask("other", user("other"), address("other")))
    await settled()
    for sid in ("greedy 0", "greedy 1"):
        questions.end(sid)
        await settled()
    assert questions.started == ["greedy 0", "greedy 1", "other"]
    for task in tasks:
        task.cancel()


async def test_dropped_questions_do_not_run() -> None:
    questions = Questions()
    running, dropped, kept = (questions.ask(sid) for sid in ("running", "dropped", "kept"))
    await settled()
    questions.lane.drop("running")  # it already runs, so it is answered
    questions.lane.drop("dropped")
    with pytest.raises(Unavailable) as refused:
        await dropped
    assert refused.value.params["reason"] == "permissions_changed"
    questions.end("running")
    questions.end("kept")
    assert await running == "answer to running"
    assert await kept == "answer to kept"
    assert questions.started == ["running", "kept"]


@pytest.mark.parametrize("end", ["cancelled", "failed"])
async def test_a_question_that_fails_frees_its_place(end: str) -> None:
    questions = Questions()

    async def failing() -> None:
        await asyncio.sleep(0)
        raise Unavailable("the database does not answer")

    first: asyncio.Task[Any]
    if end == "failed":
        first = asyncio.create_task(questions.lane.run(Caller("first", ANYBODY, "a"), "queryEnvs", failing))
    else:
        first = questions.ask("first")
        await settled()
        first.cancel()
    second = questions.ask("second")
    with pytest.raises((Unavailable, asyncio.CancelledError)):
        await first
    questions.end("second")
    assert await second == "answer to second"


class Job:
    """A job that counts its runs and lasts until it is told to end."""

    def __init__(self) -> None:
        self.runs = 0
        self.error: Exception | None = None
        self.end = asyncio.Event()

    async def __call__(self) -> None:
        self.runs += 1
        await self.end.wait()
        if self.error is not None:
            raise self.error


async def calls(job: Job, number: int, shared: SharedRun) -> list[asyncio.Task[None]]:
    """Call the shared job once, and `number` times more while it runs."""
    tasks = [asyncio.create_task(shared())]
    await until(lambda: job.runs == 1)
    tasks += [asyncio.create_task(shared()) for _ in range(number)]
    await settled()
    return tasks


async def test_callers_during_a_run_share_the_next_run() -> None:
    job = Job()
    tasks = await calls(job, 5, SharedRun(job))
    assert job.runs == 1
    job.end.set()
    await asyncio.gather(*tasks)
    assert job.runs == 2


async def test_callers_share_the_error_of_their_run_only() -> None:
    job = Job()
    shared = SharedRun(job)
    tasks = await calls(job, 5, shared)
    job.error = Unavailable("the database does not answer")
    job.end.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results == [job.error] * 6
    assert job.runs == 2
    job.error = None
    await shared()
    assert job.runs == 3


async def test_a_cancelled_caller_does_not_stop_the_others() -> None:
    job = Job()
    first, *others = await calls(job, 2, SharedRun(job))
    first.cancel()
    job.end.set()
    await asyncio.gather(*others)
    with pytest.raises(asyncio.CancelledError):
        await first
