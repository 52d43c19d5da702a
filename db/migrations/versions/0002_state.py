"""Creates the tables of the alarm journal and of leases."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from db.migration_steps import create_index, create_table

revision = "0002"
down_revision = "0001"

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TIME = sa.String(32).with_variant(mysql.DATETIME(fsp=3), "mysql")
KEY = sa.String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql")
OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "sqlite_autoincrement": True}


def upgrade() -> None:
    """Create the tables."""
    create_table(
        "alarm_journal",
        sa.Column("transition_id", ID, primary_key=True),
        sa.Column("alarm_key", KEY, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("store_house_key", KEY, nullable=False),
        sa.Column("written", TIME, nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("alarm", sa.Text, nullable=False),
        **OPTIONS,
    )
    create_index("ix_alarm_journal_alarm_key_step", "alarm_journal", ["alarm_key", "step"], unique=True)
    create_index(
        "ix_alarm_journal_store_house_key_transition_id", "alarm_journal", ["store_house_key", "transition_id"]
    )
    create_table(
        "lease",
        sa.Column("lease_name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("expires", TIME, nullable=False),
        sa.Column("begun", TIME, nullable=False),
        sa.Column("done", TIME, nullable=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
    )
