"""Column types of our own: aware UTC datetimes in Python, naive date-times in a database's columns."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from db.dialects import DIALECTS


class Instant(sa.TypeDecorator[datetime]):
    """A date-time column that holds wall-clock times of `tz` (None: UTC).

    A UTC column gives aware datetimes, any other the naive ones that it holds: which instant one of them means depends
    on the time of the question (`from_local`). Values that are no date-time, such as MySQL's 0000-00-00, become None:
    one such row must not fail the others.
    """

    impl = sa.DateTime
    cache_ok = True

    def __init__(self, tz: ZoneInfo | None = None) -> None:
        super().__init__()
        self.tz = tz

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Return the column's type in this kind of database."""
        kind = DIALECTS.get(dialect.name)  # none for "default", with which SQLAlchemy prints a statement
        return dialect.type_descriptor(sa.DateTime() if kind is None else kind.datetime_type())

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """Turn an aware datetime into the column's wall-clock time, and leave a naive one as it is."""
        if value is None:
            return None
        local = value.astimezone(self.tz or UTC).replace(tzinfo=None) if value.tzinfo else value
        kind = DIALECTS.get(dialect.name)
        return local if kind is None else kind.datetime_parameter(local)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """Turn what the column holds into a datetime."""
        if isinstance(value, str):
            value = _from_text(value)
        if not isinstance(value, datetime):
            return None
        return value if self.tz else value.replace(tzinfo=UTC)


def _from_text(text: str) -> datetime | None:
    """Return the naive time in `text`; None for one with an offset, which does not sort with the others."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is None else None
