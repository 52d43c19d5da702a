"""Reads sensors and their readings from a CSV file, in the formats of `python -m ingest csv`."""

from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

from alarms.model import Reading
from ask.sensors import Sensor
from common.metric_registry import unit_of
from ingest.import_stats import ImportStats
from ingest.series import moments
from ingest.table import open_table

Report = Callable[[str], None]


def readings(path: Path, zone: ZoneInfo, metric: str, report: Report) -> dict[Sensor, list[Reading]]:
    """Return the readings of each sensor in chronological order.

    Times without a UTC offset are in the time zone `zone`. For each cell or line that cannot be read, call `report`
    with a message. Raise `UsageError` if the file is not a table of readings.
    """
    with open_table(path) as (table, _):
        interval_s = abs(table.step).total_seconds() if table.step else None
        rows = moments(table, zone, table.step, ImportStats(zone, table.step, report))
        columns: list[list[Reading]] = [[] for _ in table.sensor_names]
        for row in sorted(rows, key=lambda row: row.time):
            time = row.time.timestamp()
            for column, value in zip(columns, row.values, strict=True):
                if value is not None:
                    column.append(Reading(time, value))
        unit = unit_of(metric)
        sensors = (Sensor(name, 0, name, metric, unit, interval_s, (name, None)) for name in table.sensor_names)
        return dict(zip(sensors, columns, strict=True))
