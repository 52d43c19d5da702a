"""A private MariaDB server for the tests."""

import os
import subprocess
from typing import Any, Self

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from tests.support import planted
from tests.support.services.private import HOST, PrivateServer, require
from tests.support.services.process import WITHSTANDING

PACKAGE = "mariadb-server-core mariadb-client-core"
USER = "storewatch"
PASSWORD = planted.secret("mariadb")


class MariaDB(PrivateServer):
    """A MariaDB server that starts in under a second. Its user may access only databases from `create_database`."""

    def __init__(self) -> None:
        self.install_program = require("mariadb-install-db", PACKAGE)
        self.server_program = require("mariadbd", PACKAGE)
        super().__init__()
        self.data = self.directory / "data"

    def start(self) -> Self:
        """Start the server. The first start also creates the system tables and the user of the server."""
        if self.data.exists():
            return super().start()
        self._install()
        super().start()
        self.execute(f"CREATE USER {USER}@'{HOST}' IDENTIFIED BY %s", PASSWORD)
        return self

    def create_database(self, name: str) -> None:
        """Create an empty database in which the user has all privileges."""
        self.execute(f"CREATE DATABASE `{name}`")
        self.execute(f"GRANT ALL ON `{name}`.* TO {USER}@'{HOST}'")

    def execute(self, sql: str, *parameters: object, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run and commit one statement as root. Return its rows."""
        with self._connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall())

    def settings(self, name: str) -> dict[str, Any]:
        """Return the `database` settings for the database of this name."""
        return {
            "kind": "mysql",
            "host": HOST,
            "port": self.port,
            "user": USER,
            "password": PASSWORD,
            "name": name,
        }

    def command(self) -> list[str]:
        return [
            *WITHSTANDING,
            self.server_program,
            *self._common_options(),
            f"--bind-address={HOST}",
            f"--port={self.port}",
            f"--socket={self.directory}/socket",
            f"--pid-file={self.directory}/pid",
            "--character-set-server=utf8mb4",
            # With this setting, committed data survive a kill of the process, but not a crash of the machine.
            "--innodb-flush-log-at-trx-commit=2",
            "--performance-schema=OFF",
        ]

    def is_ready(self) -> bool:
        try:
            self._connect().close()
        except pymysql.err.OperationalError:
            return False
        return True

    def _install(self) -> None:
        options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        command = [self.install_program, *self._common_options(), *options]
        subprocess.run(command, check=True, capture_output=True)

    def _common_options(self) -> list[str]:
        return [
            "--no-defaults",  # must be the first option
            *(["--user=root"] if os.geteuid() == 0 else []),
            f"--datadir={self.data}",
            # A server deletes temporary files at its start. In the system's folder, they could belong to other servers.
            f"--tmpdir={self.directory}",
            "--skip-name-resolve",
            "--innodb-log-file-size=8M",
            "--innodb-buffer-pool-size=32M",
        ]

    def _connect(self, database: str | None = None) -> "Connection[Cursor]":
        return pymysql.connect(
            host=HOST, port=self.port, user="root", database=database, autocommit=True, read_timeout=30
        )
