"""A column type for times: datetimes in Python, and naive date-times in the database."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from db.dialects import DIALECTS


class Instant(sa.TypeDecorator[datetime]):
    """A date-time column that contains local times of the time zone `tz`. If `tz` is None, the times are in UTC.

    A UTC column returns aware datetimes. A column with another time zone returns naive local times, because the
    conversion to an instant depends on the time of the query (see `from_local`). Invalid values, such as MySQL's
    0000-00-00, become None, so that one invalid row does not break the whole query.
    """

    impl = sa.DateTime
    cache_ok = True

    def __init__(self, tz: ZoneInfo | None = None) -> None:
        super().__init__()
        self.tz = tz

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Return the column's type in this kind of database."""
        kind = DIALECTS.get(dialect.name)  # None for the dialect "default", with which SQLAlchemy prints statements
        return dialect.type_descriptor(sa.DateTime() if kind is None else kind.datetime_type())

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """Convert an aware datetime to the column's local time. Leave a naive datetime unchanged."""
        if value is None:
            return None
        local = value.astimezone(self.tz or UTC).replace(tzinfo=None) if value.tzinfo else value
        kind = DIALECTS.get(dialect.name)
        return local if kind is None else kind.datetime_parameter(local)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """Convert the column's value to a datetime."""
        if isinstance(value, str):
            value = _from_text(value)
        if not isinstance(value, datetime):
            return None
        return value if self.tz else value.replace(tzinfo=UTC)


def _from_text(text: str) -> datetime | None:
    """Parse a naive time. Return None for a time with a UTC offset.

    Texts with different UTC offsets would not sort in chronological order.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is None else None
