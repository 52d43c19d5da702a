"""Child processes that receive commands as lines, and functions for the CPU time, memory and files of a process."""

import ctypes
import json
import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, cast

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 180.0

_libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A child process ended or did not answer, or a measurement failed."""


class DidNotKeepUp(Failed):
    """A measured server is too slow for the load on this machine."""


def process_tree(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants, such as the workers of nginx."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # the process has ended meanwhile
                # The process name, which precedes the parent id, is in brackets and may contain any character.
                parent = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(folder.name))
    tree = [pid]
    for member in tree:
        tree += parents.get(member, [])
    return tree


def cpu_ns(pid: int) -> int:
    """Return the CPU time of all threads of a process, in nanoseconds."""
    clock = ctypes.c_int()
    error = _libc.clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise Failed(f"process {pid} is gone: {os.strerror(error)}")
    return time.clock_gettime_ns(clock.value)


def tree_cpu_ns(pid: int) -> int:
    """Return the CPU time of a process and all its descendants, in nanoseconds."""
    used = cpu_ns(pid)
    for descendant in process_tree(pid)[1:]:
        with suppress(Failed):  # the process has ended meanwhile
            used += cpu_ns(descendant)
    return used


def memory_bytes(pid: int) -> int:
    """Return the resident private memory of a process (`RssAnon`), in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:"))
    return int(kilobytes) * 1024


def files(pid: int) -> int:
    """Return the number of open files and sockets of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


class Child:
    """A process that answers each line on its stdin with one line of JSON. It is killed at the end of a `with` block.

    The process runs on one core. `core` is an index into the list of available cores. A negative index counts from the
    end.
    """

    def __init__(self, command: Sequence[str], folder: Path, core: int) -> None:
        self._log = folder / f"{time.monotonic_ns()}.log"
        pipe = subprocess.PIPE
        with self._log.open("wb") as errors, _on_core(core):
            self._process = subprocess.Popen(  # noqa: S603 - a server of the bench
                command, bufsize=0, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=errors, env=environment()
            )
        self._answers = selectors.DefaultSelector()
        self._in = cast(Any, self._process.stdin)
        self._out = cast(Any, self._process.stdout)
        self._answers.register(self._out, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def tell(self, line: str) -> None:
        """Send a command without waiting for the answer. The next call of `hear` returns the answer."""
        try:
            self._in.write(f"{line}\n".encode())
        except BrokenPipeError:
            raise Failed(self._last_words()) from None

    def hear(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return the next answer of the process.

        Raise `Failed` if the process ended. Raise `DidNotKeepUp` if the process does not answer in time.
        """
        if not self._answers.select(patience_s):
            raise DidNotKeepUp(f"no answer within {patience_s:g} s: {self._last_words()}")
        line = self._out.readline()
        if not line:
            raise Failed(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, line: str) -> dict[str, Any]:
        """Send a command and return the answer. Raise the same errors as `hear`."""
        self.tell(line)
        return self.hear()

    def cpu_ns(self) -> int:
        """Return the CPU time that the process has used so far, in nanoseconds."""
        return cpu_ns(self.pid)

    def _last_words(self) -> str:
        words = self._log.read_text(errors="replace").strip().splitlines()[-5:]
        return f"{self._process.args!r}: {' / '.join(words) or 'no output on stderr'}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Kill the process. Do nothing if the process has already ended."""
        # SIGKILL, because a server needs a long time to disconnect thousands of clients properly.
        self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()
        self._answers.close()


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Pin every process that is started within the block to one core, with all its threads."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(ours)[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


def environment() -> dict[str, str]:
    """Return the environment variables of this process, without those that override Storewatch's settings."""
    return {key: value for key, value in os.environ.items() if not key.startswith("STOREWATCH_")}
