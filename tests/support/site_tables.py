"""A site's own database in MariaDB, and a read-only account for it."""

import uuid
from collections.abc import Sequence
from typing import Any

from tests.support.services.mariadb import MariaDB
from tests.support.services.private import HOST

PASSWORD = "只读@密码"  # not encodable as Latin-1, the encoding that PyMySQL uses for a password of type str


class SiteTables:
    """A database without tables. `execute` writes to it as the site does. `settings` contains the read-only account."""

    def __init__(self, mariadb: MariaDB) -> None:
        self._mariadb = mariadb
        self.port = mariadb.port
        self.name = f"仓库_{uuid.uuid4().hex}"
        self.account = f"reader_{uuid.uuid4().hex}"[:32]
        mariadb.execute(f"CREATE DATABASE `{self.name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
        mariadb.execute(f"CREATE USER {self.account}@'{HOST}' IDENTIFIED BY %s", PASSWORD)
        mariadb.execute(f"GRANT SELECT ON `{self.name}`.* TO {self.account}@'{HOST}'")

    def execute(self, *statements: str) -> None:
        """Run and commit each statement with the rights of the site."""
        for statement in statements:
            self._mariadb.execute(statement, database=self.name)

    def insert(self, table: str, *rows: Sequence[object]) -> None:
        """Insert and commit rows. Each row has values for all columns, in the order of the columns."""
        for row in rows:
            marks = ", ".join(["%s"] * len(row))
            self._mariadb.execute(f"INSERT INTO `{table}` VALUES ({marks})", *row, database=self.name)

    def settings(self, **mapping: dict[str, Any]) -> dict[str, Any]:
        """Return the `database` settings with the read-only account and with this `map`."""
        reader = {"user": self.account, "password": PASSWORD}
        return self._mariadb.settings(self.name) | reader | {"map": mapping}

    def insert_by(self, statement: str, *parameters: object) -> None:
        """Run and commit one statement with parameters."""
        self._mariadb.execute(statement, *parameters, database=self.name)

    def checksum(self) -> dict[str, Any]:
        """Return the checksum of each table in the database."""
        tables = [name for (name,) in self._mariadb.execute("SHOW TABLES", database=self.name)]
        return dict(
            row for table in tables for row in self._mariadb.execute(f"CHECKSUM TABLE `{table}`", database=self.name)
        )
