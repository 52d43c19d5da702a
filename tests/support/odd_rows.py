"""Random rows for a site's own tables: any text, number or time in every field, in several kinds of databases."""

import random
import sqlite3
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pymysql

from tests.support.services.mariadb import MariaDB
from tests.support.services.private import HOST
from tests.support.site_tables import SiteTables

COLUMNS = {
    "organisation": ("org_id", "org_name"),
    "storehouse": ("store_house_id", "org_id", "store_house_name", "time_zone"),
    "sensor": (
        *("sensor_id", "store_house_id", "sensor_name", "metric", "unit", "interval_s"),
        *("position_x", "position_y"),
    ),
    "reading": ("sensor_id", "time", "value"),
    "alarm": (
        *("alarm_id", "store_house_id", "sensor_id", "sensor_name", "metric", "kind", "severity", "state"),
        *("acknowledged", "value", "limit", "raised", "cleared"),
    ),
}
"""The columns of each table. The table `reading` also has the column `reading_id`, which the database sets."""
TIMES = {"time", "raised", "cleared"}
IDS = {"org_id", "store_house_id", "sensor_id", "alarm_id"}
SHARES = {"organisation": 1, "storehouse": 2, "sensor": 4, "reading": 6, "alarm": 4}
"""How the rows are distributed to the tables."""
FIXED_TEXTS = (
    *("", " ", "0", "*", "\\*", "sw-1", "\\sw-1", "null", "[]", '"', "'", "%s", ":name", "\\", "{0}", "<b>&", "\n"),
    *(
        "\0",
        "a\0b",
        "\ud800",
        "\udfff x",
        "\u202eabc\u202c",
        "عربي",
        "שלום",
        "e\u0301",
        "👩‍👩‍👧",
        "\U0010ffff",
        "库房",
        "ﬃ",
    ),
    *("Mars/Olympus", "../../etc/passwd", "UTC", "active", "cleared", "critical", "temperature"),
)
FIXED_NUMBERS = (
    *("1.7976931348623157e308", "-1.7976931348623157e308", "1e999", "-1e999", "NaN", "inf", "9" * 400, "1e-400"),
    *(
        "1e15",
        "1e16",
        "-1e16",
        "9223372036854775807",
        "18446744073709551616",
        "0",
        "-0",
        "20",
        "30",
        "0x10",
        "1_0",
        "٣",
        "",
    ),
)
FIXED_TIMES = (
    *("0001-01-01 00:00:00", "0999-12-31 12:00:00", "1970-01-01 00:00:00", "2038-01-19 03:14:08"),
    *("9000-01-01 00:00:00", "9999-12-31 00:00:00", "9999-12-31 23:59:59.999", "0000-00-00 00:00:00", None),
)
LENGTHS = (1, 3, 10, 50, 254, 255, 256, 300, 511, 512, 513, 600, 1_000, 1_001, 3_000, 70_000)


