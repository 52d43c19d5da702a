"""A private nginx, with the site that we ship."""

import os
import re
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from tests.support.services.private import HOST, PrivateServer, require

SHIPPED = Path(__file__).parents[3] / "deploy" / "nginx.conf"

# What the system's own configuration says around the site; here all it writes is in a folder of ours.
AROUND = """\
daemon off;
{user}
pid {directory}/pid;
error_log stderr;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {site}
}}
"""


class Nginx(PrivateServer):
    """Brings browsers to the servers at these ports, which need not be there yet.

    Each browser takes two of its `connections`.
    """

    def __init__(self, ports: Sequence[int], connections: int = 512) -> None:
        self.program = require("nginx", "nginx-light")
        super().__init__()
        self.url = f"http://{HOST}:{self.port}/"
        self.config = self.directory / "nginx.conf"
        site = shipped(self.port, ports)
        user = "user root;" if os.geteuid() == 0 else ""  # it is who the folder belongs to
        around = AROUND.format(directory=self.directory, connections=connections, site=site, user=user)
        self.config.write_text(around)

    def command(self) -> list[str]:
        return [self.program, "-e", "stderr", "-p", str(self.directory), "-c", str(self.config)]

    def reload(self) -> None:
        """Have it read its configuration again: a new worker takes what comes, the old one keeps what it has."""
        self._running().send_signal(signal.SIGHUP)

    def is_ready(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=2).close()
        except OSError:
            return False
        return True


def shipped(port: int, servers: Sequence[int]) -> str:
    """Our site as it stands, but for the ports; a line for each server."""
    site, count = re.subn(r"(?<=listen )80;", f"{HOST}:{port};", SHIPPED.read_text())
    assert count == 1, "it listens once"
    line = r"( +server 127\.0\.0\.1:)\d+( .*\n)"
    site, count = re.subn(
        f"(?:{line})+", lambda match: "".join(f"{match[1]}{server}{match[2]}" for server in servers), site
    )
    assert count == 1, "its servers stand together"
    return site
