"""Column types of our own: aware UTC datetimes in Python, naive date-times in a database's columns."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects import mysql


class Instant(sa.TypeDecorator[datetime]):
    """A date-time column that holds wall-clock times of `tz` (None: UTC).

    Out of a UTC column come aware datetimes, out of any other the naive ones that stand there: which instant one of
    them means depends on when it is asked (`from_local`). Values that are no date-time, such as MySQL's 0000-00-00,
    come out as None: one such row must not take the others with it.
    """

    impl = sa.DateTime
    cache_ok = True

    def __init__(self, tz: ZoneInfo | None = None) -> None:
        super().__init__()
        self.tz = tz

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Keep milliseconds on MySQL, whose plain DATETIME rounds to seconds; SQLite has no date-times, only text."""
        kinds: dict[str, sa.types.TypeEngine[Any]] = {"mysql": mysql.DATETIME(fsp=3), "sqlite": sa.String(32)}
        return dialect.type_descriptor(kinds.get(dialect.name, sa.DateTime()))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """Turn an aware datetime into what the column holds, and leave a naive one as it is.

        ISO text sorts as the times do.
        """
        if value is None:
            return None
        local = value.astimezone(self.tz or UTC).replace(tzinfo=None) if value.tzinfo else value
        return local.isoformat(" ", "microseconds") if dialect.name == "sqlite" else local

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """Turn what the column holds into a datetime."""
        if isinstance(value, str):
            value = _from_text(value)
        if not isinstance(value, datetime):
            return None
        return value if self.tz else value.replace(tzinfo=UTC)


def _from_text(text: str) -> datetime | None:
    """Return the naive time in `text`; one with an offset compares like no other in its column."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is None else None
