"""Child processes: told what to do in lines, and how much of the machine each of them used."""

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
    """A child process ended, or did not answer."""


class DidNotKeepUp(Failed):
    """A measured server is too slow for what is asked of it on this machine."""


def process_tree(pid: int) -> list[int]:
    """Return the ids of a process and of all its descendants, such as the workers of nginx."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has ended meanwhile
                # The name before it is in brackets, and may hold anything.
                parent = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(folder.name))
    tree = [pid]
    for member in tree:
        tree += parents.get(member, [])
    return tree


def cpu_ns(pid: int) -> int:
    """Return the CPU time that all threads of a process have used, in nanoseconds."""
    clock = ctypes.c_int()
    error = _libc.clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise Failed(f"process {pid} is gone: {os.strerror(error)}")
    return time.clock_gettime_ns(clock.value)


def tree_cpu_ns(pid: int) -> int:
    """Return the CPU time that a process and all its descendants have used, in nanoseconds."""
    used = cpu_ns(pid)
    for descendant in process_tree(pid)[1:]:
        with suppress(Failed):  # it has ended meanwhile
            used += cpu_ns(descendant)
    return used


def memory_bytes(pid: int) -> int:
    """Return the memory of its own that a process has in use, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:"))
    return int(kilobytes) * 1024


def files(pid: int) -> int:
    """Return how many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


class Child:
    """A process that answers each line on its stdin with one line of JSON; it ends with the block it is used in.

    It runs on the `core` of that number, counted from the end if negative.
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
        """Its process id."""
        return self._process.pid

    def tell(self, line: str) -> None:
        """Send a command, and leave its answer for `hear`."""
        try:
            self._in.write(f"{line}\n".encode())
        except BrokenPipeError:
            raise Failed(self._last_words()) from None

    def hear(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return its next answer; raises `Failed`."""
        if not self._answers.select(patience_s):
            raise DidNotKeepUp(f"no answer within {patience_s:g} s: {self._last_words()}")
        line = self._out.readline()
        if not line:
            raise Failed(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, line: str) -> dict[str, Any]:
        """Send a command and return its answer; raises `Failed`."""
        self.tell(line)
        return self.hear()

    def cpu_ns(self) -> int:
        """Return the CPU time it has used so far."""
        return cpu_ns(self.pid)

    def _last_words(self) -> str:
        words = self._log.read_text(errors="replace").strip().splitlines()[-5:]
        return f"{self._process.args!r}: {' / '.join(words) or 'no word'}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End the process; once it has ended, there is nothing more to do."""
        # No graceful end: a server takes its time to say goodbye to thousands.
        self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()
        self._answers.close()


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Have the processes started within the block run on one core only, all their threads."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(ours)[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


def environment() -> dict[str, str]:
    """Return ours without what would override the settings."""
    return {key: value for key, value in os.environ.items() if not key.startswith("STOREWATCH_")}
