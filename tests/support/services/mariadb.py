"""A private MariaDB."""

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
    """Started in under a second, with a user that may use the databases made here and nothing else."""

    def __init__(self) -> None:
        self.install_program = require("mariadb-install-db", PACKAGE)
        self.server_program = require("mariadbd", PACKAGE)
        super().__init__()
        self.data = self.directory / "data"

    def start(self) -> Self:
        """Start it, with tables of its own and our user when it is for the first time."""
        if self.data.exists():
            return super().start()
        self._install()
        super().start()
        self.execute(f"CREATE USER {USER}@'{HOST}' IDENTIFIED BY %s", PASSWORD)
        return self

    def create_database(self, name: str) -> None:
        """An empty database, which our user may do anything in."""
        self.execute(f"CREATE DATABASE `{name}`")
        self.execute(f"GRANT ALL ON `{name}`.* TO {USER}@'{HOST}'")

    def execute(self, sql: str, *parameters: object, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement as root, and commit it; the rows it gave."""
        with self._connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall())

    def settings(self, name: str) -> dict[str, Any]:
        """The `database` settings by which the server finds the database of this name."""
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
            # What is committed outlives the process when it is killed, though not the machine.
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
            "--no-defaults",  # first, or it is not understood
            *(["--user=root"] if os.geteuid() == 0 else []),
            f"--datadir={self.data}",
            f"--tmpdir={self.directory}",  # in the system's, one that starts clears away what another is writing
            "--skip-name-resolve",
            "--innodb-log-file-size=8M",
            "--innodb-buffer-pool-size=32M",
        ]

    def _connect(self, database: str | None = None) -> "Connection[Cursor]":
        return pymysql.connect(
            host=HOST, port=self.port, user="root", database=database, autocommit=True, read_timeout=30
        )
