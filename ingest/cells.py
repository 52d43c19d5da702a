"""Parses the times and numbers in the cells of a table.

If a cell is wrong, the functions raise a ValueError with a message that says what is wrong.
"""

import math
import re
from datetime import UTC, datetime, timedelta, timezone

YEARS = range(1900, 2200)

_TIME = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})[T ] *(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?"
    r" *(Z|[+-]\d{2}:?\d{2})?",
    re.ASCII | re.IGNORECASE,
)


def parse_time(text: str) -> datetime:
    """Parse a time. Return an aware time if the text has a UTC offset or Z, otherwise a naive time."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{quoted(text)} is not a time like 2024-01-31 13:45")
    *fields, fraction, offset = match.groups(default="")
    # The time is cut to milliseconds, as in the database. Otherwise a second import would not recognise a stored
    # reading.
    microsecond = int(f"{fraction:0<3}"[:3]) * 1000
    year, month, day, hour, minute, second = (int(field or 0) for field in fields)
    try:
        if year not in YEARS:
            raise ValueError(f"the year must be from {YEARS.start} to {YEARS[-1]}")
        return datetime(year, month, day, hour, minute, second, microsecond, _zone(offset))
    except ValueError as error:
        raise ValueError(f"{quoted(text)} is not a time: {error}") from None


def parse_number(text: str, *, decimal_comma: bool = False) -> float | None:
    """Parse a number. Return None for an empty cell."""
    text = text.strip()
    if not text:
        return None
    try:
        value = float(text.replace(",", ".") if decimal_comma else text)
    except ValueError:
        value = math.nan
    # Python's float() accepts 1_000, which is not a number in a table.
    if not math.isfinite(value) or "_" in text:
        raise ValueError(f"{quoted(text)} is not a number")
    return value


def quoted(text: str) -> str:
    """Return the cell in quotes, shortened if it is long."""
    return repr(text if len(text) <= 40 else text[:40] + "...")


def _zone(offset: str) -> timezone | None:
    if not offset:
        return None
    if offset in "Zz":
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[-2:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
