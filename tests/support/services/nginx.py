"""A private nginx that uses the shipped configuration `deploy/nginx.conf`."""

import os
import re
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from tests.support.services.private import HOST, PrivateServer, require

SHIPPED = Path(__file__).parents[3] / "deploy" / "nginx.conf"

# The main configuration, which normally comes with the system's package. All files are in a private folder.
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
    """A reverse proxy to the servers at the given ports. The servers need not run yet.

    `connections` is the limit of connections. Each browser needs two connections.
    """

    def __init__(self, ports: Sequence[int], connections: int = 512) -> None:
        self.program = require("nginx", "nginx-light")
        super().__init__()
        self.url = f"http://{HOST}:{self.port}/"
        self.config = self.directory / "nginx.conf"
        site = shipped(self.port, ports)
        user = "user root;" if os.geteuid() == 0 else ""  # root owns the folder
        around = AROUND.format(directory=self.directory, connections=connections, site=site, user=user)
        self.config.write_text(around)

    def command(self) -> list[str]:
        return [self.program, "-e", "stderr", "-p", str(self.directory), "-c", str(self.config)]

    def reload(self) -> None:
        """Reload the configuration. A new worker accepts new connections, and the old worker keeps existing ones."""
        self._running().send_signal(signal.SIGHUP)

    def is_ready(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=2).close()
        except OSError:
            return False
        return True


def shipped(port: int, servers: Sequence[int]) -> str:
    """Return the shipped nginx configuration, changed to listen on `port`.

    The configuration has one `server` line for each port in `servers`.
    """
    site, count = re.subn(r"(?<=listen )80;", f"{HOST}:{port};", SHIPPED.read_text())
    assert count == 1, "there must be exactly one listen directive"
    line = r"( +server 127\.0\.0\.1:)\d+( .*\n)"
    site, count = re.subn(
        f"(?:{line})+", lambda match: "".join(f"{match[1]}{server}{match[2]}" for server in servers), site
    )
    assert count == 1, "all server lines must be together"
    return site
