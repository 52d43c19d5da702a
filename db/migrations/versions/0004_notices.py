"""Creates the tables of notices (notifications about alarms) and of test alarms."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from db.migration_steps import create_index, create_table

revision = "0004"
down_revision = "0003"

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TIME = sa.String(32).with_variant(mysql.DATETIME(fsp=3), "mysql")
KEY = sa.String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql")
OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "sqlite_autoincrement": True}


def upgrade() -> None:
    """Create the tables."""
    create_table(
        "notice",
        sa.Column("notice_id", ID, primary_key=True),
        sa.Column("episode_id", ID, nullable=False),
        sa.Column("target", KEY, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("store_house_key", KEY, nullable=False),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("limit", sa.Double),
        sa.Column("alarm", sa.Text, nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("written", TIME, nullable=False),
        sa.Column("due", TIME, nullable=False),
        sa.Column("message_id", ID),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("sent", TIME),
        **OPTIONS,
    )
    create_index("ix_notice_episode_id_target_number", "notice", ["episode_id", "target", "number"], unique=True)
    create_index("ix_notice_sent_due", "notice", ["sent", "due"])
    create_index("ix_notice_store_house_key_target_sent", "notice", ["store_house_key", "target", "sent"])
    create_table(
        "drill",
        sa.Column("drill_id", ID, primary_key=True),
        sa.Column("sensor", sa.Text, nullable=False),
        sa.Column("asked", TIME, nullable=False),
        sa.Column("ends", TIME, nullable=False),
        sa.Column("episode_id", ID),
        **OPTIONS,
    )
