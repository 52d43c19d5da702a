"""A site's own schema in MariaDB, and an account that may read it and nothing else."""

import uuid
from collections.abc import Sequence
from typing import Any

from tests.support.services.mariadb import MariaDB
from tests.support.services.private import HOST

PASSWORD = "只读@密码"  # no Latin-1, which PyMySQL would take it for


class SiteTables:
    """An empty schema; the site writes to it with `execute`, and `settings` are those of the reading account."""

    def __init__(self, mariadb: MariaDB) -> None:
        self._mariadb = mariadb
        self.port = mariadb.port
        self.name = f"仓库_{uuid.uuid4().hex}"
        self.account = f"reader_{uuid.uuid4().hex}"[:32]
        mariadb.execute(f"CREATE DATABASE `{self.name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
        mariadb.execute(f"CREATE USER {self.account}@'{HOST}' IDENTIFIED BY %s", PASSWORD)
        mariadb.execute(f"GRANT SELECT ON `{self.name}`.* TO {self.account}@'{HOST}'")

    def execute(self, *statements: str) -> None:
        """Run and commit each of them, as the site does."""
        for statement in statements:
            self._mariadb.execute(statement, database=self.name)

    def insert(self, table: str, *rows: Sequence[object]) -> None:
        """Commit rows of all columns, in their order."""
        for row in rows:
            marks = ", ".join(["%s"] * len(row))
            self._mariadb.execute(f"INSERT INTO `{table}` VALUES ({marks})", *row, database=self.name)

    def settings(self, **mapping: dict[str, Any]) -> dict[str, Any]:
        """The `database` settings with this map."""
        reader = {"user": self.account, "password": PASSWORD}
        return self._mariadb.settings(self.name) | reader | {"map": mapping}

    def insert_by(self, statement: str, *parameters: object) -> None:
        """Run and commit one statement with parameters."""
        self._mariadb.execute(statement, *parameters, database=self.name)

    def checksum(self) -> dict[str, Any]:
        """Each table with what tells whether anything in it was changed."""
        tables = [name for (name,) in self._mariadb.execute("SHOW TABLES", database=self.name)]
        return dict(
            row for table in tables for row in self._mariadb.execute(f"CHECKSUM TABLE `{table}`", database=self.name)
        )
