"""A private Redis server for the tests."""

import socket
from typing import Any
from urllib.parse import quote

from tests.support import planted
from tests.support.services.private import HOST, PrivateServer, require
from tests.support.services.process import WITHSTANDING

PASSWORD = planted.secret("redis")


class Redis(PrivateServer):
    """A Redis server whose data survive a kill.

    It writes each command to the append-only file before it answers the command.
    """

    def __init__(self) -> None:
        self.program = require("redis-server", "redis-server")
        super().__init__()

    def execute(self, command: str) -> str:
        """Send one command, such as `GET name`.

        Return the lines of the reply in the format of Redis's protocol, such as `$5` and then `value`.
        """
        with socket.create_connection((HOST, self.port), timeout=2) as connection:
            connection.sendall(f"AUTH {PASSWORD}\r\n{command}\r\nQUIT\r\n".encode())
            reply = b"".join(iter(lambda: connection.recv(4096), b""))
        return reply.decode().removeprefix("+OK\r\n").removesuffix("+OK\r\n").strip()

    def take_connections(self) -> socket.socket:
        """Disconnect all clients and refuse new clients until `give_connections_back` is called."""
        held = socket.create_connection((HOST, self.port), timeout=2)
        kill = ("CLIENT KILL TYPE pubsub", "CLIENT KILL TYPE normal SKIPME yes")
        _say(held, f"AUTH {PASSWORD}", "CONFIG SET maxclients 1", *kill)
        return held

    def give_connections_back(self, held: socket.socket) -> None:
        """Accept new clients again after `take_connections`."""
        _say(held, "CONFIG SET maxclients 10000")
        held.close()

    def settings(self) -> dict[str, Any]:
        """Return the `redis` settings for this server."""
        return {"host": HOST, "port": self.port, "password": PASSWORD}

    def url(self) -> str:
        """Return the server's address and password as a URL."""
        return f"redis://:{quote(PASSWORD, safe='')}@{HOST}:{self.port}/0"

    def command(self) -> list[str]:
        options = {
            "bind": HOST,
            "port": self.port,
            "requirepass": PASSWORD,
            "dir": self.directory,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "no",
        }
        words = (word for key, value in options.items() for word in (f"--{key}", str(value)))
        return [*WITHSTANDING, self.program, *words]

    def is_ready(self) -> bool:
        try:
            return self.execute("PING") == "+PONG"
        except OSError:
            return False


def _say(connection: socket.socket, *commands: str) -> None:
    """Send commands whose reply is one line each. Assert that no reply is an error."""
    connection.sendall("".join(f"{command}\r\n" for command in commands).encode())
    reply = b""
    while reply.count(b"\r\n") < len(commands):
        reply += connection.recv(4096)
    assert not any(line.startswith(b"-") for line in reply.splitlines()), reply
