"""The tables that are ours, in a database that is ours. Times are UTC."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from instants import Instant

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

_OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "sqlite_autoincrement": True}
# SQLite gives out the ids of deleted rows again unless told otherwise, and only its INTEGER counts by itself.
_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _table(name: str, *items: sa.Column[Any] | sa.Index) -> sa.Table:
    return sa.Table(name, metadata, *items, **_OPTIONS)


organisation = _table(
    "organisation",
    sa.Column("org_id", _Id, primary_key=True),
    sa.Column("org_name", sa.String(255), nullable=False),
)

storehouse = _table(
    "storehouse",
    sa.Column("store_house_id", _Id, primary_key=True),
    sa.Column("store_house_name", sa.String(255), nullable=False),
    sa.Column("org_id", sa.ForeignKey("organisation.org_id"), nullable=False),
    sa.Column("time_zone", sa.String(64), nullable=False),  # IANA name
)

sensor = _table(
    "sensor",
    sa.Column("sensor_id", _Id, primary_key=True),
    sa.Column("store_house_id", sa.ForeignKey("storehouse.store_house_id"), nullable=False),
    sa.Column("sensor_name", sa.String(255), nullable=False),
    sa.Column("metric", sa.String(32), nullable=False),
    sa.Column("unit", sa.String(16)),
    sa.Column("interval_s", sa.Float),  # seconds between readings; none: it reports changes only
    sa.Column("position_x", sa.Float),  # on the floor plan, 0 (left) to 1
    sa.Column("position_y", sa.Float),  # 0 (top) to 1
)

# No unique key and no foreign key here: whatever a device writes is kept.
reading = _table(
    "reading",
    sa.Column("reading_id", _Id, primary_key=True),
    sa.Column("sensor_id", _Id, nullable=False),
    sa.Column("time", Instant, nullable=False),
    sa.Column("value", sa.Double),  # none: the sensor reported a fault
    sa.Index(None, "sensor_id", "time"),
)

alarm = _table(
    "alarm",
    sa.Column("alarm_id", _Id, primary_key=True),
    sa.Column("store_house_id", sa.ForeignKey("storehouse.store_house_id"), nullable=False),
    sa.Column("sensor_id", sa.ForeignKey("sensor.sensor_id")),
    sa.Column("metric", sa.String(32)),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("acknowledged", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("value", sa.Double),
    sa.Column("limit", sa.Double),
    sa.Column("raised", Instant, nullable=False),
    sa.Column("cleared", Instant),
    sa.Index(None, "store_house_id", "raised"),
    sa.Index(None, "store_house_id", "cleared"),
)

# What follows is ours in any case, and lies in `state`.

_Key = sa.String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql")  # JSON of an id: 5 or "A5"

# No second entry can be made for the same step of an alarm, not even by two processes that both think they may.
alarm_journal = _table(
    "alarm_journal",
    sa.Column("transition_id", _Id, primary_key=True),
    sa.Column("alarm_key", _Key, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),  # of this alarm, from 1
    sa.Column("store_house_key", _Key, nullable=False),
    sa.Column("written", Instant, nullable=False),
    sa.Column("is_open", sa.Boolean, nullable=False),
    sa.Column("alarm", sa.Text, nullable=False),  # JSON, as browsers get it
    sa.Index(None, "alarm_key", "step", unique=True),
    sa.Index(None, "store_house_key", "transition_id"),
)

# Who may do what only one process may do at a time.
lease = _table(
    "lease",
    sa.Column("lease_name", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("expires", Instant, nullable=False),
    sa.Column("begun", Instant, nullable=False),  # when it was first held
    sa.Column("done", Instant, nullable=False),  # up to when the work is done
)