class OddRows:
    """Random rows. The rows of one table refer to the odd ids of the other tables, so that they belong together."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._ids = {name: [self.text() for _ in range(30)] for name in IDS}

    def text(self) -> str:
        """Return a random text of any length and any characters, including characters that are no valid Unicode."""
        pick = self._random.random()
        if pick < 0.4:
            return self._random.choice(FIXED_TEXTS)
        length = self._random.choice(LENGTHS if pick < 0.45 else LENGTHS[:-2])
        low, high = self._random.choice([(0x20, 0x7F), (0, 0x100), (0x4E00, 0x9FFF), (0x590, 0x700), (0, 0x110000)])
        some = [chr(self._random.randrange(low, high)) for _ in range(min(length, 50))]
        return "".join(some * (length // len(some) + 1))[:length]

    def number(self) -> str:
        """Return a random text that is a number, or similar to a number."""
        if self._random.random() < 0.5:
            return self._random.choice(FIXED_NUMBERS)
        return repr(self._random.uniform(-1, 1) * 10 ** self._random.randrange(-10, 308))

    def time(self) -> datetime | str | None:
        """Return a random time from the year 1 to the year 9999, or null, or MySQL's invalid time."""
        pick = self._random.random()
        now = datetime.now(UTC).replace(tzinfo=None)
        if pick < 0.4:
            return now + timedelta(seconds=self._random.uniform(-3, 3) * 10 ** self._random.randrange(8))
        return self._random.choice(FIXED_TIMES)

    def row(self, table: str) -> tuple[Any, ...]:
        """Return a random row of the table."""
        return tuple(self._field(column) for column in COLUMNS[table])

    def _field(self, column: str) -> Any:
        if column in TIMES:
            return self.time()
        pick = self._random.random()
        if column in IDS:
            return None if pick < 0.05 else self._random.choice(self._ids[column])
        if column in ("sensor_name", "org_name", "store_house_name", "metric", "unit", "kind", "severity", "state"):
            return None if pick < 0.05 else self.text()
        return None if pick < 0.05 else self.text() if pick < 0.2 else self.number()

    def rows(self, count: int) -> dict[str, list[tuple[Any, ...]]]:
        """Return at least `count` rows, by table."""
        total = sum(SHARES.values())
        return {table: [self.row(table) for _ in range(-(-count * share // total))] for table, share in SHARES.items()}


class OddSite(ABC):
    """A site's own tables, in which nearly every column is a text column.

    The table `reading` may have no growing id. Its times and those of the table `alarm` are local times of `time_zone`.
    """

    def __init__(self, *, has_reading_id: bool = True, time_zone: str = "UTC") -> None:
        self.first_column = "reading_id {}, " if has_reading_id else ""
        self._zone = ZoneInfo(time_zone)

    def now(self) -> datetime:
        """Return the current local time, without a time zone, to the millisecond."""
        time = datetime.now(self._zone).replace(tzinfo=None)
        return time.replace(microsecond=time.microsecond // 1000 * 1000)

    def utc(self, local: datetime) -> datetime:
        """Convert a local time to an instant."""
        return local.replace(tzinfo=self._zone).astimezone(UTC)

    def mapping(self) -> dict[str, Any]:
        """Return the setting `database.map`."""
        return {"reading": {"time_zone": self._zone.key}, "alarm": {"time_zone": self._zone.key}}

    def add_reading(self, sensor: str, value: float) -> datetime:
        """Commit a reading of a sensor at this moment. Return the moment."""
        time = self.now()
        self.insert({"reading": [(sensor, time, str(value))]})
        return self.utc(time)

    def add_alarm(self, alarm_id: str, **other: Any) -> None:
        """Commit an alarm of the site's own system about the good storehouse, raised at this moment."""
        row = {"alarm_id": alarm_id, "store_house_id": "good", "kind": "theirs", "raised": self.now()} | other
        self.insert({"alarm": [tuple(row.get(name) for name in COLUMNS["alarm"])]})

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the `database` settings, which map the tables."""

    @abstractmethod
    def insert(self, rows: dict[str, list[tuple[Any, ...]]]) -> None:
        """Insert rows into the tables in one transaction. The rows may contain invalid texts and times."""


class SqliteSite(OddSite):
    """The tables in an SQLite file. SQLite stores every value, including texts that are no valid UTF-8."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(**options)
        self._path = folder / "site.db"
        with sqlite3.connect(self._path) as connection:
            for table, columns in COLUMNS.items():
                kind = "INTEGER PRIMARY KEY AUTOINCREMENT"
                first = self.first_column.format(kind) if table == "reading" else ""
                connection.execute(f"CREATE TABLE {table} ({first}{', '.join(f'`{name}` TEXT' for name in columns)})")

    def execute(self, statement: str, *parameters: object) -> None:
        """Run and commit one statement."""
        with sqlite3.connect(self._path, timeout=60) as connection:
            connection.execute(statement, parameters)

    def settings(self) -> dict[str, Any]:
        return {"kind": "sqlite", "path": str(self._path), "map": self.mapping()}

    def insert(self, rows: dict[str, list[tuple[Any, ...]]]) -> None:
        with sqlite3.connect(self._path, timeout=60) as connection:
            for table, of_table in rows.items():
                names = ", ".join(f"`{name}`" for name in COLUMNS[table])
                marks = ", ".join(["CAST(? AS TEXT)"] * len(COLUMNS[table]))
                values = [[_bytes(value, "utf-8") for value in row] for row in of_table]
                connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)


class MariaDBSite(OddSite):
    """The tables in MariaDB, with text columns of the character set `charset`. The table `alarm` has `utf8mb4`.

    Alarms may therefore contain ids that the table `sensor` cannot contain.
    """

    def __init__(self, mariadb: MariaDB, charset: str, **options: Any) -> None:
        super().__init__(**options)
        self._tables = SiteTables(mariadb)
        self._charset = charset
        for table, columns in COLUMNS.items():
            first = self.first_column.format("BIGINT PRIMARY KEY AUTO_INCREMENT") if table == "reading" else ""
            types = {name: "DATETIME(3)" if name in TIMES else "MEDIUMTEXT" for name in columns}
            fields = ", ".join(f"`{name}` {kind}" for name, kind in types.items())
            self._tables.execute(f"CREATE TABLE {table} ({first}{fields}) CHARACTER SET {self._charset_of(table)}")

    def settings(self) -> dict[str, Any]:
        return self._tables.settings(**self.mapping())

    def insert(self, rows: dict[str, list[tuple[Any, ...]]]) -> None:
        connection = pymysql.connect(
            host=HOST, port=self._tables.port, user="root", database=self._tables.name, charset="utf8mb4"
        )
        with connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_mode = ''")  # allows 0000-00-00
            for table, of_table in rows.items():
                names = ", ".join(f"`{name}`" for name in COLUMNS[table])
                marks = ", ".join(["%s"] * len(COLUMNS[table]))
                values = [[_stored(value, self._charset_of(table)) for value in row] for row in of_table]
                cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)
            connection.commit()

    def _charset_of(self, table: str) -> str:
        return "utf8mb4" if table == "alarm" else self._charset


def _stored(value: Any, charset: str) -> Any:
    """Return a value in the form in which a column of this character set can store it."""
    if isinstance(value, str) and charset == "utf8mb3":
        value = "".join(character for character in value if character <= "\uffff")
    return value if isinstance(value, datetime) else _bytes(value, "cp1252" if charset == "latin1" else "utf-8")


def _bytes(value: Any, encoding: str) -> bytes | None:
    """Return the bytes of a text, which may contain lone surrogates, or of a time as text."""
    if value is None:
        return None
    if isinstance(value, datetime):
        value = value.isoformat(" ", "milliseconds")
    return str(value).encode(encoding, "surrogatepass" if encoding == "utf-8" else "replace")


def good_rows(sensors: Sequence[str]) -> dict[str, list[tuple[Any, ...]]]:
    """Return an organisation with a storehouse and with these sensors."""
    return {
        "organisation": [("good", "Good")],
        "storehouse": [("good", "good", "Good", "Asia/Shanghai")],
        "sensor": [(name, "good", name, "temperature", "", "60", None, None) for name in sensors],
    }


def unique_name() -> str:
    """Return the name of a new database."""
    return f"state_{uuid.uuid4().hex}"
