"""A private server for the tests, with its own temporary folder and port. It shares nothing with system services."""

import os
import random
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Self

import pytest

from tests.support.services.process import ChildProcess

HOST = "127.0.0.1"

may_start = True
"""Whether this run includes the tests that need services. `tests.support.marks` sets this variable."""


class PrivateServer(ChildProcess):
    """A server that keeps its port and its data across restarts.

    A `with` block starts the server. At the end of the block, the server is stopped and its folder is removed.
    """

    def __init__(self) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="storewatch-tests-")))
        self.remove_if_abandoned = [self.directory]
        self.port = free_port()

    def cleanup(self) -> None:
        """Stop the server if it is running. Remove the folder of the server."""
        try:
            if self.started:
                self.stop()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.cleanup()
            raise

    def __exit__(self, *_: object) -> None:
        self.cleanup()


def require(program: str, package: str) -> str:
    """Return the path of a program. If the program is missing, skip the test and name the package to install."""
    if not may_start:
        pytest.fail(f"This test starts {program}. Mark it with @pytest.mark.services.")
    # `/usr/sbin` contains the servers, but is often not on the path of ordinary users.
    path = shutil.which(program, path=os.environ["PATH"] + os.pathsep + "/usr/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed. On Debian or Ubuntu: apt-get install {package}")
    return path


def free_port() -> int:
    """Return a free port for a server that may restart.

    The port is below the range that the system uses for outgoing connections. Otherwise an outgoing connection could
    take the port while the server is down. A client that retries could even connect to itself.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port
