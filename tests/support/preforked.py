"""Starts servers by forking a process that has already imported the server.

The imports take about 1 s of CPU time, and the tests start several hundred servers. The forked process calls the
function `main` of `main.py` with the arguments that the command `python main.py` would get. Tests of the command
itself, and benchmarks, start `python main.py` instead.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import IO

PRELOADED = ["main", "tests.support.preforked"]


class ForkedProcess:
    """A forked process with the methods of `subprocess.Popen` that `ChildProcess` uses."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Id of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, negative if a signal ended the process. Return None while the process runs."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Wait until the process ends. Return its exit code. Raise `subprocess.TimeoutExpired` if it takes too long."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("main.py", timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    def communicate(self) -> None:
        """Wait until the process ends."""
        self._process.join()


def start(
    arguments: list[str], cwd: Path, environment: dict[str, str], out: IO[bytes], err: IO[bytes]
) -> ForkedProcess:
    """Run `main.py ARGUMENTS` in a forked process. Its stdout goes to the file `out` and its stderr to `err`."""
    process = context().Process(target=_run, args=(arguments, str(cwd), environment, out.name, err.name))
    process.start()
    return ForkedProcess(process)


def run(arguments: list[str], cwd: Path, environment: dict[str, str], timeout_s: float) -> tuple[int, str, str]:
    """Run `main.py ARGUMENTS` in a fork until it ends. Return the exit code, stdout and stderr."""
    with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
        process = start(arguments, cwd, environment, out, err)
        try:
            status = process.wait(timeout_s)
        finally:
            process.kill()
        return status, Path(out.name).read_text(), Path(err.name).read_text()


def context() -> ForkServerContext:
    """Return a context whose processes are forked from the process that has imported the server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _run(arguments: list[str], cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    """Set the session, folder, environment and output as for a new `python main.py`. Run `main` and never return."""
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), stream.fileno())
    import main  # imported here, because the test process does not need it

    main.leave(main.main(arguments))
