"""A child process that tests can stop, kill and freeze. It ends when the test process ends."""

import resource
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Protocol, Self

START_LIMIT = 30.0  # seconds; long enough for a slow machine, although a start rarely takes more than 1 s
STOP_LIMIT = 20.0  # seconds
POLL = 0.02  # seconds

# With this prefix of a command, a write beyond the file size limit fails with an error, as on a full disk, instead of
# ending the process with a signal.
WITHSTANDING = ["sh", "-c", 'trap "" XFSZ; exec "$@"', "sh"]


class DidNotStart(Exception):
    """The process ended during its start, or was not ready in time. In the second case, `exit_code` is None."""

    def __init__(self, exit_code: int | None, log: str) -> None:
        super().__init__(f"exit code {exit_code}:\n{log}")
        self.exit_code = exit_code
        self.log = log


class Child(Protocol):
    """The part of `subprocess.Popen` that `ChildProcess` needs."""

    @property
    def pid(self) -> int:
        """Id of the process."""

    def poll(self) -> int | None:
        """Return the exit code. Return None while the process runs."""

    def wait(self, timeout: float) -> int:
        """Wait until the process ends. Return its exit code."""

    def send_signal(self, number: int) -> None:
        """Send a signal to the process."""

    def kill(self) -> None:
        """Kill the process."""

    def communicate(self) -> object:
        """Wait until the process ends."""


class ChildProcess(ABC):
    """A program that can be started several times. Its output goes to files in `directory`."""

    def __init__(self, directory: Path, cwd: Path | None = None, environment: dict[str, str] | None = None):
        self.directory = directory
        self.cwd = cwd or directory
        self.environment = environment
        self.remove_if_abandoned: list[Path] = []
        self._child: Child | None = None
        self._leash: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program and its arguments. `start` calls this method at each start."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether the process is ready to serve."""

    @property
    def started(self) -> bool:
        """Whether the process was started and has not been stopped since.

        The value stays true if the process ends by itself.
        """
        return self._child is not None

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> Self:
        """Start the process and wait until it is ready. Raise `DidNotStart` if the process is not ready in time."""
        assert self._child is None, "already started"
        # The output goes to files, because a full pipe would block the process.
        with self._file("stdout").open("wb") as out, self._file("stderr").open("ab") as err:
            self._child = self._spawn(out, err)
        self._leash = leash(self.pid, self.remove_if_abandoned)
        self._wait_until_ready()
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait until the process ends. Return the exit code.

        The exit code is negative if a signal ended the process.
        """
        self.thaw()
        return self._end(number)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Pause the process. The operating system still accepts connections, but the process does not answer."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume a frozen process."""
        self._running().send_signal(signal.SIGCONT)

    def limit_files(self, size: int = resource.RLIM_INFINITY) -> None:
        """Limit the size, in bytes, of each file that the process writes. Without an argument, remove the limit."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def output(self) -> str:
        """Return what the process has written to stdout since its last start."""
        return self._file("stdout").read_text(errors="replace")

    def log(self) -> str:
        """Return what the process has written to stderr in all runs."""
        return self._file("stderr").read_text(errors="replace")

    def _file(self, stream: str) -> Path:
        return self.directory / f"{stream}.log"

    def _spawn(self, out: IO[bytes], err: IO[bytes]) -> Child:
        return subprocess.Popen(
            self.command(),
            cwd=self.cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,  # so that Ctrl-C reaches only the test process, which then stops this process
        )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_LIMIT
        while not self.is_ready():
            exit_code = self._running().poll()
            if exit_code is not None or time.monotonic() > deadline:
                self._forget()
                raise DidNotStart(exit_code, self.log())
            time.sleep(POLL)

    def _running(self) -> Child:
        assert self._child is not None, "not started"
        return self._child

    def _end(self, number: signal.Signals) -> int:
        child = self._running()
        child.send_signal(number)
        try:
            return child.wait(STOP_LIMIT)
        finally:
            self._forget()

    def _forget(self) -> None:
        for process in (self._leash, self._child):
            if process is not None:
                process.kill()
                process.communicate()
        self._child = self._leash = None


def leash(pid: int, folders: list[Path]) -> subprocess.Popen[bytes]:
    """Start a watcher process, which kills the process `pid` and its children if the test process dies.

    The watcher then also removes `folders`. The watcher reads from a pipe, which the system closes when the test
    process ends. PR_SET_PDEATHSIG is not suitable: it would kill the process `pid` as soon as the *thread* that started
    the process ends.
    """
    script = 'cat; kill -9 "-$0"; rm -rf "$@"'
    return subprocess.Popen(
        ["sh", "-c", script, str(pid), *map(str, folders)], stdin=subprocess.PIPE, start_new_session=True
    )
