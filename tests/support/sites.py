"""A small site in Storewatch's own tables. Tests know all rows of these tables."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

import record.alarms
import record.readings
import record.sites
import settings
from db.database import Database
from db.limits import BATCH_LIMITS
from db.migrate import migrate

ZONE = "Asia/Shanghai"


@dataclass
class Site:
    """A site with two organisations.

    The first organisation has two storehouses: `north` with two sensors and `south` with one sensor. The second
    organisation has no storehouses.
    """

    database: Database
    ids: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def add(self, sensor: str, value: float | None, time: datetime | None = None) -> None:
        """Commit a reading of the sensor with this name."""
        self.add_all([(self.ids[sensor], time or datetime.now(UTC), value)])

    def add_all(self, rows: Sequence[record.readings.Row]) -> None:
        """Commit readings in one transaction."""
        with self.database.engine.begin() as connection:
            record.readings.add(connection, rows)

    def raise_alarm(self, sensor: str, raised: datetime, cleared: datetime | None = None, **other: Any) -> None:
        """Commit an alarm for a sensor of the storehouse `north`."""
        row = {
            "store_house_id": self.ids["north"],
            "sensor_id": self.ids[sensor],
            "metric": sensor,
            "kind": "high",
            "severity": "warning",
            "state": "active" if cleared is None else "cleared",
            "value": 9.0,
            "limit": 5.0,
            "raised": raised,
            "cleared": cleared,
        }
        with self.database.engine.begin() as connection:
            record.alarms.add(connection, [row | other])

    def execute(self, statement: str) -> None:
        """Run and commit a statement."""
        with self.database.engine.begin() as connection:
            connection.execute(sa.text(statement))


@contextmanager
def site(where: dict[str, Any]) -> Iterator[Site]:
    """Create the site in the database with these settings, for use during the block."""
    converted = settings.Database(**where)
    migrate(converted)
    database = Database(converted, BATCH_LIMITS, 2, writes=True)
    try:
        built = Site(database)
        with database.engine.begin() as connection:
            _build(connection, built.ids)
        now = datetime.now(UTC).replace(microsecond=0)
        built.add("temperature", 3.5, now - timedelta(seconds=20))
        built.add("temperature", 4.5, now - timedelta(seconds=10))
        yield built
    finally:
        database.close()


def _build(connection: sa.Connection, ids: dict[str, int]) -> None:
    ids["owner"] = record.sites.ensure_organisation(connection, "北方冷链 North <b>Cold</b>")
    ids["idle"] = record.sites.ensure_organisation(connection, "Idle")
    ids["north"] = record.sites.ensure_storehouse(connection, ids["owner"], "一号库", ZONE)
    ids["south"] = record.sites.ensure_storehouse(connection, ids["owner"], "South", "America/Chicago")
    ids["temperature"] = record.sites.ensure_sensor(connection, ids["north"], "温度 1", "temperature", interval_s=60)
    ids["door"] = record.sites.ensure_sensor(connection, ids["north"], "Door", "door")
    ids["far"] = record.sites.ensure_sensor(connection, ids["south"], "Far", "temperature", unit="°F", interval_s=60)
