"""A server of the tests' own: a temporary folder, a free port, nothing shared with what the system runs."""

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


class PrivateServer(ChildProcess):
    """Keeps its port and its data from start to start; `with` starts it and cleans up after it."""

    def __init__(self) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="storewatch-tests-")))
        self.remove_if_abandoned = [self.directory]
        self.port = free_port()

    def cleanup(self) -> None:
        """Stop it where it runs, and remove all it left."""
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
    """The program's path; without it the test is skipped, with a word on how to get it."""
    # The folder of the servers is seldom on a plain user's path.
    path = shutil.which(program, path=os.environ["PATH"] + os.pathsep + "/usr/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed; on Debian or Ubuntu: apt-get install {package}")
    return path


def free_port() -> int:
    """A port for a server that must find it free again when it restarts.

    It lies below those that the system gives to outgoing connections: one of these could take it while the
    server is down, and a client that keeps knocking there may even end up connected to itself.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port
