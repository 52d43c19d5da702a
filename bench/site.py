"""Generated sites in a private MariaDB."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pymysql
import yaml

import settings
from db.migrate import migrate
from tests.support.services.mariadb import MariaDB
from tests.support.services.private import HOST

PORTION = 500_000
"""Number of rows that one statement inserts."""
STEP_US = 6000
"""Microseconds between two consecutive readings of the site."""


# MariaDB's sequence tables, such as `seq_1_to_10`, generate rows in the server.
STOREHOUSES = """
    INSERT INTO storehouse (store_house_id, store_house_name, org_id, time_zone)
    SELECT seq, CONCAT('Storehouse ', seq), 1, 'UTC' FROM seq_1_to_{storehouses}
"""
SENSORS = """
    INSERT INTO sensor (sensor_id, store_house_id, sensor_name, metric)
    SELECT seq, 1 + (seq - 1) DIV {sensors}, CONCAT('Rack ', seq), 'temperature' FROM seq_1_to_{everywhere}
"""
READINGS = """
    INSERT INTO reading (reading_id, sensor_id, time, value)
    SELECT seq, 1 + (seq - 1) % {everywhere},
        UTC_TIMESTAMP(3) - INTERVAL ({readings} - seq) * {step_us} MICROSECOND, 20 + seq % 10
    FROM seq_{first}_to_{last}
"""


class Site:
    """A database with Storewatch's own tables. Ids of organisations, storehouses, sensors and readings start at 1."""

    def __init__(self, mariadb: MariaDB, name: str) -> None:
        mariadb.create_database(name)
        self._mariadb = mariadb
        self._name = name
        self.settings: dict[str, Any] = mariadb.settings(name)
        migrate(msgspec.convert(self.settings, settings.Database))

    def fill(self, storehouses: int, sensors: int, readings: int) -> None:
        """Create storehouses with `sensors` sensors each, and write `readings` readings in total."""
        everywhere = storehouses * sensors
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO organisation (org_id, org_name) VALUES (1, 'Site')")
            cursor.execute(STOREHOUSES.format(storehouses=storehouses))
            cursor.execute(SENSORS.format(sensors=sensors, everywhere=everywhere))
            for first in range(1, readings + 1, PORTION):
                last = min(first + PORTION - 1, readings)
                cursor.execute(
                    READINGS.format(first=first, last=last, readings=readings, everywhere=everywhere, step_us=STEP_US)
                )
            # Mark the readings as rolled up, so that no rollup runs during the measurement.
            cursor.execute("INSERT INTO rollup_position (position_id, reading_id) VALUES (1, %s)", (readings,))

    def execute(self, statement: str) -> Any:
        """Run and commit a statement. Return its rows."""
        return self._mariadb.execute(statement, database=self._name)

    def write(self, sensor_ids: list[int]) -> None:
        """Commit one reading of each given sensor.

        The readings have the current time, rounded down to a millisecond.
        """
        now = datetime.now(UTC).replace(tzinfo=None).isoformat(" ", "milliseconds")
        # Each value is different from the one before: Storewatch does not push a storehouse that has not changed.
        rows = ", ".join(f"({number}, '{now}', {number % 10} + RAND())" for number in sensor_ids)
        statement = f"INSERT INTO reading (sensor_id, time, value) VALUES {rows}"  # noqa: S608 - no input from outside
        self._mariadb.execute(statement, database=self._name)

    def settings_file(self, folder: Path, poll_interval: float) -> Path:
        """Write the server's settings for this site to a file. Return its path."""
        path = folder / f"{self._name}.yaml"
        content = {"host": HOST, "access": "open", "poll_interval": poll_interval, "database": self.settings}
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        return path

    def _connection(self) -> Any:
        where = self.settings
        return pymysql.connect(
            host=where["host"],
            port=where["port"],
            user=where["user"],
            password=where["password"],
            database=where["name"],
            autocommit=True,
        )


class LargeMariaDB(MariaDB):
    """A MariaDB with enough memory for ten million readings."""

    def command(self) -> list[str]:
        """Return the command that starts MariaDB with a larger buffer pool and a larger log."""
        return [*super().command(), "--innodb-buffer-pool-size=2G", "--innodb-log-file-size=512M"]


@contextmanager
def mariadb() -> Iterator[MariaDB]:
    """Run a private MariaDB during the block."""
    with LargeMariaDB() as server:
        yield server
