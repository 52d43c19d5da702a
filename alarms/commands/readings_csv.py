"""Sensors and their readings out of a table in a file, as `python -m ingest csv` takes it."""

from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

from alarms.model import Reading
from ask.sensors import UNITS, Sensor
from ingest.import_stats import Tally
from ingest.series import moments
from ingest.table import opened

Say = Callable[[str], None]


def readings(path: Path, zone: ZoneInfo, metric: str, say: Say) -> dict[Sensor, list[Reading]]:
    """Return the readings of each sensor by time; `say` is told what cannot be read.

    Times without an offset are of `zone`. Raises `UsageError` where there is no such table.
    """
    with opened(path) as (sheet, _):
        interval_s = abs(sheet.step).total_seconds() if sheet.step else None
        coming = list(moments(sheet, zone, sheet.step, Tally(zone, sheet.step, say)))
        columns: list[list[Reading]] = [[] for _ in sheet.sensor_names]
        for moment in sorted(coming, key=lambda each: each.time):
            time = moment.time.timestamp()
            for column, value in zip(columns, moment.values, strict=True):
                if value is not None:
                    column.append(Reading(time, value))
        unit = UNITS.get(metric, "")
        sensors = (Sensor(name, 0, name, metric, unit, interval_s, (name, None)) for name in sheet.sensor_names)
        return dict(zip(sensors, columns, strict=True))
