"""Creates the tables of Storewatch's alarms (episodes), alarm rules, maintenance, and snapshots of the judge."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from db.migration_steps import add_column, create_index, create_table

revision = "0003"
down_revision = "0002"

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TIME = sa.String(32).with_variant(mysql.DATETIME(fsp=3), "mysql")
KEY = sa.String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql")
SUBJECT = sa.String(512).with_variant(mysql.VARCHAR(512, collation="utf8mb4_bin"), "mysql")
BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")
LONG = sa.Text(16_777_215)
OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "sqlite_autoincrement": True}


def upgrade() -> None:
    """Create the tables."""
    add_column("lease", sa.Column("term", sa.BigInteger, nullable=False, server_default="0"))
    _episode()
    create_table(
        "rule",
        sa.Column("rule_id", ID, primary_key=True),
        sa.Column("rule", sa.Text, nullable=False),
        **OPTIONS,
    )
    create_table(
        "rule_change",
        sa.Column("change_id", ID, primary_key=True),
        sa.Column("written", TIME, nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("before", LONG, nullable=False),
        sa.Column("after", LONG, nullable=False),
        **OPTIONS,
    )
    create_table(
        "maintenance",
        sa.Column("maintenance_id", ID, primary_key=True),
        sa.Column("store_house_key", KEY, nullable=False),
        sa.Column("sensor_key", KEY),
        sa.Column("start", TIME, nullable=False),
        sa.Column("end", TIME, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("written", TIME, nullable=False),
        **OPTIONS,
    )
    create_index("ix_maintenance_end", "maintenance", ["end"])
    create_table(
        "judge_snapshot",
        sa.Column("snapshot_key", sa.String(64), primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("content", BLOB, nullable=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
    )


def _episode() -> None:
    create_table(
        "episode",
        sa.Column("episode_id", ID, primary_key=True),
        sa.Column("store_house_key", KEY, nullable=False),
        sa.Column("subject_key", SUBJECT, nullable=False),
        sa.Column("sensor_name", sa.String(255)),
        sa.Column("metric", sa.String(255)),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("is_open", sa.Boolean),
        sa.Column("limits", sa.Text, nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("peak", sa.Double),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("raised", TIME),
        sa.Column("cleared", TIME),
        sa.Column("transition", sa.String(16), nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("judged", TIME, nullable=False),
        sa.Column("acknowledged_by", sa.String(255)),
        sa.Column("acknowledged_at", TIME),
        sa.Column("comment", sa.Text),
        sa.Column("closed_by", sa.String(255)),
        sa.Column("reason", sa.Text),
        sa.Column("cause", ID),
        sa.Column("late", sa.Boolean, nullable=False),
        sa.Column("silenced", sa.Boolean, nullable=False),
        sa.Column("drill", sa.Boolean, nullable=False),
        **OPTIONS,
    )
    create_index("ix_episode_subject_key_kind_since", "episode", ["subject_key", "kind", "since"], unique=True)
    create_index("ix_episode_subject_key_kind_is_open", "episode", ["subject_key", "kind", "is_open"], unique=True)
    create_index("ix_episode_store_house_key_raised", "episode", ["store_house_key", "raised"])
    create_index("ix_episode_store_house_key_cleared", "episode", ["store_house_key", "cleared"])
    create_index("ix_episode_is_open", "episode", ["is_open"])
