"""The measured servers. Functions start the servers and their clients in separate processes."""

import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import message
from bench.child import ROOT, Child, DidNotKeepUp, Failed

BENCH = ROOT / "bench"
SERVER_CORE, LOAD_CORE = 0, -1
QUIET_S = 3600
"""Ping interval of all servers, in seconds. It is so long that no server sends a ping during a measurement."""
SPARE_FILES = 100
SETTLE_S = 0.05
"""Time after the last message during which CPU time is still measured, in seconds.

The measurement then includes the server's cleanup after the push.
"""
QUIET_MS = 2000
"""The wait for messages ends after this number of milliseconds without a message.

The number is large because a slow server writes nothing until it has queued the whole push.
"""
AT_ONCE = 50
"""Maximum number of clients that are in their handshake at the same time."""


@dataclass(frozen=True)
class Peer:
    """A server to measure. If `plain` is true, the server uses websockets without Socket.IO."""

    name: str
    label: str
    arguments: tuple[str, ...]
    plain: bool = False
    warm_up: int = 5
    """Number of pushes that the server sends before the measurement."""
    required: bool = False
    """Whether the benchmark fails if this server does not keep up. True only for Storewatch."""
    day_time: bool = False
    """Whether the messages contain wall-clock times. If false, they contain times of the monotonic clock."""


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module of the package `bench`."""
    return (sys.executable, "-m", f"bench.{module}", *arguments)


STOREWATCH = Peer(
    "storewatch", "Storewatch", python("storewatch_server", "{ping}", "{folder}"), required=True, day_time=True
)
PATIENT = Peer(
    "patient", "Storewatch", python("storewatch_server", "{ping}", "{folder}", "patient"), required=True, day_time=True
)
LIBRARY = Peer(
    "library",
    "Storewatch, library's push code",
    python("storewatch_server", "{ping}", "{folder}", "library"),
    day_time=True,
)
EACH = Peer("each", "python-socketio, one emit each", python("peer_server", "each", "{ping}", "{message}", "{answer}"))
ROOM = Peer("room", "python-socketio, room", python("peer_server", "room", "{ping}", "{message}", "{answer}"))
UVICORN = Peer(
    "uvicorn", "python-socketio on uvicorn", python("peer_server", "uvicorn", "{ping}", "{message}", "{answer}")
)
WEBSOCKETS = Peer(
    "websockets",
    "Tornado websockets",
    python("peer_server", "websockets", "{ping}", "{message}", "{answer}"),
    plain=True,
)
NODE = Peer("node", "Node socket.io", ("node", "bench/node/server.mjs", "{ping}", "{message}", "{answer}"), warm_up=100)
FLOOR = Peer("floor", "C loop", ("{folder}/floor", "{message}"), plain=True)

ALL = (STOREWATCH, LIBRARY, EACH, ROOM, UVICORN, WEBSOCKETS, NODE, FLOOR)


@dataclass(frozen=True)
class Turn:
    """The results of one turn, which is one measurement of one server.

    `cpu_us` is the CPU time of the server for each message that arrived, in microseconds. `seconds` is the time from
    the push command to the arrival of the last message.
    """

    cpu_us: float
    messages: int
    seconds: float
    bytes_each: float
    p50_us: float
    p99_us: float


class Target:
    """A running server, and the load generator that connects clients to it."""

    def __init__(self, peer: Peer, server: Child, load: Child, port: int) -> None:
        self.peer = peer
        self.server = server
        self.load = load
        self.port = port
        self.clients = 0

    def connect(self, clients: int, rooms: int = 1) -> None:
        """Connect `clients` more clients. Raise `DidNotKeepUp` if the server does not accept these clients in time.

        If `rooms` is not 0, each client registers for one of the first `rooms` storehouses.
        """
        try:
            self.clients = self.load.ask(f"connect {clients} {AT_ONCE} {rooms}")["connected"]
        except Failed as error:
            raise DidNotKeepUp(f"{self.peer.label}: {error}") from None

    def push(self, rounds: int, gap_ms: int) -> Turn:
        """Push to all clients `rounds` times. Return the results.

        Raise `DidNotKeepUp` if more than half of the messages are lost, or if a connection is closed.
        """
        self.load.ask("reset")
        start = time.monotonic_ns()
        before = self.server.cpu_ns()
        self.load.tell(f"await {rounds * self.clients} {QUIET_MS + gap_ms}")
        self.server.ask(f"push {rounds} {gap_ms}")
        came = self.load.hear()
        time.sleep(SETTLE_S)
        used = self.server.cpu_ns() - before
        if came["messages"] < 0.5 * rounds * self.clients or came["closed"]:
            raise DidNotKeepUp(
                f"{self.peer.label}: lost messages or connections; expected {rounds * self.clients} messages: {came}"
            )
        return Turn(
            used / came["messages"] / 1000,
            came["messages"],
            (came["last_ns"] - start) / 1e9,
            came["bytes"] / came["messages"],
            came["p50_us"],
            came["p99_us"],
        )

    def stop(self) -> None:
        """Stop the server and its load generator, so that they use no CPU time during other measurements."""
        self.server.kill()
        self.load.kill()


class Workspace:
    """A temporary folder in which the benchmark builds and starts its programs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def build(self) -> None:
        """Compile the load generator and the comparison server in C, and install the Node server.

        Raise `Failed` if one of these steps fails.
        """
        compiler = shutil.which("cc") or shutil.which("gcc")
        npm = shutil.which("npm")
        if compiler is None or npm is None:
            raise Failed("the bench needs a C compiler and npm; on Debian or Ubuntu: apt-get install gcc libc6-dev npm")
        for name in ("load", "floor"):
            _run([compiler, "-O2", "-Wall", "-o", str(self.folder / name), str(BENCH / f"{name}.c")])
        _run([npm, "ci", "--ignore-scripts", "--no-fund", "--no-audit", "--loglevel=error"], BENCH / "node")
        (self.folder / "message.json").write_bytes(message.text())
        (self.folder / "answer.json").write_bytes(message.organisations())

    @contextmanager
    def target(self, peer: Peer, clients: int = 0, rooms: int = 1, ping_s: int = QUIET_S) -> Iterator[Target]:
        """Run a server with connected clients during the block."""
        values = {
            "ping": ping_s,
            "message": self.folder / "message.json",
            "answer": self.folder / "answer.json",
            "folder": self.folder,
        }
        command = [argument.format(**values) for argument in peer.arguments]
        with Child(command, self.folder, SERVER_CORE) as server:
            port = server.hear()["port"]
            options = [*([] if peer.day_time else ["monotonic"]), *(["plain"] if peer.plain else [])]
            with self.load(port, *options) as load:
                target = Target(peer, server, load, port)
                if clients:
                    target.connect(clients, rooms)
                yield target

    def load(self, port: int, *options: str) -> Child:
        """Start a load generator for the server on this port."""
        return Child([str(self.folder / "load"), str(port), *options], self.folder, LOAD_CORE)


def _run(command: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stdout}{done.stderr}")


def allow_files(wanted: int) -> None:
    """Raise the limit of open files to its maximum.

    Raise `Failed` if the maximum is too low for `wanted` connections.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most != resource.RLIM_INFINITY and most < wanted + SPARE_FILES:
        raise Failed(f"a process may open only {most} files but needs {wanted + SPARE_FILES}: raise `ulimit -Hn`")
