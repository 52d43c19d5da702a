"""Rows of readings without a database."""

from datetime import datetime
from typing import Any

from ask.readings import Reading, Row


def row(reading_id: int | None, time: datetime, value: float, sensor_id: int = 1) -> Row:
    """Return a reading as a row like those that `ask.readings` returns."""
    content: tuple[Any, ...] = (sensor_id, None, time, value)
    return Row(reading_id, time, time, content, (Reading(sensor_id, None, time, value, reading_id or 0),))
