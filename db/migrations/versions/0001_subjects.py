"""Creates the tables of the five subjects: organisation, storehouse, sensor, reading and alarm.

A migration must never change after its release. It therefore lists its columns itself and does not use `tables.py`.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from db.migration_steps import create_index, create_table

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TIME = sa.String(32).with_variant(mysql.DATETIME(fsp=3), "mysql")
OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "sqlite_autoincrement": True}


def upgrade() -> None:
    """Create the tables."""
    create_table(
        "organisation",
        sa.Column("org_id", ID, primary_key=True),
        sa.Column("org_name", sa.String(255), nullable=False),
        **OPTIONS,
    )
    create_table(
        "storehouse",
        sa.Column("store_house_id", ID, primary_key=True),
        sa.Column("store_house_name", sa.String(255), nullable=False),
        sa.Column("org_id", ID, sa.ForeignKey("organisation.org_id"), nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=False),
        **OPTIONS,
    )
    create_table(
        "sensor",
        sa.Column("sensor_id", ID, primary_key=True),
        sa.Column("store_house_id", ID, sa.ForeignKey("storehouse.store_house_id"), nullable=False),
        sa.Column("sensor_name", sa.String(255), nullable=False),
        sa.Column("metric", sa.String(32), nullable=False),
        sa.Column("unit", sa.String(16)),
        sa.Column("interval_s", sa.Float),
        sa.Column("position_x", sa.Float),
        sa.Column("position_y", sa.Float),
        **OPTIONS,
    )
    create_table(
        "reading",
        sa.Column("reading_id", ID, primary_key=True),
        sa.Column("sensor_id", ID, nullable=False),
        sa.Column("time", TIME, nullable=False),
        sa.Column("value", sa.Double),
        **OPTIONS,
    )
    create_index("ix_reading_sensor_id_time", "reading", ["sensor_id", "time"])
    create_table(
        "alarm",
        sa.Column("alarm_id", ID, primary_key=True),
        sa.Column("store_house_id", ID, sa.ForeignKey("storehouse.store_house_id"), nullable=False),
        sa.Column("sensor_id", ID, sa.ForeignKey("sensor.sensor_id")),
        sa.Column("metric", sa.String(32)),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("acknowledged", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("value", sa.Double),
        sa.Column("limit", sa.Double),
        sa.Column("raised", TIME, nullable=False),
        sa.Column("cleared", TIME),
        **OPTIONS,
    )
    create_index("ix_alarm_store_house_id_raised", "alarm", ["store_house_id", "raised"])
    create_index("ix_alarm_store_house_id_cleared", "alarm", ["store_house_id", "cleared"])
