"""A child process that can be stopped, killed and frozen, and that never outlives the tests."""

import resource
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Self

START_LIMIT = 30.0  # seconds, for a slow machine: a start seldom takes more than one
STOP_LIMIT = 20.0  # seconds
POLL = 0.02  # seconds

# Before a command: what writes past the limit on its files then gets an error, as on a full disk, and not a signal.
WITHSTANDING = ["sh", "-c", 'trap "" XFSZ; exec "$@"', "sh"]


class DidNotStart(Exception):
    """The process ended (exit code None: it did not, but was not ready in time either)."""

    def __init__(self, exit_code: int | None, log: str) -> None:
        super().__init__(f"exit code {exit_code}:\n{log}")
        self.exit_code = exit_code
        self.log = log


class ChildProcess(ABC):
    """One program, run again and again if need be, its output in files in a folder of its own."""

    def __init__(self, directory: Path, cwd: Path | None = None, environment: dict[str, str] | None = None):
        self.directory = directory
        self.cwd = cwd or directory
        self.environment = environment
        self.remove_if_abandoned: list[Path] = []
        self._child: subprocess.Popen[bytes] | None = None
        self._leash: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments, asked for at each start."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers."""

    @property
    def started(self) -> bool:
        """Whether it is ours to stop; it may have ended by itself."""
        return self._child is not None

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> Self:
        """Start it and wait until it answers; raises DidNotStart."""
        assert self._child is None, "already started"
        # Files, not pipes: nobody has to read them for the process to go on.
        with self._file("stdout").open("wb") as out, self._file("stderr").open("ab") as err:
            self._child = self._spawn(out, err)
        self._leash = leash(self.pid, self.remove_if_abandoned)
        self._wait_until_ready()
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and wait; its exit code, negative for a signal."""
        self.thaw()
        return self._end(number)

    def kill(self) -> None:
        """End it without a chance to put anything in order."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """From now on connections still open, as the system does that for it, but nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it was frozen."""
        self._running().send_signal(signal.SIGCONT)

    def limit_files(self, size: int = resource.RLIM_INFINITY) -> None:
        """From now on none of its files can grow beyond so many bytes."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def output(self) -> str:
        """What it wrote to stdout since its last start."""
        return self._file("stdout").read_text(errors="replace")

    def log(self) -> str:
        """What it wrote to stderr, earlier runs included."""
        return self._file("stderr").read_text(errors="replace")

    def _file(self, stream: str) -> Path:
        return self.directory / f"{stream}.log"

    def _spawn(self, out: IO[bytes], err: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(),
            cwd=self.cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,  # a Ctrl-C is for the tests; they end this in its turn
        )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_LIMIT
        while not self.is_ready():
            exit_code = self._running().poll()
            if exit_code is not None or time.monotonic() > deadline:
                self._forget()
                raise DidNotStart(exit_code, self.log())
            time.sleep(POLL)

    def _running(self) -> subprocess.Popen[bytes]:
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
    """A watcher that ends the process with its children, and removes the folders, when we die without having done so.

    It waits on a pipe that the system closes with us. The kernel's own way (PR_SET_PDEATHSIG) would end the
    process as soon as the *thread* that started it is gone.
    """
    script = 'cat; kill -9 "-$0"; rm -rf "$@"'
    return subprocess.Popen(
        ["sh", "-c", script, str(pid), *map(str, folders)], stdin=subprocess.PIPE, start_new_session=True
    )
