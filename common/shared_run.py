"""Lets concurrent callers share the runs of a job."""

import asyncio
from collections.abc import Awaitable, Callable


class SharedRun:
    """Runs `job` for all its callers. A call returns after a run that started after the call.

    All callers that wait while the job runs share the next run, and also its error. However many clients call, the job
    never runs twice at the same time, and a caller waits for at most two runs.
    """

    def __init__(self, job: Callable[[], Awaitable[object]]) -> None:
        self._job = job
        self._turn = asyncio.Lock()
        self._calls = 0
        self._served_calls = 0
        """Number of the last call that is served by the last run."""
        self._error: Exception | None = None

    async def __call__(self) -> None:
        """Wait for a run of the job that starts after this call. Raise the exception of this run."""
        self._calls += 1
        number = self._calls
        async with self._turn:
            if self._served_calls < number:
                await self._run()
            if self._error is not None:
                raise self._error

    async def _run(self) -> None:
        served, self._error = self._calls, None
        try:
            await self._job()
        except Exception as error:
            self._error = error
        self._served_calls = served
